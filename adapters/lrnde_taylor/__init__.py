"""Solvers by Taylor expansion with a learned remainder (TL-NODE).

`lrnde_taylor.odeint` has `odeint_taylor` for torch, `lrnde_taylor.solver` has `Taylor` for `diffrax.diffeqsolve`, and
each of them a `Midpoint` network. Importing this package imports no backend.

Source: Djeumou, Neary, Goubault, Putot and Topcu, "Taylor-Lagrange Neural Ordinary Differential Equations", IJCAI 2022.
"""
