"""The options of the conformance suite for pytest.

A separate package that imports nothing: pytest imports it in every run in an environment that has lrnde.
"""
