"""The options of the conformance suite for pytest.

A package of its own that imports nothing, for pytest imports it in every run in an environment that has lrnde.
"""
