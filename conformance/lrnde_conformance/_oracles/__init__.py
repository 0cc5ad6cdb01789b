"""The penalty and the steps of a solve, computed without the code under test, and bounds on their rounding."""
