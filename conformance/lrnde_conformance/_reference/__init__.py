"""The adapter of a small numpy solver that keeps every law it declares: the suite itself is tested with it."""
