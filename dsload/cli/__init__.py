"""The command line: a file a command or two, flags, console, progress."""
