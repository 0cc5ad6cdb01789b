"""A small task that is trained with and without the penalty: telling a disc from the ring around it.

A neural equation must push the disc through a plane where the ring is in the way, so that training drifts towards
dynamics that take many steps. Self-contained: data, network and optimiser are numpy's.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np

from lrnde_conformance._experiments._designs import trajectory
from lrnde_conformance._experiments._experiment import Experiment
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._experiments._trace import find_steps
from lrnde_conformance._method import Method
from lrnde_conformance._problems import Formula, Parameters, Problem
from lrnde_core import AbstractWeight, GradientNorms

_NUM_POINTS = 48
_HIDDEN = 8
_NUM_ITERATIONS = 150
_LEARNING_RATE = 0.03
_SEED = 0
_REFINEMENT = 16
_NUM_TESTS = 5
_LARGEST_TOLERANCE = 1e-3


@final
@dataclasses.dataclass(frozen=True)
class TrainedNetwork:
    """A trained network, judged on points that it was not trained on.

    - `evaluations`: of a solve, or its steps where evaluations are hidden. `steps`: accepted and rejected ones.
    - `accuracy`: the share of points on the right side. `error`: of the states at the end against a solve with steps
      that are 16 times smaller, in units of the state; fixed steps only, else 0.
    - `times`, `sizes`: of the accepted steps.
    """

    evaluations: int
    steps: int
    accuracy: float
    error: float
    times: tuple[float, ...]
    sizes: tuple[float, ...]


def train(subject: Subject, method: Method, weight: AbstractWeight) -> TrainedNetwork:
    """Train with this weight of the penalty; with a constant 0, the bare task."""
    formula = NOISY if method.is_stochastic else PLAIN
    parameters = _initial(method)
    problem = _problem(formula, parameters, _SEED)
    # That of some ten steps, whatever the order.
    tolerance = min(trajectory(subject, method).rtol, _LARGEST_TOLERANCE)
    experiment = Experiment(method, problem, (0.0, 0.5, 1.0), tolerance, tolerance, 0.125, subject.training_cost)
    trained = _optimised(subject, experiment, _targets(), weight)
    test = experiment.but(cost=subject.main_cost, draws=(0.5,))
    tests = [test.but(problem=_problem(formula, trained, _SEED + 1 + number)) for number in range(_NUM_TESTS)]
    ends = np.concatenate([subject.measure(each, with_gradient=False).states[-1][:, :1] for each in tests])
    test = tests[0]
    measured = subject.measure(test, with_gradient=False)
    assert measured.num_steps is not None
    steps = find_steps(subject, test)
    error = 0.0
    if not method.is_adaptive:
        fine = test.but(first_step=test.first_step / _REFINEMENT)
        error = float(np.max(np.abs(measured.states[-1] - subject.measure(fine, with_gradient=False).states[-1])))
    return TrainedNetwork(
        evaluations=measured.num_steps if measured.nfe is None else measured.nfe,
        steps=measured.num_steps,
        accuracy=float(np.mean((ends > 0) == (np.tile(_targets(), (_NUM_TESTS, 1)) > 0))),
        error=error,
        times=tuple(step.t for step in steps),
        sizes=tuple(step.h for step in steps),
    )


def _drift(xp: Any, t: Any, y: Any, p: Parameters) -> Any:
    return xp.tanh(y @ p["inner"] + p["bias"] + t * p["shift"]) @ p["outer"]


def _diffusion(xp: Any, t: Any, y: Any, p: Parameters) -> Any:
    del xp, t
    return p["level"] + 0 * y


PLAIN = Formula("disc and ring", _drift)
NOISY = Formula("noisy disc and ring", _drift, _diffusion)


def _initial(method: Method) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(_SEED)
    parameters = {
        "inner": rng.normal(size=(2, _HIDDEN)),
        "bias": rng.normal(size=_HIDDEN),
        "shift": 0.5 * rng.normal(size=_HIDDEN),
        "outer": 0.3 * rng.normal(size=(_HIDDEN, 2)),
    }
    return {**parameters, "level": np.array([0.3, 0.3])} if method.is_stochastic else parameters


def _problem(formula: Formula, parameters: Mapping[str, np.ndarray], seed: int) -> Problem:
    rng = np.random.default_rng(100 + seed)
    angle = rng.uniform(0.0, 2 * np.pi, _NUM_POINTS)
    inner, outer = rng.uniform(0.0, 0.7, _NUM_POINTS), rng.uniform(1.1, 1.6, _NUM_POINTS)
    radius = np.where(_targets()[:, 0] < 0, inner, outer)
    y0 = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    if formula.diffusion is None:
        return Problem(formula, parameters, y0)
    amplitude, frequency = 0.05 * rng.uniform(0.5, 1.5, y0.shape), rng.uniform(5.0, 20.0, y0.shape)
    return Problem(formula, parameters, y0, amplitude, frequency)


def _targets() -> np.ndarray:
    """-1 in the disc, 1 in the ring; shape `(points, 1)`."""
    return np.where(np.arange(_NUM_POINTS) % 2 == 0, -1.0, 1.0)[:, None]


def _optimised(
    subject: Subject, experiment: Experiment, targets: np.ndarray, weight: AbstractWeight
) -> dict[str, np.ndarray]:
    """Parameters after training by Adam (Kingma and Ba 2015)."""
    problem, driver = experiment.problem, subject.driver

    def loss(variables: Mapping[str, Any], constants: Mapping[str, Any]) -> tuple[Any, Any]:
        given = {name: value for name, value in constants.items() if name not in ("targets", "weight")}
        result, report = subject.solve(experiment, parameters=variables, **given)
        away = driver.states(result)[-1][:, :1] - constants["targets"]
        return (away * away).sum() / _NUM_POINTS + constants["weight"] * report.penalty, 0

    def gradient_at(factor: float, variables: Mapping[str, Any], given: Mapping[str, Any]) -> Mapping[str, np.ndarray]:
        key = ("training", experiment.key(subject.static))
        constants = {**given, "weight": factor}
        return subject.backend.differentiate(key, loss, variables, constants, experiment.dtype).gradient

    values = dict(problem.parameters)
    noise = values.pop("level", None)
    means, squares = ({name: np.zeros(value.shape) for name, value in values.items()} for _ in range(2))
    uniforms = np.random.default_rng(_SEED).uniform(size=_NUM_ITERATIONS)
    constants: dict[str, Any] = {
        "y0": problem.y0,
        **({} if "ts" in subject.static else {"ts": np.array(experiment.ts)}),
        "targets": targets,
    }
    if noise is not None:
        constants |= {"amplitude": problem.amplitude, "frequency": problem.frequency}
    state = weight.init(like=0.0)
    for iteration, uniform in enumerate(uniforms, start=1):
        variables = values if noise is None else {**values, "level": noise}
        given = {**constants, "draws": np.array([uniform])}

        gradient, norms = gradient_at(float(weight.value(state)), variables, given), None
        if weight.measures(state):
            by_loss, by_both = (gradient_at(factor, variables, given) for factor in (0.0, 1.0))
            norms = GradientNorms(
                _norm([by_loss[name] for name in values]), _norm([by_both[name] - by_loss[name] for name in values])
            )
        state = weight.update(state, [], norms)
        for name, value in values.items():
            means[name] = 0.9 * means[name] + 0.1 * gradient[name]
            squares[name] = 0.99 * squares[name] + 0.01 * gradient[name] ** 2
            mean, square = means[name] / (1 - 0.9**iteration), squares[name] / (1 - 0.99**iteration)
            values[name] = value - _LEARNING_RATE * mean / (np.sqrt(square) + 1e-8)
    return values if noise is None else {**values, "level": noise}


def _norm(arrays: Sequence[np.ndarray]) -> float:
    return float(np.sqrt(sum(np.sum(array**2) for array in arrays)))
