"""Solving by Taylor expansion with a learned remainder (TL-NODE): `lrnde_taylor.torch` and `lrnde_taylor.diffrax`.

A step expands the solution to a fixed order and adds Lagrange's remainder, the next derivative at a point inside the
step. Where that point lies is known to leading order, and a small network learns the rest of it, so that few steps
suffice. Importing this package imports no backend.

Source: Djeumou, Neary, Goubault, Putot and Topcu, "Taylor-Lagrange Neural Ordinary Differential Equations", IJCAI 2022.
"""
