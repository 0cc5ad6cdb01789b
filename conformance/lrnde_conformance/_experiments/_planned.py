"""Solves by the fixed steps of a plan for the checks, and what these steps come to by hand."""

import dataclasses
from fractions import Fraction
from itertools import pairwise
from typing import Any, NamedTuple, final

import numpy as np

import lrnde_core
from lrnde_conformance._experiments._calibrated import by_hand, freezable_method
from lrnde_conformance._experiments._designs import main_problem
from lrnde_conformance._experiments._experiment import Experiment
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._oracles._oracle import Oracle, StepPoint
from lrnde_conformance._oracles._schemes import Scheme
from lrnde_conformance._oracles._tolerances import EPSILON, SHARE, rounded_problem
from lrnde_conformance._problems import Problem, network
from lrnde_core import Capability, FixedSteps, Report

TIMES = (0.0, 0.2, 0.9, 1.3)
"""The outputs between the ends lie inside of steps."""

_BACKWARD = (1.1, 0.8, 0.1, -0.3)
_LATER = (0.4, 0.6, 0.9, 1.2)
_TOLERANCE = 1e-3
# The power of h with which the estimate of each method falls: its own order, where the pair is of orders q and q - 1.
_ESTIMATED = {"euler": 2, "midpoint": 2, "heun": 2, "bogacki-shampine": 3, "rk4": 3, "dormand-prince": 5}
# Roundings of a time that is put together of the ends of the interval and a fraction.
_ROUNDINGS = 8.0


def uneven(method: str) -> FixedSteps:
    """Two steps of different sizes."""
    return FixedSteps(method, (0.4, 1.0))


def planned(subject: Subject, plan: FixedSteps | None, cost: str = "taylor-at-step") -> Experiment:
    """A solve by a plan, adaptive for `None`, with outputs inside of its steps."""
    method = freezable_method(subject)
    assert method is not None
    # An error has one norm for each member that takes its own steps, and so for no more than one can be computed.
    is_of_batch = cost in ("error", "predicted")
    problem = main_problem(subject, method) if is_of_batch else subject.remember("planned samples", network)
    return Experiment(
        method,
        problem,
        TIMES,
        _TOLERANCE,
        _TOLERANCE,
        first_step=0.1,
        cost=cost,
        dtype=subject.main_dtype,
        steps=lrnde_core.CheckedSteps(),
        plan=plan,
    )


def elsewhere(subject: Subject) -> tuple[float, ...]:
    """The output times of a solve over another interval, backward where the adapter solves backward."""
    return _BACKWARD if subject.supports(Capability.REVERSE_TIME) else _LATER


@final
@dataclasses.dataclass(frozen=True)
class PlannedSteps:
    """The steps of a planned experiment.

    - `reference`: takes them. `ends`: their starts and ends, as fractions of the interval.
    """

    experiment: Experiment
    plan: FixedSteps
    reference: Oracle

    @classmethod
    def of(cls, experiment: Experiment) -> "PlannedSteps":
        """The steps of an experiment that has a plan."""
        plan, method = experiment.plan, experiment.method
        assert plan is not None
        scheme = _scheme(plan)
        rtol, atol = experiment.rtol, experiment.atol
        return cls(experiment, plan, Oracle(experiment.problem, scheme, None, None, rtol, atol, method.norm))

    @property
    def duration(self) -> float:
        """The signed length of the solve."""
        return self.experiment.ts[-1] - self.experiment.ts[0]

    def covering(self, draw: float) -> tuple[int, float]:
        """The step that covers a drawn time, and where in it that lies."""
        for index, (start, end) in enumerate(pairwise((0.0, *self.plan.ends))):
            if draw < end:
                return index, (draw - start) / (end - start)
        raise AssertionError(draw)

    def point(self, index: int, fraction: float, problem: Problem | None = None) -> StepPoint:
        """Where a step is penalised: the step itself from its start, or for a point heuristic the point inside of it.

        - `problem`: another one than the experiment's, if any; the slack is then 0.
        """
        start, end = (0.0, *self.plan.ends)[index : index + 2]
        if self.experiment.cost in ("error", "predicted"):
            fraction = 0.0
        t = self.experiment.ts[0] + (start + fraction * (end - start)) * self.duration
        h = (end - start) * self.duration
        if problem is not None:
            return StepPoint(t, h, self._state(problem, t))
        dtype = self.experiment.dtype
        y = self._state(self.experiment.problem, t)
        rounded = self._state(rounded_problem(self.experiment.problem, dtype=dtype), t)
        moved = _ROUNDINGS * EPSILON[dtype] * max(map(abs, self.experiment.ts))
        slack = SHARE * rounded.bound + moved * self.reference.speed(StepPoint(t, h, y))
        return StepPoint(t, h, y, slack=slack)

    def step_error(self, problem: Problem) -> Any:
        """The largest over samples of the sum of the steps' own estimates over the norm of the final state."""
        total, scheme = 0.0, self.reference.scheme
        assert isinstance(scheme, Scheme)
        y, t0 = problem.y0, self.experiment.ts[0]
        for start, end in pairwise((0.0, *self.plan.ends)):
            t, h = t0 + start * self.duration, (end - start) * self.duration
            increments, _ = scheme.increments(_field(problem), t, h, y)
            y, error = scheme.solution_of(y, increments), scheme.error_of(increments)
            total = total + _norms(error)
        ratios = total / _norms(y)
        largest = ratios[0]
        for place in range(1, problem.y0.shape[0]):
            largest = np.maximum(largest, ratios[place])
        return largest

    def states(self, problem: Problem) -> Any:
        """The solution at the output times."""
        return by_hand(problem, self.plan.method, self.plan.ends, self.experiment.ts)

    def _state(self, problem: Problem, t: float) -> Any:
        t0, t1 = self.experiment.ts[0], self.experiment.ts[-1]
        return problem.y0 if t == t0 else by_hand(problem, self.plan.method, self.plan.ends, (t0, t, t1))[1]


