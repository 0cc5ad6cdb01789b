"""Frozen solves for the checks: one calibration for all of them, plans made from its plan, and steps by hand."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, final

import numpy as np

import lrnde_core
from lrnde_conformance._driver import Task
from lrnde_conformance._experiments._experiment import Experiment
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._method import Method
from lrnde_conformance._oracles._schemes import SCHEMES, Scheme
from lrnde_conformance._problems import Formula, Problem, network

SCHEME_OF = {
    "euler": "euler",
    "midpoint": "midpoint",
    "heun": "heun",
    "bogacki-shampine": "bosh3",
    "rk4": "rk4-38",
    "dormand-prince": "dopri5",
}
"""The published scheme behind each method of the core's plans."""

TIMES = (0.0, 0.5, 1.0)
OTHER_TIMES = {"interval": (0.5, 1.5, 2.5), "outputs": (0.0, 0.25, 1.0)}
"""Times of which nothing was measured, exact in every dtype."""
LONGER_TIMES = (0.0, 0.5, 2.0)
"""Times over a longer interval than that of `TIMES`."""
BATCH = 100
BOUND = 0.05
"""Allowed error, dimensionless; of the candidates only the last stays within it."""

_CANDIDATES = (
    lrnde_core.Candidate("midpoint", 1),
    lrnde_core.Candidate("rk4", 1),
    lrnde_core.Candidate("dormand-prince", 2),
)
_TOLERANCE = {"float32": 1e-5, "float64": 1e-8}
_SEED = 29


@final
class CallArguments(NamedTuple):
    """The arguments that the driver gives a solver for a task."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def by_name(self) -> dict[int | str, Any]:
        """All of them, those by position under their number."""
        return {**dict(enumerate(self.args)), **self.kwargs}

    def but(self, changed: Mapping[int | str, Any]) -> "CallArguments":
        """With some of them changed."""
        args = tuple(changed.get(index, value) for index, value in enumerate(self.args))
        return CallArguments(args, {name: changed.get(name, value) for name, value in self.kwargs.items()})


@final
@dataclasses.dataclass(frozen=True, eq=False)
class Calibrated:
    """A frozen solve of the network with a guard.

    - `starts`: initial states of the calls, shape `(calls, batch, size)`.
    """

    experiment: Experiment
    starts: np.ndarray
    solve: Callable[..., Any]
    report: lrnde_core.FreezeReport

    def at(self, y0: np.ndarray) -> Experiment:
        """The solve from other initial states."""
        return self.experiment.but(problem=self.experiment.problem.moved(y0=y0))


def freezable_method(subject: Subject) -> Method | None:
    """The first adaptive method of ordinary equations that nothing drives."""
    return next((m for m in subject.driver.methods if m.is_adaptive and not m.is_driven), None)


def if_freezable(subject: Subject) -> tuple[str, ...]:
    """One case; none where the adapter has no ordinary equations."""
    return () if freezable_method(subject) is None else ("",)


def calibrated(subject: Subject) -> Calibrated:
    """Frozen once for each subject."""
    return subject.remember("calibrated", lambda: _calibrate(subject))


def starts(seed: int, num_calls: int) -> np.ndarray:
    """Initial states of calls, drawn alike."""
    return np.random.default_rng(seed).normal(size=(num_calls, BATCH, 2))


def experiment(subject: Subject) -> Experiment:
    """An adaptive solve of the network to a tight tolerance."""
    method, tolerance = freezable_method(subject), _TOLERANCE[subject.main_dtype]
    assert method is not None
    problem = subject.remember("frozen problem", network)
    return Experiment(method, problem, TIMES, tolerance, tolerance, 0.1, dtype=subject.main_dtype)


def captured(subject: Subject, task: Task) -> CallArguments:
    """What the driver calls the solver with."""
    found: list[CallArguments] = []
    subject.driver.call(lambda *args, **kwargs: found.append(CallArguments(args, kwargs)), task)
    return found[0]


def freeze(
    subject: Subject, tasks: Sequence[Task], **settings: Any
) -> tuple[Callable[..., Any], lrnde_core.FreezeReport]:
    """Freeze the native call of these tasks, with the settings of the first."""
    calls = [captured(subject, task).args for task in tasks]
    return lrnde_core.freeze(with_settings(subject, tasks[0]), calibration=calls, adapter=subject.name, **settings)


def apply(subject: Subject, task: Task, plan: lrnde_core.Plan, fallback: Callable[..., Any] | None = None) -> Any:
    """The frozen solve of a plan, as `lrnde_core.apply_plan` makes it for a task."""
    return lrnde_core.apply_plan(with_settings(subject, task), plan, fallback=fallback, adapter=subject.name)


def with_settings(subject: Subject, task: Task) -> Callable[..., Any]:
    """The native call with tolerances and the like bound, as a user freezes it."""
    return functools.partial(subject.driver.native(task), **captured(subject, task).kwargs)


def plan_of(subject: Subject, method: str, ends: tuple[float, ...]) -> lrnde_core.Plan:
    """The calibrated plan with another method and other steps, for any interval and without a guard."""
    steps = lrnde_core.FixedSteps(method, ends)
    return dataclasses.replace(calibrated(subject).report.plan, steps=steps, bounds=None, longest_interval=None)


def frozen_states(subject: Subject, solve: Callable[..., Any], task: Task) -> Any:
    """The states of a frozen solve without a guard."""
    return subject.driver.states(subject.driver.call(solve, task))


def by_hand(problem: Problem, method: str, ends: Sequence[float], times: Sequence[float] = TIMES) -> np.ndarray:
    """The states at `times` by steps of the published scheme, with the cubic through both ends inside of a step.

    - `ends`: of the steps, as fractions of the interval, which is from the first to the last of `times`.
    """
    scheme, t0, duration = SCHEMES[SCHEME_OF[method]], times[0], times[-1] - times[0]
    y, states = problem.y0, {0: problem.y0}
    for start, end in pairwise((0.0, *ends)):
        t, h = t0 + start * duration, (end - start) * duration
        y0, y = y, _step(problem, scheme, t, h, y)
        for index, time in enumerate(times):
            if start < (time - t0) / duration <= end:
                states[index] = _between(problem, t, t + h, y0, y, time)
    return np.stack([states[index] for index in range(len(times))])


def solution(problem: Problem) -> np.ndarray:
    """The solution at `TIMES` to about ten digits."""
    return by_hand(problem, "dormand-prince", uniform(200))


def native_result(subject: Subject, described: Experiment) -> Any:
    """The native result, by laws 1 and 2 that of the call without a penalty: the program that `freeze` runs too."""
    return subject.solve(described, extra={"penalize": False})[0]


def native_solution(subject: Subject, described: Experiment) -> np.ndarray:
    """The states of the native result."""
    return subject.backend.to_numpy(subject.driver.states(native_result(subject, described)))


def broken(formula: Formula) -> Formula:
    """Not a number from 0.6 to 0.9, which one step of Euler's method does not see."""

    def drift(xp: Any, t: Any, y: Any, p: Any) -> Any:
        return formula.drift(xp, t, y, p) * xp.where((t > 0.6) & (t < 0.9), math.nan, 1.0)

    return dataclasses.replace(formula, drift=drift)


