"""The adapter for diffrax: `diffeqsolve` of ordinary and controlled differential equations.

Importing this package imports neither JAX nor diffrax; the adapter is loaded when it is first asked for.
"""
