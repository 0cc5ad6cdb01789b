"""Butcher tableaus of explicit methods, and what can be computed from them."""

import dataclasses
import functools
from typing import final


@final
@dataclasses.dataclass(frozen=True)
class ExplicitTableau:
    r"""An explicit Runge--Kutta method with $s$ stages and, where it has one, its embedded error estimate.

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
    def has_stiffness_pair(self) -> bool:
        """Whether the last two stages lie at the end of the step and differ: then they estimate the stiffness."""
        return self.num_stages > 2 and self.c[-1] == self.c[-2] == 1 and self.is_last_stage_solution

    @property
    def num_quadrature_nodes(self) -> int:
        """How many stages have a weight in the solution."""
        return sum(weight != 0 for weight in self.b)

    @property
    def num_quadrature_evaluations(self) -> int:
        """Evaluations before the last of them is reached."""
        return max(index for index, weight in enumerate(self.b) if weight != 0)

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
