"""The tasks: equations, data and scores, each in a module named after it."""
