"""The adapter for diffrax: `diffeqsolve` of ordinary, controlled and stochastic equations.

Importing this package imports neither JAX nor diffrax; the adapter is loaded when it is first asked for.
"""
