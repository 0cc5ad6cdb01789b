"""The adapter for torchsde: `sdeint` and `sdeint_adjoint`.

Importing this package imports neither torch nor torchsde; the adapter is loaded when it is first asked for.
"""
