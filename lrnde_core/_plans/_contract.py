"""The optional part of an adapter that solves its library's calls with the fixed steps of a plan."""

import abc
import contextlib
import functools
import statistics
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import NamedTuple

from lrnde_core._arrays import Leaves
from lrnde_core._call import AbstractCall
from lrnde_core._claims import NativeFunction, NativeResult
from lrnde_core._errors import CapabilityError, PluginError
from lrnde_core._plans._call_form import CallForm
from lrnde_core._plans._check import Solved
from lrnde_core._plans._checked_plan import AbstractPlanHolder, CheckedPlan
from lrnde_core._plans._plan import FixedSteps, Plan, SDEPlan
from lrnde_core._plans._steps import GuardSignals
from lrnde_core._random_states import random_states_kept
from lrnde_core._report import uncollected


class NativeSolve(NamedTuple):
    """The user's own solve of one call.

    - `result`: as the library returns it. `num_evaluations`: `None` if they are hidden.
    - `failure`: what went wrong, in a few words, if the library returned a result all the same; else `None`.
    """

    result: NativeResult
    num_evaluations: int | None
    failure: str | None = None


def mean_known(counts: Iterable[float | None]) -> float | None:
    """The mean of counts; `None` if one is hidden."""
    found = list(counts)
    known = [count for count in found if count is not None]
    return statistics.fmean(known) if len(known) == len(found) else None


class FrozenRun(NamedTuple):
    """A call solved by a plan: the result in the library's own form, and the signals for a guard."""

    result: NativeResult
    signals: GuardSignals


class AbstractCalibrator(abc.ABC):
    """Runs calibration calls, possibly many times, without leaving a trace. Stateless, like the adapter."""

    @abc.abstractmethod
    def isolated(self, calls: Sequence[AbstractCall]) -> contextlib.AbstractContextManager[None]:
        """Within the block fields may change their state and draw random numbers; afterwards everything is restored.

        Calls inside it run without gradient. All calls of a calibration share one block, so that a field that keeps a
        state is detected, and two solves do not draw the same noise. The core restores Python's and numpy's global
        random states.
        """

    @abc.abstractmethod
    def copied(self, call: AbstractCall) -> AbstractCall:
        """The call with a copy of its initial state, because a field may write into its state."""


@contextlib.contextmanager
def without_a_trace(calibrator: AbstractCalibrator, calls: Sequence[AbstractCall]) -> Generator[None]:
    """Run calls within the block; afterwards nothing of the user's has changed."""
    with random_states_kept(), uncollected(), calibrator.isolated(calls):
        yield


