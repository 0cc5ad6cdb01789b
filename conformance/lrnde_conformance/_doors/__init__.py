"""The ways into the suite: the command line, pytest, and Python."""
