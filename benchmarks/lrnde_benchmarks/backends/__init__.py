"""How a task is trained: the loops in torch and JAX, and the solver libraries under them."""
