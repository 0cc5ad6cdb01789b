"""Published schemes for stochastic equations, as their authors state them.

The diffusion is a factor of the noise, elementwise, or for general noise a matrix for each state of which row i depends
on element i of the state alone.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, final

from lrnde_conformance._method import Noise
from lrnde_conformance._paths import PathIncrement, Sees

Array = Any
Function = Callable[[Any, Any], Any]


@final
@dataclasses.dataclass(frozen=True)
class SDEScheme:
    """One scheme.

    - `take(f, g, slope, t, h, y, noise)`: one step, with drift `f(t, y)`, diffusion `g(t, y)`, its slope by the state,
      and what the path does over the step.
    - `calculus`: of the equation that it solves. `orders`: strong order by noise. `source`: where it is published.
    - `sees`: what of the path a step needs.
    """

    name: str
    calculus: str
    orders: dict[Noise, float]
    take: Callable[[Function, Function, Function, Any, Any, Array, PathIncrement], Array]
    source: str
    sees: Sees = "w"


def _times(g: Array, w: Array) -> Array:
    """The diffusion times an increment: elementwise, or of a matrix for each state."""
    return g * w if g.ndim == w.ndim else (g @ w[..., None])[..., 0]


def _euler_maruyama(f: Function, g: Function, _: Function, t: Any, h: Any, y: Array, noise: PathIncrement) -> Array:
    return y + f(t, y) * h + _times(g(t, y), noise.w)


def _euler_heun(f: Function, g: Function, _: Function, t: Any, h: Any, y: Array, noise: PathIncrement) -> Array:
    before = _times(g(t, y), noise.w)
    return y + f(t, y) * h + 0.5 * (before + _times(g(t + h, y + before), noise.w))


def _euler_heun_frozen_time(
    f: Function, g: Function, _: Function, t: Any, h: Any, y: Array, noise: PathIncrement
) -> Array:
    before = _times(g(t, y), noise.w)
    return y + f(t, y) * h + 0.5 * (before + _times(g(t, y + before), noise.w))


def _heun(f: Function, g: Function, _: Function, t: Any, h: Any, y: Array, noise: PathIncrement) -> Array:
    drift, before = f(t, y), _times(g(t, y), noise.w)
    end = y + drift * h + before
    return y + 0.5 * (drift + f(t + h, end)) * h + 0.5 * (before + _times(g(t + h, end), noise.w))


def _midpoint(f: Function, g: Function, _: Function, t: Any, h: Any, y: Array, noise: PathIncrement) -> Array:
    middle = y + 0.5 * f(t, y) * h + 0.5 * _times(g(t, y), noise.w)
    return y + f(t + 0.5 * h, middle) * h + _times(g(t + 0.5 * h, middle), noise.w)


def _milstein_ito(f: Function, g: Function, slope: Function, t: Any, h: Any, y: Array, noise: PathIncrement) -> Array:
    factor, w = g(t, y), noise.w
    return y + f(t, y) * h + factor * w + 0.5 * factor * slope(t, y) * (w * w - h)


def _milstein_stratonovich(
    f: Function, g: Function, slope: Function, t: Any, h: Any, y: Array, noise: PathIncrement
) -> Array:
    factor, w = g(t, y), noise.w
    return y + f(t, y) * h + factor * w + 0.5 * factor * slope(t, y) * w * w


def _sra1(f: Function, g: Function, _: Function, t: Any, h: Any, y: Array, noise: PathIncrement) -> Array:
    start, end, area = g(t, y), g(t + h, y), noise.area / h
    first = f(t, y)
    second = f(t + 0.75 * h, y + 0.75 * first * h + 1.5 * end * area)
    return y + (first + 2 * second) / 3 * h + end * noise.w + (start - end) * area


def _log_ode(f: Function, g: Function, slope: Function, t: Any, h: Any, y: Array, noise: PathIncrement) -> Array:
    time, middle = t + 0.5 * h, y + 0.5 * (f(t, y) * h + _times(g(t, y), noise.w))
    matrix = g(time, middle)
    # The commutators of the columns, each of which changes element i with element i alone.
    commutators = (slope(time, middle) * (matrix @ noise.levy)).sum(axis=-1)
    return y + f(time, middle) * h + _times(matrix, noise.w) + commutators


_KLOEDEN = "Kloeden and Platen 1992"
_ELEMENTWISE: dict[Noise, float] = {"additive": 1.0, "diagonal": 1.0}
_ONE: dict[Noise, float] = {**_ELEMENTWISE, "general": 0.5}

SDE_SCHEMES: dict[str, SDEScheme] = {
    scheme.name: scheme
    for scheme in (
        SDEScheme("euler-maruyama", "ito", {**_ONE, "diagonal": 0.5}, _euler_maruyama, f"{_KLOEDEN}, 10.2"),
        SDEScheme("euler-heun", "stratonovich", _ONE, _euler_heun, "Gard 1988"),
        SDEScheme(
            "euler-heun-frozen",
            "stratonovich",
            _ONE,
            _euler_heun_frozen_time,
            "Gard 1988, with the predicted noise at the start of the step, as torchsde and diffrax have it",
        ),
        SDEScheme("heun-stratonovich", "stratonovich", _ONE, _heun, "Rumelin 1982"),
        SDEScheme("midpoint-stratonovich", "stratonovich", _ONE, _midpoint, "Rumelin 1982"),
        SDEScheme("milstein-ito", "ito", _ELEMENTWISE, _milstein_ito, f"{_KLOEDEN}, 10.3"),
        SDEScheme("milstein-stratonovich", "stratonovich", _ELEMENTWISE, _milstein_stratonovich, f"{_KLOEDEN}, 10.3"),
        SDEScheme("sra1", "ito", {"additive": 1.5}, _sra1, "Roessler 2010, table 6.3", "area"),
        SDEScheme("log-ode", "stratonovich", _ONE, _log_ode, "Foster, Lyons and Oberhauser 2020, section 4", "levy"),
    )
}
"""All stochastic schemes by name."""
