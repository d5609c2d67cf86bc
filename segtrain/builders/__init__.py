"""Parts built from a config, the same way in every command; and the way back into a run folder."""