def point_cost(cost: str) -> str:
    """The oracle's name for a cost on a plan, where a point heuristic is evaluated at the point that it is given."""
    return "taylor-at-step" if cost == "taylor" else cost


def _scheme(plan: FixedSteps) -> Scheme:
    tableau = plan.tableau
    assert tableau.error is not None  # every plan that a training takes has one
    rows = tuple(tuple(map(Fraction, row)) for row in tableau.a)
    solution, error = tuple(map(Fraction, tableau.b)), tuple(map(Fraction, tableau.error))
    return Scheme(plan.method, rows, solution, error, _ESTIMATED[plan.method], "the plan itself")


def _field(problem: Problem) -> Any:
    return lambda t, y: problem.formula.drift(np, t, y, problem.parameters)


def _norms(y: Any) -> Any:
    return np.sqrt(np.sum(y**2, axis=1))


class Iteration(NamedTuple):
    """One iteration of a training: the plan after it, the states at the output times, and the report."""

    plan: lrnde_core.CheckedPlan
    states: np.ndarray
    report: Report


@final
class CheckedTraining:
    """A training on checked steps, without penalty: calls one after the other, whoever keeps the plan.

    - `plan`: now. `has_holder`: whether the adapter keeps it.
    """

    def __init__(self, subject: Subject, experiment: Experiment) -> None:
        assert experiment.steps is not None
        self._subject = subject
        self._steps = experiment.steps
        native = subject.driver.native(subject.task(experiment))
        self._solve = subject.regularized(native, **experiment.regularization)
        self._plan = self._steps.init()
        self._report: Report | None = None

    @property
    def has_holder(self) -> bool:
        return self._solve.plan_holder is not None

    @property
    def plan(self) -> lrnde_core.CheckedPlan:
        return self._solve.plan_holder.plan if self.has_holder else self._plan

    def iterate(self, experiment: Experiment, **given: Any) -> Iteration:
        """The next iteration, in which this experiment is solved."""
        if self.has_holder:
            result, report = self.call(experiment, **given)
            return Iteration(self.plan, self._to_numpy(self._subject.driver.states(result)), report)
        self._plan = self._steps.check(self._plan, lambda plan: self._outputs(experiment, plan, given), self._report)
        states, self._report = self._by(experiment, self._plan.steps, given)
        return Iteration(self._plan, states, self._report)

    def call(self, experiment: Experiment, **given: Any) -> tuple[Any, Report]:
        """The native result and the report of the next iteration, where the adapter keeps the plan."""
        task = self._subject.task(experiment, **given)
        return self._subject.driver.call(self._solve, task, penalize=False)

    def _outputs(self, experiment: Experiment, plan: FixedSteps | None, given: Any) -> tuple[np.ndarray, Report]:
        """As a user gives them to a check: samples first, without the start."""
        states, report = self._by(experiment, plan, given)
        return np.swapaxes(states[1:], 0, 1), report

    def _by(self, experiment: Experiment, plan: FixedSteps | None, given: Any) -> tuple[np.ndarray, Report]:
        subject, described = self._subject, experiment.but(plan=plan)
        extra, formula = {"penalize": False, "plan": plan}, given.get("formula")

        def solve(variables: Any, constants: Any) -> Any:
            parameters = {name: value for name, value in variables.items() if name != "y0"}
            task = subject.task(described, **{**given, **constants, "parameters": parameters, "y0": variables["y0"]})
            result, report = subject.driver.call(self._solve, task, **extra)
            return subject.driver.states(result), report

        problem, constants = experiment.problem, experiment.constants(subject.static)
        key = ("checked", formula, described.key(subject.static))
        variables = {**problem.parameters, "y0": problem.y0}
        states, report = subject.backend.evaluate(key, solve, variables, constants, experiment.dtype)
        return self._to_numpy(states), report

    def _to_numpy(self, states: Any) -> np.ndarray:
        return self._subject.backend.to_numpy(states)


def has_holder(subject: Subject) -> bool:
    """Whether the adapter keeps the plan of a training itself."""
    return subject.remember("has a plan holder", lambda: CheckedTraining(subject, planned(subject, None)).has_holder)
