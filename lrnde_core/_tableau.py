"""Explicit Runge--Kutta methods as coefficients, and the fixed-step ones that plans are made of."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import NamedTuple, final

from lrnde_core._errors import InputError

# Far above the rounding of a sum of weights, far below any of their moments that is not 0.
_ROUNDING = 1e-9


@final
@dataclasses.dataclass(frozen=True)
class ExplicitTableau:
    r"""An explicit Runge--Kutta method with $s$ stages and, if it has one, its embedded error estimate.

    $k_i = f(t + c_i h, \; y + h \sum_{j<i} a_{ij} k_j)$, $y_1 = y + h \sum_i b_i k_i$, error $h \sum_i e_i k_i$.

    - `a`: the rows below the diagonal, `a[i - 1]` of length `i` for stage `i`, as Python floats (as all below).
    - `b`: weights of the solution, length `s`.
    - `c`: abscissae, length `s`, the first of them 0.
    - `error`: weights of the error estimate (their sum is 0), length `s`; `None` for a method without an embedded pair.
    """

    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    c: tuple[float, ...]
    error: tuple[float, ...] | None

    @property
    def num_stages(self) -> int:
        return len(self.b)

    @property
    def is_last_stage_solution(self) -> bool:
        """Whether the last stage is evaluated at the new solution itself (as in every first-same-as-last method)."""
        return self.b[-1] == 0 and self.a[-1] == self.b[:-1]

    @property
    def evaluations_per_advance(self) -> int:
        """The evaluations of a step without its error estimate: one fewer if only that needs the last stage."""
        return self.num_stages - self.is_last_stage_solution

    def evaluations_per_step(self, *, is_doubled: bool) -> int:
        """The evaluations of a step with its error estimate, which is that of step doubling or the tableau's own."""
        return 3 * self.num_stages - 1 if is_doubled else self.num_stages

    @property
    def has_stiffness_pair(self) -> bool:
        """Whether the last two stages lie at the end of the step and differ: then they estimate the stiffness."""
        return self.num_stages > 2 and self.c[-1] == self.c[-2] == 1 and self.is_last_stage_solution

    @property
    def num_quadrature_nodes(self) -> int:
        """The number of stages with a weight in the solution."""
        return sum(weight != 0 for weight in self.b)

    @property
    def num_quadrature_evaluations(self) -> int:
        """The number of evaluations that it takes to reach the last stage with a weight in the solution.

        They are those of all stages before it.
        """
        return max(index for index, weight in enumerate(self.b) if weight != 0)

    @property
    def error_order(self) -> int:
        """The power of h with which the error estimate falls, as the quadrature conditions say it.

        q for an embedded pair of orders q and q - 1, but also 3 for a method of order 4 beside a solution of order 2.
        Raises `InputError` for weights that integrate every function of time to 0.
        """
        assert self.error is not None  # asked only of methods that have one
        # As many moments as there are stages decide, since those of distinct abscissae are linearly independent.
        for power in range(self.num_stages):
            moment = sum(weight * abscissa**power for weight, abscissa in zip(self.error, self.c, strict=True))
            if abs(moment) > _ROUNDING:
                return power + 1
        raise InputError(
            f"`ExplicitTableau(error={self.error})`: these weights integrate every function of time to 0, which leaves "
            "the order of the estimate open. Use those of an embedded method with other abscissae, or `error=None`."
        )

    @functools.cached_property
    def real_stability_interval(self) -> float:
        r"""The largest $x$ with $|R(-z)| \le 1$ for all $0 \le z \le x$, $R$ the stability polynomial. Dimensionless.

        3.307 for Dormand--Prince 5, 3.507 for Tsitouras 5, 5.167 for Dormand--Prince 8.

        Source: Hairer and Wanner, "Solving Ordinary Differential Equations II", section IV.2.
        """
        coefficients = self._stability_polynomial()

        def is_stable(x: float) -> bool:
            value = 0.0
            for coefficient in reversed(coefficients):
                value = value * -x + coefficient
            return abs(value) <= 1 + 1e-12

        step = 1e-3
        low = step
        while is_stable(low + step):
            low += step
        high = low + step
        for _ in range(60):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if is_stable(middle) else (low, middle)
        return low

    def _stability_polynomial(self) -> list[float]:
        # R(z) = 1 + sum_j z^j b^T A^(j-1) 1, with A strictly lower triangular.
        powers = [1.0] * self.num_stages
        coefficients = [1.0]
        for _ in range(self.num_stages):
            coefficients.append(sum(b * p for b, p in zip(self.b, powers, strict=True)))
            powers = [0.0, *(sum(x * p for x, p in zip(row, powers, strict=False)) for row in self.a)]
        return coefficients


EULER = ExplicitTableau((), (1.0,), (0.0,), None)


@final
class FixedMethod(NamedTuple):
    """A method of a frozen solve: its order and its tableau, whose `error` is never `None`."""

    order: int
    tableau: ExplicitTableau


# Its last stage is the first of the next step, for the comparison with the trapezoidal rule.
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
"""The methods of frozen solves by name.

Source: Hairer, Norsett and Wanner, "Solving Ordinary Differential Equations I", tables II.1.1, II.1.2 and II.5.2;
Bogacki and Shampine, "A 3(2) pair of Runge--Kutta formulas", Applied Mathematics Letters 2 (1989).
"""
