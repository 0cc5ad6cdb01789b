"""Published schemes for stochastic equations with elementwise noise, as their authors state them."""

import dataclasses
from collections.abc import Callable
from typing import Any, final

from lrnde_conformance._driver import Noise

Array = Any
Function = Callable[[Any, Any], Any]


@final
@dataclasses.dataclass(frozen=True)
class SDEScheme:
    """One scheme.

    - `take(f, g, slope, t, h, y, w)`: one step, with drift `f(t, y)`, diffusion `g(t, y)`, its slope by the state, and
      the increment `w` over the step.
    - `calculus`: of the equation that it solves. `orders`: strong order by noise. `source`: where it is published.
    """

    name: str
    calculus: str
    orders: dict[Noise, float]
    take: Callable[[Function, Function, Function, Any, Any, Array, Array], Array]
    source: str


def _euler_maruyama(f: Function, g: Function, _: Function, t: Any, h: Any, y: Array, w: Array) -> Array:
    return y + f(t, y) * h + g(t, y) * w


def _euler_heun(f: Function, g: Function, _: Function, t: Any, h: Any, y: Array, w: Array) -> Array:
    before = g(t, y)
    return y + f(t, y) * h + 0.5 * (before + g(t + h, y + before * w)) * w


def _euler_heun_frozen_time(f: Function, g: Function, _: Function, t: Any, h: Any, y: Array, w: Array) -> Array:
    before = g(t, y)
    return y + f(t, y) * h + 0.5 * (before + g(t, y + before * w)) * w


def _heun(f: Function, g: Function, _: Function, t: Any, h: Any, y: Array, w: Array) -> Array:
    drift, noise = f(t, y), g(t, y)
    end = y + drift * h + noise * w
    return y + 0.5 * (drift + f(t + h, end)) * h + 0.5 * (noise + g(t + h, end)) * w


def _midpoint(f: Function, g: Function, _: Function, t: Any, h: Any, y: Array, w: Array) -> Array:
    middle = y + 0.5 * f(t, y) * h + 0.5 * g(t, y) * w
    return y + f(t + 0.5 * h, middle) * h + g(t + 0.5 * h, middle) * w


def _milstein_ito(f: Function, g: Function, slope: Function, t: Any, h: Any, y: Array, w: Array) -> Array:
    noise = g(t, y)
    return y + f(t, y) * h + noise * w + 0.5 * noise * slope(t, y) * (w * w - h)


def _milstein_stratonovich(f: Function, g: Function, slope: Function, t: Any, h: Any, y: Array, w: Array) -> Array:
    noise = g(t, y)
    return y + f(t, y) * h + noise * w + 0.5 * noise * slope(t, y) * w * w


_KLOEDEN = "Kloeden and Platen 1992"
_ONE: dict[Noise, float] = {"additive": 1.0, "diagonal": 1.0}

SDE_SCHEMES: dict[str, SDEScheme] = {
    scheme.name: scheme
    for scheme in (
        SDEScheme("euler-maruyama", "ito", {"additive": 1.0, "diagonal": 0.5}, _euler_maruyama, f"{_KLOEDEN}, 10.2"),
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
        SDEScheme("milstein-ito", "ito", _ONE, _milstein_ito, f"{_KLOEDEN}, 10.3"),
        SDEScheme("milstein-stratonovich", "stratonovich", _ONE, _milstein_stratonovich, f"{_KLOEDEN}, 10.3"),
    )
}
"""All stochastic schemes by name."""
