"""A call that is examined: its own solve, and solves of it with one thing changed."""

import contextlib
import dataclasses
import math
import statistics
from collections.abc import Generator, Iterable, Sequence
from typing import NamedTuple, final

from lrnde_core._arrays import Count, Leaf, Leaves, array_namespace
from lrnde_core._call import AbstractCall, CallChange
from lrnde_core._errors import CapabilityError, InputError, LrndeError, described
from lrnde_core._plans._call_form import CallForm
from lrnde_core._plans._contract import AbstractFreezer
from lrnde_core._plans._errors import RELATIVE, sample_norms


class NotMeasuredError(Exception):
    """Something cannot be measured; the message says why."""


@contextlib.contextmanager
def solving() -> Generator[None]:
    """A solve within the block; what the library or the field raises there is a `NotMeasuredError`.

    They did not raise in the call as it was given.
    """
    try:
        yield
    except LrndeError:
        raise
    except Exception as exc:
        raise NotMeasuredError(f"the changed call raised {described(exc)}.") from exc


@final
class CountedSolve(NamedTuple):
    """What a solve costs, and its states after the start."""

    cost: float
    num_accepted: float | None
    num_rejected: float | None
    states: Leaves


@final
@dataclasses.dataclass(frozen=True, eq=False)
class Examined:
    """A call, and its own solve.

    - `unit`: as in `Diagnosis`.
    """

    freezer: AbstractFreezer
    call: AbstractCall
    form: CallForm
    is_batched: bool
    unit: str
    own: CountedSolve

    @classmethod
    def of(cls, freezer: AbstractFreezer, call: AbstractCall, form: CallForm, *, is_batched: bool) -> "Examined":
        """Solve the call. Raises `InputError` if that fails."""
        native = freezer.solve(freezer.copied(call))
        if native.failure is not None:
            raise InputError(
                f"The solve of one of `calls` failed: {native.failure}. Leave it out, or let the solver take more "
                "steps."
            )
        unit = "steps" if native.num_evaluations is None else "evaluations"
        return cls(freezer, call, form, is_batched, unit, _solved(freezer, call, unit))

    def changed(self, change: CallChange) -> CountedSolve:
        """The same solve with something changed. Raises `NotMeasuredError` if its states are not finite."""
        call = self.call.changed(change)
        with solving():
            solved = _solved(self.freezer, call, self.unit)
        if not all(map(math.isfinite, sample_norms(solved.states, is_batched=self.is_batched))):
            raise NotMeasuredError(f"the solve with {change} failed.")
        return solved

    def error(self, states: Leaves, samples: Sequence[int] | None = None) -> float:
        """The largest error of a sample against the own solve; of these samples of it, if `states` are theirs alone."""
        reference = self.own.states
        if samples is not None:
            reference = tuple(_taken(leaf, samples) for leaf in reference)
        if [leaf.shape for leaf in states] != [leaf.shape for leaf in reference]:
            raise NotMeasuredError("the field knows its batch: it returns as many samples whichever are solved.")
        return max(RELATIVE.errors(states, reference, is_batched=self.is_batched))

    @property
    def num_samples(self) -> int:
        return self.own.states[0].shape[1] if self.is_batched else 1


def _taken(leaf: Leaf, samples: Sequence[int]) -> Leaf:
    return array_namespace(leaf).stack([leaf[:, sample, ...] for sample in samples], axis=1)


def _solved(freezer: AbstractFreezer, call: AbstractCall, unit: str) -> CountedSolve:
    copy = freezer.copied(call)
    result, counts, _ = copy.run(None)
    cost = mean_count(counts.nfe if unit == "evaluations" else counts.num_steps)
    if cost is None:
        raise CapabilityError("The solver shows neither its evaluations nor its steps, so there is nothing to count.")
    num_accepted, num_rejected = mean_count(counts.num_accepted), mean_count(counts.num_rejected)
    return CountedSolve(cost, num_accepted, num_rejected, freezer.states(copy, result))


def mean_count(count: Count | None) -> float | None:
    """The mean over samples that take their own steps."""
    if count is None or isinstance(count, int) or not count.shape:
        return None if count is None else float(count)
    return statistics.fmean(array_namespace(count).reshape(count, (-1,)).tolist())


def mean_cost(solves: Iterable[CountedSolve]) -> float:
    return statistics.fmean(solved.cost for solved in solves)
