"""The record of a solve: its counts and the kept steps."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar, final

from lrnde_core._arrays import (
    Count,
    Leaves,
    Members,
    Number,
    OfMembers,
    Real,
    Scalar,
    Time,
    Truth,
    array_namespace,
    where_members,
)
from lrnde_core._problem import AbstractLocalProblem, Carry, StepEstimate
from lrnde_core._samplers import AbstractSampler, AcceptedStep, Draw, DrawnStep

StepData: TypeAlias = Any
"""The data of a step that a recorder keeps, of the adapter's own type."""

_Other = TypeVar("_Other")


@final
@functools.total_ordering
class BackwardCount:
    """Evaluations of the backward passes of one solve so far.

    An integer that grows: 0 in a fresh report, read with `int(...)` once `backward()` has run. It compares, computes
    and prints as its current integer; pickled or copied it becomes that `int`. It holds no reference to the solve.
    """

    __slots__ = ("_number",)
    __hash__ = None  # pyright: ignore[reportAssignmentType]  # it changes

    def __init__(self) -> None:
        self._number = 0

    def add(self, number: int) -> None:
        """Count `number` more evaluations."""
        self._number += number

    def __int__(self) -> int:
        return self._number

    __index__ = __int__

    def __float__(self) -> float:
        return float(self._number)

    def __bool__(self) -> bool:
        return self._number != 0

    def __eq__(self, other: object) -> bool:
        return self._number == _now(other)

    def __lt__(self, other: Number) -> bool:
        return self._number < _now(other)

    def __add__(self, other: _Other) -> _Other:
        return self._number + _now(other)

    __radd__ = __add__

    def __sub__(self, other: _Other) -> _Other:
        return self._number - _now(other)

    def __rsub__(self, other: Number) -> Number:
        return other - self._number

    def __mul__(self, other: _Other) -> _Other:
        return self._number * _now(other)

    __rmul__ = __mul__

    def __truediv__(self, other: Number) -> Real:
        return self._number / _now(other)

    def __rtruediv__(self, other: Number) -> Real:
        return other / self._number

    def __repr__(self) -> str:
        return repr(self._number)

    def __format__(self, spec: str) -> str:
        return format(self._number, spec)

    def __reduce__(self) -> tuple[type[int], tuple[int]]:
        return int, (self._number,)


def _now(other: Any) -> Any:
    return other._number if isinstance(other, BackwardCount) else other  # pyright: ignore[reportPrivateUsage]


class Counts(NamedTuple):
    """The cost of a solve, as in `Report`: evaluations (`None` if hidden), steps, two for SDEs, backward, and error."""

    nfe: Count | None
    num_steps: Count | None
    num_accepted: Count | None
    num_rejected: Count | None
    nfe_diffusion: Count | None = None
    num_forced: Count | None = None
    nfe_backward: BackwardCount | None = None
    step_error: Scalar | None = None


class Record(NamedTuple):
    """One kept step, without gradient (with `gradient="full"`, `y` keeps its own).

    - `t`, `h`: start and signed size in the user's time, the size clipped to the end of the solve.
    - `y`: state at `t`. `carry`: everything else the step needs, such as the memory of a solver or the Brownian
      increments of a stochastic equation; `None` if nothing.
    - `remaining`: signed time from `t` to the end of the solve.
    - `drawn`: the step as the sampler sees it.
    - `estimate`: the step itself, with gradient, if the solver's own stages are available; else `None`.
    - `solver_error_ratio`: the number that the solver's controller compared with 1 at this step, if the protocol
      defines the error ratio differently; else `None`.
    - `point`: time and state of the sample inside the step, if the solve itself interpolates there, as on a plan; else
      `None`, and a further step leads there.
    """

    t: Time
    h: Time
    y: Leaves
    carry: Carry
    remaining: Time
    drawn: DrawnStep
    estimate: StepEstimate | None = None
    solver_error_ratio: Scalar | None = None
    point: tuple[Time, Leaves] | None = None


Records: TypeAlias = Any
"""Kept steps in the adapter's own batching: a sequence of `Record`s, or one `Record` of arrays with a leading axis.

Only the adapter that recorded them evaluates them.
"""


