"""The adapter for torchsde: `sdeint` and `sdeint_adjoint`.

Importing this package imports neither torch nor torchsde; the adapter is loaded on first use.
"""
