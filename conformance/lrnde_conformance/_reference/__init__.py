"""An adapter of a small numpy solver that keeps every law it declares: what the suite itself is tested with.

Imports nothing of itself here: the numpy backend uses its dual numbers, and its driver uses the numpy backend.
"""
