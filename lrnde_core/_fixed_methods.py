"""Explicit methods that a frozen solve may take its steps with, each with an estimate of its own error.

The estimate of a method that is published without one compares it with a solution of lower order from the same stages.
It is there for a guard, whose bound is calibrated: what counts is that it grows with the error.
"""

from collections.abc import Mapping
from typing import NamedTuple, final

from lrnde_core._tableau import ExplicitTableau

EULER = ExplicitTableau((), (1.0,), (0.0,), None)


@final
class FixedMethod(NamedTuple):
    """A method of a frozen solve: its order and its tableau, whose `error` is never `None`."""

    order: int
    tableau: ExplicitTableau


# With the first stage of the next step as its last, which the comparison with the trapezoidal rule needs.
_EULER = ExplicitTableau(((1.0,),), (1.0, 0.0), (0.0, 1.0), (0.5, -0.5))
_MIDPOINT = ExplicitTableau(((0.5,),), (0.0, 1.0), (0.0, 0.5), (-1.0, 1.0))
_HEUN = ExplicitTableau(((1.0,),), (0.5, 0.5), (0.0, 1.0), (-0.5, 0.5))
_BOGACKI_SHAMPINE = ExplicitTableau(
    ((0.5,), (0.0, 0.75), (2 / 9, 1 / 3, 4 / 9)),
    (2 / 9, 1 / 3, 4 / 9, 0.0),
    (0.0, 0.5, 0.75, 1.0),
    (2 / 9 - 7 / 24, 1 / 3 - 1 / 4, 4 / 9 - 1 / 3, -1 / 8),
)
# The 3/8 rule, whose error constants are smaller than those of the classical method. The mean of its inner stages is a
# solution of order 2.
_KUTTA = ExplicitTableau(
    ((1 / 3,), (-1 / 3, 1.0), (1.0, -1.0, 1.0)),
    (1 / 8, 3 / 8, 3 / 8, 1 / 8),
    (0.0, 1 / 3, 2 / 3, 1.0),
    (1 / 8, -1 / 8, -1 / 8, 1 / 8),
)
_DORMAND_PRINCE_B = (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84)
_DORMAND_PRINCE = ExplicitTableau(
    (
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        _DORMAND_PRINCE_B,
    ),
    (*_DORMAND_PRINCE_B, 0.0),
    (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0),
    (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40),
)

FIXED_METHODS: Mapping[str, FixedMethod] = {
    "euler": FixedMethod(1, _EULER),
    "midpoint": FixedMethod(2, _MIDPOINT),
    "heun": FixedMethod(2, _HEUN),
    "bogacki-shampine": FixedMethod(3, _BOGACKI_SHAMPINE),
    "rk4": FixedMethod(4, _KUTTA),
    "dormand-prince": FixedMethod(5, _DORMAND_PRINCE),
}
"""By name.

Source: Hairer, Norsett and Wanner, "Solving Ordinary Differential Equations I", tables II.1.1, II.1.2 and II.5.2;
Bogacki and Shampine, "A 3(2) pair of Runge--Kutta formulas", Applied Mathematics Letters 2 (1989).
"""
