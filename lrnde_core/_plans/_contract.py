"""The part of an adapter that solves its library's calls in the fixed steps of a plan. Optional."""

import abc
import contextlib
import functools
import statistics
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple

from lrnde_core._arrays import Leaves
from lrnde_core._call import AbstractCall
from lrnde_core._plans._plan import Plan, SDEPlan
from lrnde_core._plans._steps import GuardSignals
from lrnde_core._plans._times import Span
from lrnde_core._random_states import random_states_kept


class NativeSolve(NamedTuple):
    """The user's own solve of one call.

    - `result`: as the library returns it. `num_evaluations`: `None` where those are hidden.
    - `failure`: what went wrong where the library returned a result all the same, in a few words; else `None`.
    """

    result: Any
    num_evaluations: int | None
    failure: str | None = None


def mean_evaluations(solves: Sequence[NativeSolve]) -> float | None:
    """Evaluations of a native solve on average; `None` where one hides them."""
    counts = [native.num_evaluations for native in solves]
    known = [count for count in counts if count is not None]
    return statistics.fmean(known) if len(known) == len(counts) else None


class FrozenRun(NamedTuple):
    """A call solved by a plan: the result in the library's own form, and the signals for a guard."""

    result: Any
    signals: GuardSignals


class AbstractCalibrator(abc.ABC):
    """How the calls of a calibration are run without a trace, which may be often. Stateless, as the adapter."""

    @abc.abstractmethod
    def isolated(self, calls: Sequence[AbstractCall]) -> contextlib.AbstractContextManager[None]:
        """Within the block fields may change what is theirs and draw random numbers; afterwards all is as before.

        Calls are made without gradient there. All those of a calibration share one block, so that a field which keeps a
        state is seen to, and two solves do not draw the same noise. Python's and numpy's global random states are seen
        to by the core.
        """

    @abc.abstractmethod
    def copied(self, call: AbstractCall) -> AbstractCall:
        """The call with a copy of its initial state: a field may write into the one that it is given."""


@contextlib.contextmanager
def without_a_trace(calibrator: AbstractCalibrator, calls: Sequence[AbstractCall]) -> Generator[None]:
    """Within the block the calls may be run; afterwards nothing of the user's has changed."""
    with random_states_kept(), calibrator.isolated(calls):
        yield


class AbstractFreezer(AbstractCalibrator):
    """How calls of one library are solved by a plan.

    All but `read` and `frozen` are called within `isolated`, with calls that `copied` returned.
    """

    @abc.abstractmethod
    def read(self, call: AbstractCall, *, is_batched: bool) -> Span:
        """The span of a call. Raises `CapabilityError` for what no plan can stand for: events, noise."""

    @abc.abstractmethod
    def solve(self, call: AbstractCall) -> NativeSolve:
        """The native solve. Raises `CapabilityError` where the field draws random numbers."""

    @abc.abstractmethod
    def step_ends(self, call: AbstractCall) -> tuple[float, ...]:
        """Where the steps of the native solve end, as fractions of the interval; empty where that is hidden."""

    @abc.abstractmethod
    def run(self, call: AbstractCall, plan: Plan) -> FrozenRun:
        """The solve by the plan, with its signals whether the plan has a guard or not."""

    @abc.abstractmethod
    def states(self, call: AbstractCall, result: Any) -> Leaves:
        """The outputs after `t0` of a native result: each array of the state with the times as a further first axis."""

    @abc.abstractmethod
    def runners(self, call: AbstractCall, plan: Plan) -> tuple[Callable[[], None], Callable[[], None]]:
        """The native solve and the one by the plan as they would run at prediction, for timing; done at return."""

    @abc.abstractmethod
    def frozen(
        self, solve: functools.partial[Any], plan: Plan, fallback: Callable[..., Any] | None
    ) -> Callable[..., Any]:
        """The frozen solve in the form of the native call.

        - `solve`: the native function with what the user has bound to it, which may be nothing.

        With a guard it returns the native result and which samples are flagged; with a `fallback` it solves those by
        this native call.
        """


class AbstractSDEFreezer(AbstractCalibrator):
    """How stochastic calls of one library are solved in fixed steps of their own method.

    `solve` and `runner` are called as those of `AbstractFreezer`.
    """

    @abc.abstractmethod
    def read(self, call: AbstractCall) -> tuple[float, float]:
        """Where a call starts and ends. Raises `CapabilityError` for what no plan can stand for."""

    @abc.abstractmethod
    def solve(self, call: AbstractCall) -> NativeSolve:
        """The native solve."""

    @abc.abstractmethod
    def with_plan(self, call: AbstractCall, plan: SDEPlan) -> AbstractCall:
        """The same call in the steps of the plan."""

    @abc.abstractmethod
    def runner(self, call: AbstractCall) -> Callable[[], None]:
        """The solve of a call as it would run at prediction, for timing; done at return."""

    @abc.abstractmethod
    def frozen(self, solve: functools.partial[Any], plan: SDEPlan) -> Callable[..., Any]:
        """The native call in the steps of the plan, in its own form. Refuses another interval where it can be told.

        - `solve`: as of `AbstractFreezer.frozen`.
        """


_NUM_TIMINGS = 5


def median_seconds(run: Callable[[], None]) -> float:
    """The median of a few runs, after one that warms up."""
    run()
    seconds: list[float] = []
    for _ in range(_NUM_TIMINGS):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)
