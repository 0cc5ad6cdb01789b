"""The adapter for diffrax: `diffeqsolve` of ordinary, controlled and stochastic equations.

Importing this package imports neither JAX nor diffrax; the adapter is loaded on first use.
"""
