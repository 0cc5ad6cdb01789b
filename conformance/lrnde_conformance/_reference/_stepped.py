"""A call of the reference solver solved by the fixed steps of a plan."""

import bisect
import dataclasses
from collections.abc import Sequence
from typing import Any, final

from lrnde_conformance._backends._dual import copied
from lrnde_conformance._reference._call import ReferenceCall
from lrnde_conformance._reference._problem import ReferenceProblem, add_increments, as_dual, like_state
from lrnde_conformance._reference._steps import Field
from lrnde_core import (
    AbstractOfSteps,
    AbstractStages,
    AbstractSteppedCall,
    FixedSteps,
    Followed,
    Leaves,
    StepTaken,
    follow_steps,
)


@final
class ReferenceSteppedCall(AbstractSteppedCall[ReferenceCall]):
    """A call of `integrate` by fixed steps."""

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        return [self.native.y0.shape]

    @property
    def interval(self) -> tuple[float, float]:
        return self.native.ts[0], self.native.ts[-1]

    def follow(self, *, needs_last: bool) -> Followed:
        native = self.native
        return Followed(*take_steps(self.steps, native.field, native.y0, native.ts, needs_last=needs_last))

    @property
    def stages(self) -> AbstractStages:
        return _Stages(self.native.field)

    def problem(self) -> ReferenceProblem:
        return dataclasses.replace(self.native.problem(), method=self.steps.method, tableau=self.steps.tableau)

    def leaves(self, state: Leaves) -> Leaves:
        return tuple(map(as_dual, state))


@final
@dataclasses.dataclass(frozen=True, eq=False)
class _Stages(AbstractStages):
    """Stages on plain arrays and `Dual`s as they come."""

    field: Field

    def increment(self, t: Any, h: Any, abscissa: float, y: Leaves) -> Leaves:
        return (h * like_state(self.field(t + abscissa * h, y[0]), y[0]),)

    def combine(self, y: Leaves, weights: tuple[float, ...], increments: list[Leaves]) -> Leaves:
        return add_increments(y, weights, increments)


def take_steps(
    steps: FixedSteps, field: Field, y0: Any, ts: Sequence[float], *, needs_last: bool
) -> tuple[list[Any], AbstractOfSteps[StepTaken]]:
    """The states at `ts` as `integrate` returns them, and the steps; `needs_last` as in `follow_steps`."""
    t0, t1 = ts[0], ts[-1]
    taken = follow_steps(_Stages(field), steps, t0, t1, (copied(y0),), needs_last=needs_last or len(ts) > 2)
    states = [y0]
    for time in ts[1:-1]:
        fraction = (time - t0) / (t1 - t0)
        index = bisect.bisect_left(steps.ends, fraction)
        start, end = (0.0, *steps.ends)[index : index + 2]
        states += taken[index].inside((fraction - start) / (end - start))
    return [*states, *taken[-1].y1], taken
