"""The training loops in torch and JAX, and the solver libraries under them."""
