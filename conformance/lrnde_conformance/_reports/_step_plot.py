"""The step sizes of the trained task before and after, as an SVG drawing."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, final

from lrnde_conformance._reports._text import for_html

_WIDTH, _HEIGHT = 640, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 30, 40


@final
@dataclasses.dataclass(frozen=True)
class _Curve:
    """Step sizes of one solve, against the times the steps start at."""

    name: str
    style: str
    times: tuple[float, ...]
    sizes: tuple[float, ...]


def step_plot(trained: Mapping[str, Any], title: str) -> str:
    """An `<svg>` of step sizes over time, sizes on a logarithmic scale; empty where there is nothing to draw.

    - `trained`: `trained` of a verdict: `before` and `after`, each with `times` and `sizes` of the accepted steps.
    - `title`: what it shows, for those who cannot see it.
    """
    curves = [
        curve
        for name, style in (("without the penalty", "before"), ("with the penalty", "after"))
        if (curve := _curve(name, style, trained.get(style))) is not None
    ]
    if not curves:
        return ""
    starts = [time for curve in curves for time in curve.times]
    ends = [time + size for curve in curves for time, size in zip(curve.times, curve.sizes, strict=True)]
    sizes = [size for curve in curves for size in curve.sizes]
    first, last = min(starts), max(ends)
    low, high = math.floor(math.log10(min(sizes))), math.ceil(math.log10(max(sizes)))
    high = max(high, low + 1)

    def x(time: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (time - first) / ((last - first) or 1.0)

    def y(size: float) -> float:
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (high - math.log10(size)) / (high - low)

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{for_html(title)}">']
    for power in range(low, high + 1):
        height = y(10.0**power)
        parts.append(f'<path class="grid" d="M{_LEFT} {height:.1f}H{_WIDTH - _RIGHT}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{height + 4:.1f}" text-anchor="end">{10.0**power:g}</text>')
    for fraction in (0.0, 0.25, 0.5, 0.75, 1.0):
        time = first + fraction * (last - first)
        anchor = "end" if fraction == 1.0 else "middle"
        parts.append(f'<path class="grid" d="M{x(time):.1f} {_HEIGHT - _BOTTOM}v5"/>')
        parts.append(f'<text x="{x(time):.1f}" y="{_HEIGHT - 20}" text-anchor="{anchor}">{time:g}</text>')
    parts.append(f'<text x="{(_LEFT + _WIDTH) / 2}" y="{_HEIGHT - 4}" text-anchor="middle">time</text>')
    parts.append('<text x="4" y="14">step size</text>')
    for number, curve in enumerate(curves):
        steps = zip(curve.times, curve.sizes, strict=True)
        path = "".join(f"M{x(time):.1f} {y(size):.1f}H{x(time + size):.1f}" for time, size in steps)
        parts.append(f'<path class="{curve.style}" d="{path}"/>')
        left = _LEFT + 60 + 270 * number
        parts.append(f'<path class="{curve.style}" d="M{left} 10h30"/>')
        parts.append(f'<text x="{left + 36}" y="14">{curve.name}: {len(curve.sizes)} steps</text>')
    return "".join([*parts, "</svg>"])


def _curve(name: str, style: str, value: Any) -> _Curve | None:
    """A curve of what a verdict has, or `None` where it is not two lists of numbers that can be drawn."""
    if not isinstance(value, Mapping):
        return None
    times, sizes = _numbers(value.get("times")), _numbers(value.get("sizes"))
    if not times or len(times) != len(sizes):
        return None
    pairs = [(time, abs(size)) for time, size in zip(times, sizes, strict=True) if size]
    if not pairs:
        return None
    return _Curve(name, style, tuple(time for time, _ in pairs), tuple(size for _, size in pairs))


def _numbers(value: Any) -> tuple[float, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        return ()
    try:
        numbers = tuple(float(item) for item in value)
    except (TypeError, ValueError):
        return ()
    return numbers if all(math.isfinite(number) for number in numbers) else ()