class Recording(NamedTuple):
    """The kept steps of a solve: one per draw, or every accepted step if the sampler keeps them all.

    - `problem`: the local problem.
    - `records`: the steps; `None` if `cost` is given.
    - `is_valid`: whether the solve took a step and succeeded; if not, the penalty is exactly 0. May be traced, and an
      integer, 1 or 0.
    - `num_reused`: the number of records that have their own `estimate`. May be traced.
    - `num_reading`: evaluations that it took to read the samples' own points.
    - `num_evaluated`: the number of local steps that the penalty evaluates, if it is not one per draw. May be traced.
    - `cost`: the reduced cost of every step, if it was added up while the solve ran. `num_unresolved`: the count for
      `Report`, made along with it.
    """

    problem: AbstractLocalProblem
    records: Records
    is_valid: Truth | Count
    num_reused: Count = 0
    num_evaluated: Count | None = None
    cost: Scalar | None = None
    num_unresolved: Count | None = None
    num_reading: Count = 0


class KeptStep(NamedTuple):
    """A kept step: time from the start of the solve to its start, its length as taken, and the step itself."""

    elapsed: Real
    size: Real
    step: StepData


@final
class KeptSteps:
    """The accepted steps of one solve that a sampler keeps: one for each draw, or every one. For recorders in Python.

    - `draws`: as `AbstractAdapter.check_draw` returned them.
    - `duration`: length of the solve; `None` if an event decides it and it is not known yet.
    - `nothing`: stands for the step of a member that took none, in batches whose members take their own steps.
    - `kept`: the kept step of each draw, `None` if there was none; every accepted step if the sampler wants them all.
    - `num_offered`: accepted steps so far. `covered`: time from the start of the solve to the end of the last of them.

    Times and lengths are unsigned. They are numbers, or arrays of shape `(batch,)` if each member of a batch takes its
    own steps.
    """

    def __init__(
        self, sampler: AbstractSampler, draws: Sequence[Draw], duration: Real | None, nothing: KeptStep | None = None
    ) -> None:
        self._sampler = sampler
        self._draws = draws
        self._duration = duration
        self.kept: list[KeptStep | None] = [] if sampler.keeps_every_step else [nothing] * len(draws)
        self.num_offered: Count = 0
        self.covered: Real = 0.0

    def offer(self, elapsed: Real, size: Real, step: StepData) -> None:
        """Offer an accepted step with a length above 0. If kept, it is held by reference."""
        self.num_offered += 1
        self.covered = elapsed + size
        offered = KeptStep(elapsed, size, step)
        if self._sampler.keeps_every_step:
            self.kept.append(offered)
            return
        accepted = AcceptedStep(self.num_offered, elapsed, size, self._duration)
        for index, draw in enumerate(self._draws):
            if self._sampler.keep(draw, accepted):
                self.kept[index] = offered

    def offer_to_members(self, is_new: Members, elapsed: Real, size: Real, step: tuple[OfMembers, ...]) -> None:
        """Offer an accepted step of those members of a batch that `is_new` marks.

        - `is_new`: of shape `(batch,)`. `step`: arrays of shape `(batch, ...)`.
        """
        accepted = AcceptedStep(self.num_offered + 1, elapsed, size, self._duration)
        xp = array_namespace(is_new)
        self.num_offered = self.num_offered + xp.astype(is_new, xp.int64)
        for index, draw in enumerate(self._draws):
            old = self.kept[index]
            assert old is not None  # `nothing` was given
            is_kept = is_new & self._sampler.keep(draw, accepted)
            pairs = zip((elapsed, size, *step), (old.elapsed, old.size, *old.step), strict=True)
            elapsed_kept, size_kept, *step_kept = (where_members(is_kept, new, kept) for new, kept in pairs)
            self.kept[index] = KeptStep(elapsed_kept, size_kept, tuple(step_kept))

    def drawn(self, kept: KeptStep | None, size: Real) -> DrawnStep:
        """A kept step as the sampler sees it once the solve is over.

        - `size`: its length, clipped to the end of the solve.
        """
        is_end_known = self._duration is not None
        duration = self._duration if is_end_known else self.covered
        if kept is None:
            return DrawnStep(0.0, 0.0, 0.0, duration, self.num_offered, is_end_known)
        measure = size if is_end_known else kept.size
        return DrawnStep(kept.elapsed, size, measure, duration, self.num_offered, is_end_known)
