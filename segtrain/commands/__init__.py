"""One file a command, reading as the steps of its job; the only place where the parts meet."""
