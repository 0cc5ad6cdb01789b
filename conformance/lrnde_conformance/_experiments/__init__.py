"""The solves that the checks share, as values, and the measurements of them."""
