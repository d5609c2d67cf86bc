"""What a whole dataset shows: facts of every file, findings drawn from them, and a memory of what was checked."""
