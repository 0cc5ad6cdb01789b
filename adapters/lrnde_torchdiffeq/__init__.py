"""The adapter for torchdiffeq: `odeint`, `odeint_adjoint` and `odeint_event`.

Importing this package imports neither torch nor torchdiffeq; the adapter is loaded on first use.
"""
