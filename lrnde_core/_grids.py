"""Where the steps of a plan end: uniform grids, and the solver's own grids with another number of steps."""

import bisect
from collections.abc import Sequence

# Output times in float32 lie this close to the fraction that is meant, and are worth no interpolation.
_SNAP = 1e-6


def uniform_grid(num_steps: int, outputs: Sequence[float]) -> tuple[float, ...]:
    """`num_steps` steps of equal size."""
    return _snapped([index / num_steps for index in range(1, num_steps + 1)], outputs)


def solver_grid(num_steps: int, grids: Sequence[Sequence[float]], outputs: Sequence[float]) -> tuple[float, ...]:
    """`num_steps` steps, as densely placed as those of the solver were on average over its `grids`.

    Each grid counts its steps: i/N at the end of step i of N, linear in between. The new steps end where the mean of
    these counts, weighted by N, is a multiple of 1/num_steps.
    """
    points = sorted({0.0, *(end for grid in grids for end in grid)})
    total = sum(len(grid) for grid in grids)
    counts = [sum(_count(grid, point) for grid in grids) / total for point in points]
    ends = [_inverse(points, counts, index / num_steps) for index in range(1, num_steps)]
    return _snapped([*ends, 1.0], outputs)


def _count(grid: Sequence[float], point: float) -> float:
    """How many steps of a grid end before a point, the one around it in parts."""
    ends = (0.0, *grid)
    index = bisect.bisect_right(ends, point) - 1
    if index >= len(grid):
        return float(len(grid))
    return index + (point - ends[index]) / (ends[index + 1] - ends[index])


def _inverse(points: Sequence[float], counts: Sequence[float], count: float) -> float:
    index = bisect.bisect_left(counts, count)
    low, high = counts[index - 1], counts[index]
    return points[index - 1] + (points[index] - points[index - 1]) * (count - low) / (high - low)


def _snapped(ends: list[float], outputs: Sequence[float]) -> tuple[float, ...]:
    snapped = [next((output for output in outputs if abs(output - end) < _SNAP), end) for end in ends]
    return (*snapped[:-1], 1.0)
