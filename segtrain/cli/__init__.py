"""The command line: words to a command, its config and its exit code. No TensorFlow here."""
