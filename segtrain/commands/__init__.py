"""One file a command, reading as the steps of its job; the parts meet only here."""
