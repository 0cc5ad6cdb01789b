"""The checks and measurements for a machine with a GPU, in one command of limited time: `make gpu`.

Not installed: it runs with whatever Python, torch and jax are there. The driver imports the standard library alone.
"""