def overwriting(formula: Formula) -> Formula:
    """Writes into the state that it is given, as fields do that set a boundary value."""

    def drift(xp: Any, t: Any, y: Any, p: Any) -> Any:
        y[..., 0] = 0.0
        return formula.drift(xp, t, y, p)

    return dataclasses.replace(formula, drift=drift)


def traces(subject: Subject, inputs: Sequence[Any], buffers: Callable[[], Any]) -> dict[str, Any]:
    """What a calibration with these inputs, of a field with these buffers, must leave as it is, by name."""
    return {
        "inputs of the calibration": np.stack([subject.backend.to_numpy(y0) for y0 in inputs]),
        "buffers of the field": buffers(),
        "global random states": subject.backend.global_state(),
    }


def uniform(num_steps: int) -> tuple[float, ...]:
    """The ends of steps of equal size."""
    return tuple((step + 1) / num_steps for step in range(num_steps))


def relative_errors(states: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Of each sample of a call: the norm of the difference over that of the reference, or over the median of these.

    Norms are over all times after the start.
    """
    difference, size = (np.sqrt((x[1:] ** 2).sum(axis=(0, 2))) for x in (states - reference, reference))
    return difference / np.maximum(size, np.median(size))


def _calibrate(subject: Subject) -> Calibrated:
    described, drawn = experiment(subject), starts(_SEED, 2)
    tasks = [subject.task(described, y0=y0) for y0 in drawn]
    solve, report = freeze(subject, tasks, error=BOUND, candidates=_CANDIDATES, guard=True)
    return Calibrated(described, drawn, solve, report)


def _field(problem: Problem, t: Any, y: Any) -> Any:
    return problem.formula.drift(np, t, y, problem.parameters)


def _step(problem: Problem, scheme: Scheme, t: float, h: float, y: Any) -> Any:
    return scheme.step(lambda t, y: _field(problem, t, y), t, h, y)


def _between(problem: Problem, t0: float, t1: float, y0: Any, y1: Any, time: float) -> Any:
    """Hairer, Norsett and Wanner, "Solving Ordinary Differential Equations I", equation II.6.7."""
    x, h = (time - t0) / (t1 - t0), t1 - t0
    bend = (1 - 2 * x) * (y1 - y0) + (x - 1) * h * _field(problem, t0, y0) + x * h * _field(problem, t1, y1)
    return (1 - x) * y0 + x * y1 + x * (x - 1) * bend
