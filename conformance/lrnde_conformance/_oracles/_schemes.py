"""Published explicit Runge--Kutta schemes as exact fractions, and what follows from them.

Written from the publications, not read from any solver library.
"""

import dataclasses
import functools
from collections.abc import Callable
from fractions import Fraction
from typing import Any, final

import numpy as np

Row = tuple[Fraction, ...]


@final
@dataclasses.dataclass(frozen=True)
class Scheme:
    """One scheme.

    - `rows`: the matrix below the diagonal. `solution`: weights. `error`: solution less embedded solution; `None` where
      the scheme has none, and steps are doubled.
    - `order`: of the solution. `error_order`: the power of h that the error ratio goes with, in the controllers'
      convention. `source`: where it is published.
    """

    name: str
    rows: tuple[Row, ...]
    solution: Row
    error: Row | None
    order: int
    source: str

    @property
    def error_order(self) -> float:
        """q for an embedded pair of orders q and q - 1, q + 1 for step doubling."""
        return float(self.order if self.error is not None else self.order + 1)

    @property
    def has_pair(self) -> bool:
        """Whether the last two stages lie at the end of the step, the last at the new solution."""
        last_is_solution = bool(self.rows) and (*self.rows[-1], Fraction(0)) == self.solution
        return last_is_solution and len(self.rows) > 2 and sum(self.rows[-1]) == sum(self.rows[-2]) == 1

    @property
    def abscissas(self) -> Row:
        """Where in the step the stages lie, in [0, 1]."""
        return (Fraction(0), *(sum(row, Fraction(0)) for row in self.rows))

    @functools.cached_property
    def stability_interval(self) -> float:
        """The smallest x > 0 where the modulus of the stability polynomial at -x reaches 1 and goes on."""
        num_stages = len(self.solution)
        matrix = np.zeros((num_stages, num_stages), dtype=object)
        for i, row in enumerate(self.rows, start=1):
            matrix[i, : len(row)] = row
        power = np.array([Fraction(1)] * num_stages, dtype=object)
        coefficients = [Fraction(1)]
        for j in range(num_stages):
            coefficients.append(sum(b * p for b, p in zip(self.solution, power, strict=True)) * (-1) ** (j + 1))
            power = matrix.dot(power)
        highest_first = [float(c) for c in reversed(coefficients)]
        crossings: list[float] = []
        for level in (1.0, -1.0):
            shifted = [*highest_first[:-1], highest_first[-1] - level]
            roots = np.roots(np.trim_zeros(shifted, "f"))
            crossings += [root.real for root in roots if abs(root.imag) < 1e-7 and root.real > 1e-6]
        return min(x for x in crossings if abs(np.polyval(highest_first, x * 1.0001)) > 1)

    def increments(
        self, field: Callable[[Any, Any], Any], t: float, h: Any, y: Any, *, first: Any = None
    ) -> tuple[list[Any], list[Any]]:
        """The stages' h k and states; `first`: the first stage's h k where it is known."""
        increments, states = [h * field(t, y) if first is None else first], [y]
        for row in self.rows:
            states.append(y + sum(float(a) * k for a, k in zip(row, increments, strict=True) if a))
            increments.append(h * field(t + float(sum(row)) * h, states[-1]))
        return increments, states

    def step(self, field: Callable[[Any, Any], Any], t: float, h: Any, y: Any) -> Any:
        """The state after one step."""
        increments, _ = self.increments(field, t, h, y)
        return self.solution_of(y, increments)

    def solution_of(self, y: Any, increments: list[Any]) -> Any:
        """The state after a step with these stages."""
        return y + sum(float(b) * k for b, k in zip(self.solution, increments, strict=True) if b)

    def error_of(self, increments: list[Any]) -> Any:
        """The embedded estimate of the error of a step with these stages."""
        assert self.error is not None
        return sum(float(e) * k for e, k in zip(self.error, increments, strict=True) if e)


def _row(text: str) -> Row:
    return tuple(Fraction(part) for part in text.split())


def _scheme(name: str, order: int, rows: tuple[str, ...], solution: str, embedded: str | None, source: str) -> Scheme:
    weights = _row(solution)
    error = None if embedded is None else tuple(b - e for b, e in zip(weights, _row(embedded), strict=True))
    return Scheme(name, tuple(map(_row, rows)), weights, error, order, source)


_DOPRI5 = _scheme(
    "dopri5",
    5,
    (
        "1/5",
        "3/40 9/40",
        "44/45 -56/15 32/9",
        "19372/6561 -25360/2187 64448/6561 -212/729",
        "9017/3168 -355/33 46732/5247 49/176 -5103/18656",
        "35/384 0 500/1113 125/192 -2187/6784 11/84",
    ),
    "35/384 0 500/1113 125/192 -2187/6784 11/84 0",
    "1951/21600 0 22642/50085 451/720 -12231/42400 649/6300 1/60",
    "Dormand and Prince 1980; embedded solution of Shampine 1986, as torchdiffeq and diffrax have it",
)
_BOSH3 = _scheme(
    "bosh3",
    3,
    ("1/2", "0 3/4", "2/9 1/3 4/9"),
    "2/9 1/3 4/9 0",
    "7/24 1/4 1/3 1/8",
    "Bogacki and Shampine 1989",
)
_HEUN_EULER = _scheme("heun-euler", 2, ("1",), "1/2 1/2", "1 0", "Heun's method with Euler's embedded")


def _tsit5() -> Scheme:
    """Tsitouras 2011, table 1, with the first column from the row sums."""
    abscissae = _row("0.161 0.327 0.9 0.9800255409045097 1 1")
    known = (
        "",
        "0.335480655492357",
        "-6.359448489975075 4.362295432869581",
        "-11.74888356406283 7.495539342889836 -0.09249506636175525",
        "-12.92096931784711 8.159367898576159 -0.071584973281401 -0.02826905039406838",
        "0.01 0.4798896504144996 1.379008574103742 -3.290069515436081 2.324710524099774",
    )
    rows = tuple((c - sum(_row(rest)), *_row(rest)) for c, rest in zip(abscissae, known, strict=True))
    error = _row(
        "-0.00178001105222577714 -0.0008164344596567469 0.007880878010261995 -0.1447110071732629 0.5823571654525552 "
        "-0.45808210592918697 1/66"
    )
    solution = (*rows[-1], Fraction(0))
    return Scheme("tsit5", rows, solution, error, 5, "Tsitouras 2011, table 1")


SCHEMES: dict[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        _DOPRI5,
        _tsit5(),
        _BOSH3,
        _HEUN_EULER,
        _scheme("euler", 1, (), "1", None, "Euler 1768"),
        _scheme("midpoint", 2, ("1/2",), "0 1", None, "Runge 1895"),
        _scheme("heun", 2, ("1",), "1/2 1/2", None, "Heun 1900, without an error estimate"),
        _scheme("heun3", 3, ("1/3", "0 2/3"), "1/4 0 3/4", None, "Heun 1900"),
        _scheme("rk4", 4, ("1/2", "0 1/2", "0 0 1"), "1/6 1/3 1/3 1/6", None, "Kutta 1901"),
        _scheme("rk4-38", 4, ("1/3", "-1/3 1", "1 -1 1"), "1/8 3/8 3/8 1/8", None, "Kutta 1901, the 3/8 rule"),
    )
}
"""All ordinary schemes by name."""
