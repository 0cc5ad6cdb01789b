"""The step sizes of the trained task before and after, laid out for a drawing."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, final


class Tick(NamedTuple):
    """A mark on an axis, in pixels, and the number beside it."""

    position: float
    label: str


class PlottedStep(NamedTuple):
    """An accepted step as a horizontal line, in pixels."""

    start: float
    end: float
    height: float


class PlottedCurve(NamedTuple):
    """The steps of one solve. `style`: its class in the style sheet, `before` or `after` training with the penalty."""

    name: str
    style: str
    steps: tuple[PlottedStep, ...]


@final
@dataclasses.dataclass(frozen=True)
class StepPlot:
    """Step sizes, on a logarithmic scale, over time. The area of the curves is from `left, top` to `right, bottom`."""

    width: ClassVar[int] = 640
    height: ClassVar[int] = 300
    left: ClassVar[int] = 64
    right: ClassVar[int] = 628
    top: ClassVar[int] = 30
    bottom: ClassVar[int] = 260

    curves: tuple[PlottedCurve, ...]
    size_ticks: tuple[Tick, ...]
    time_ticks: tuple[Tick, ...]


class _Solve(NamedTuple):
    """Sizes of the accepted steps, without sign, and the times they start at."""

    times: tuple[float, ...]
    sizes: tuple[float, ...]


def step_plot(trained: Mapping[str, Any]) -> StepPlot | None:
    """The drawing of step sizes over time; `None` where there is nothing to draw.

    - `trained`: `trained` of a verdict: `before` and `after`, each with `times` and `sizes` of the accepted steps.
    """
    styles = {"before": "without the penalty", "after": "with the penalty"}
    solves = {style: solve for style in styles if (solve := _read(trained.get(style))) is not None}
    if not solves:
        return None
    first = min(time for solve in solves.values() for time in solve.times)
    last = max(time + size for solve in solves.values() for time, size in zip(*solve, strict=True))
    sizes = [size for solve in solves.values() for size in solve.sizes]
    low, high = math.floor(math.log10(min(sizes))), math.ceil(math.log10(max(sizes)))
    high = max(high, low + 1)

    def x(time: float) -> float:
        return round(StepPlot.left + (StepPlot.right - StepPlot.left) * (time - first) / ((last - first) or 1.0), 1)

    def y(size: float) -> float:
        return round(StepPlot.top + (StepPlot.bottom - StepPlot.top) * (high - math.log10(size)) / (high - low), 1)

    def steps(solve: _Solve) -> tuple[PlottedStep, ...]:
        return tuple(PlottedStep(x(time), x(time + size), y(size)) for time, size in zip(*solve, strict=True))

    times = [first + fraction * (last - first) for fraction in (0.0, 0.25, 0.5, 0.75, 1.0)]
    return StepPlot(
        curves=tuple(PlottedCurve(styles[style], style, steps(solve)) for style, solve in solves.items()),
        size_ticks=tuple(Tick(y(10.0**power), f"{10.0**power:g}") for power in range(low, high + 1)),
        time_ticks=tuple(Tick(x(time), f"{time:g}") for time in times),
    )


def _read(value: Any) -> _Solve | None:
    """A solve of what a verdict has, or `None` where it is not two lists of numbers that can be drawn."""
    if not isinstance(value, Mapping):
        return None
    times, sizes = _numbers(value.get("times")), _numbers(value.get("sizes"))
    if not times or len(times) != len(sizes):
        return None
    pairs = [(time, abs(size)) for time, size in zip(times, sizes, strict=True) if size]
    if not pairs:
        return None
    return _Solve(tuple(time for time, _ in pairs), tuple(size for _, size in pairs))


def _numbers(value: Any) -> tuple[float, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        return ()
    try:
        numbers = tuple(float(item) for item in value)
    except (TypeError, ValueError):
        return ()
    return numbers if all(math.isfinite(number) for number in numbers) else ()
