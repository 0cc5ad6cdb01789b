"""Tableaus for the tests, written from their publications or read from the solver libraries."""

import diffrax
from torchdiffeq._impl.dopri5 import Dopri5Solver
from torchdiffeq._impl.dopri8 import Dopri8Solver

from lrnde_core import ExplicitTableau


def _from_diffrax(solver: type) -> ExplicitTableau:
    tableau = solver.tableau
    rows = tuple(tuple(map(float, row)) for row in tableau.a_lower)
    error = tuple(map(float, tableau.b_error))
    return ExplicitTableau(rows, tuple(map(float, tableau.b_sol)), (0.0, *map(float, tableau.c)), error)


def _from_torchdiffeq(solver: type) -> ExplicitTableau:
    tableau = solver.tableau
    rows = tuple(tuple(row.tolist()) for row in tableau.beta)
    return ExplicitTableau(
        rows, tuple(tableau.c_sol.tolist()), (0.0, *tableau.alpha.tolist()), tuple(tableau.c_error.tolist())
    )


DOPRI5 = _from_torchdiffeq(Dopri5Solver)
DOPRI8 = _from_torchdiffeq(Dopri8Solver)
TSIT5 = _from_diffrax(diffrax.Tsit5)
BOSH3 = ExplicitTableau(
    ((1 / 2,), (0.0, 3 / 4), (2 / 9, 1 / 3, 4 / 9)),
    (2 / 9, 1 / 3, 4 / 9, 0.0),
    (0.0, 1 / 2, 3 / 4, 1.0),
    (2 / 9 - 7 / 24, 1 / 3 - 1 / 4, 4 / 9 - 1 / 3, -1 / 8),
)
HEUN = ExplicitTableau(((1.0,),), (0.5, 0.5), (0.0, 1.0), (0.5, -0.5))
RK4 = ExplicitTableau(((0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6), (0.0, 0.5, 0.5, 1.0), None)

# Each with its error order, and the highest power of t whose error estimate is 0: both members of an embedded pair of
# orders q and q - 1 integrate t^(q - 2) exactly. Dormand--Prince 8's estimate compares with a quadrature of order 7.
EMBEDDED = {
    "dopri5": (DOPRI5, 5.0, 3),
    "dopri8": (DOPRI8, 8.0, 6),
    "tsit5": (TSIT5, 5.0, 3),
    "bosh3": (BOSH3, 3.0, 1),
    "heun": (HEUN, 2.0, 0),
}