class AbstractFreezer(AbstractCalibrator):
    """Solves the calls of one library by a plan.

    `solve`, `step_ends`, `run`, `runners` and `with_gradient` are called within `isolated`, with calls that `copied`
    returned, and `states` within it; `read`, `frozen` and `plan_holder` are not, and `by_steps` says when it is.
    """

    @abc.abstractmethod
    def read(self, call: AbstractCall, *, is_batched: bool) -> CallForm:
        """The form of a call. Raises `CapabilityError` for what no plan can replace: events, noise."""

    @abc.abstractmethod
    def solve(self, call: AbstractCall, *, may_draw: bool = False) -> NativeSolve:
        """The native solve.

        - `may_draw`: whether the field may draw random numbers, as dropout does in training.

        Raises `CapabilityError` if it draws them, and may not.
        """

    @abc.abstractmethod
    def step_ends(self, call: AbstractCall) -> tuple[float, ...]:
        """The ends of the native solve's steps, as fractions of the interval; empty if they are hidden."""

    @abc.abstractmethod
    def run(self, call: AbstractCall, plan: Plan) -> FrozenRun:
        """The solve by the plan, with its signals even if the plan has no guard."""

    def by_steps(self, call: AbstractCall, steps: FixedSteps, *, is_batched: bool) -> AbstractCall:
        """The same call solved by fixed steps, through which its result differentiates: an `AbstractSteppedCall`.

        The call itself if it takes no step, as one that asks for its start alone.

        Required for `Capability.CHECKED_STEPS`. Called for training, outside of `isolated`; and for a check within it,
        with a call that `copied` returned.

        - `is_batched`: whether the first axis of every array of the state counts samples.

        Raises `CapabilityError` for what no fixed steps can replace: events.
        """
        del call, steps, is_batched
        raise PluginError(
            f"`{type(self).__name__}` has no `by_steps`, and its adapter does not declare `Capability.CHECKED_STEPS` "
            "unsupported. This is a fault of the adapter: it needs one or the other."
        )

    def with_gradient(self, call: AbstractCall, solve: Callable[[AbstractCall], Solved]) -> Solved:
        """The solve of a call with its `gradient`, for the `gradient_error` of `CheckedSteps`.

        The cotangent of `states` is standard normal, the same in all solves, and drawn without a trace. No gradient is
        accumulated.

        - `solve`: solves a call, and returns outputs through which it differentiates.

        Optional; called where a `plan_holder` is. Returns a failed solve as it is.
        """
        del call, solve
        raise CapabilityError(
            "This adapter has no gradient of a solve at a check, so that its error cannot be bounded; leave "
            "`gradient_error` out."
        )

    def plan_holder(self, plan: CheckedPlan) -> AbstractPlanHolder | None:
        """What keeps the plan of `CheckedSteps` between the calls of a training; `None` if the caller keeps it.

        - `plan`: that before the first call.
        """
        del plan
        return None

    @abc.abstractmethod
    def states(self, call: AbstractCall, result: NativeResult) -> Leaves:
        """The outputs after `t0` of a native result: each array of the state, with time as an additional first axis."""

    @abc.abstractmethod
    def runners(self, call: AbstractCall, plan: Plan) -> tuple[Callable[[], None], Callable[[], None]]:
        """The native solve and the one by the plan as they run at prediction, for timing; finished when they return."""

    @abc.abstractmethod
    def frozen(
        self, solve: functools.partial[NativeResult], plan: Plan, fallback: NativeFunction | None
    ) -> NativeFunction:
        """The frozen solve in the form of the native call.

        - `solve`: the native function with the arguments that the user has bound to it, if any.

        With a guard it returns the native result and which samples are flagged; with a `fallback` it solves those by
        this native call.
        """


class AbstractSDEFreezer(AbstractCalibrator):
    """Solves the stochastic calls of one library with fixed steps of the method they use.

    `solve`, `with_plan` and `runner` are called within `isolated`, with calls that `copied` returned, and `path_counts`
    within it; `read` and `frozen` are not.
    """

    @abc.abstractmethod
    def read(self, call: AbstractCall) -> float:
        """The length of the call's interval.

        Raises `CapabilityError` for what no plan can replace, `InputError` for an interval without length.
        """

    @abc.abstractmethod
    def path_counts(self, call: AbstractCall) -> frozenset[int]:
        """How many paths the call may be said to solve, each with a row of the user's statistic.

        One number where the library says what an axis of paths is.
        """

    @abc.abstractmethod
    def solve(self, call: AbstractCall) -> NativeSolve:
        """The native solve."""

    @abc.abstractmethod
    def with_plan(self, call: AbstractCall, plan: SDEPlan) -> AbstractCall:
        """The same call with the steps of the plan."""

    @abc.abstractmethod
    def runner(self, call: AbstractCall) -> Callable[[], None]:
        """The solve of a call as it runs at prediction, for timing; finished when it returns."""

    @abc.abstractmethod
    def frozen(self, solve: functools.partial[NativeResult], plan: SDEPlan) -> NativeFunction:
        """The native call with the steps of the plan, in its own form.

        - `solve`: as in `AbstractFreezer.frozen`.
        """


_NUM_TIMINGS = 5


def median_seconds(run: Callable[[], None]) -> float:
    """The median time of a few runs, after a warm-up run."""
    run()
    seconds: list[float] = []
    for _ in range(_NUM_TIMINGS):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)
