"""The array libraries that solvers compute with, as the suite uses them."""
