"""Law 16, continued: a check bounds the error of the gradient too, where that is asked."""

from typing import Any

import numpy as np

from lrnde_conformance._checks._check import check
from lrnde_conformance._checks._checking import CANDIDATES, GOOD, LADDER, TOLERANCES, if_held
from lrnde_conformance._checks._compare import assert_equal
from lrnde_conformance._experiments._calibrated import by_hand, experiment, uniform
from lrnde_conformance._experiments._experiment import Experiment
from lrnde_conformance._experiments._planned import CheckedTraining
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._failure import CheckSkipped, ConformanceFailure
from lrnde_conformance._oracles._oracle import complex_step_gradient
from lrnde_conformance._problems import Problem
from lrnde_core import Capability, CapabilityError, CheckedSteps

_TIMES = (0.0, 1.0)
# Of the parameters of the network: one step of the 3/8 rule has the gradient of the solution to a few per cent, one of
# the midpoint rule has not.
_EASE = 0.6


def _one_output(subject: Subject) -> Experiment:
    """A solve with a single output: a number, so that no relative error depends on its cotangent."""
    described = experiment(subject)
    problem, last = described.problem, slice(-1, None)
    moved = problem.moved(
        inner=_EASE * problem.parameters["inner"][last],
        outer=_EASE * problem.parameters["outer"][:, last],
        bias=problem.parameters["bias"][last],
        y0=problem.y0[:1, last],
    )
    return described.but(problem=moved, ts=_TIMES)


def _gradient(problem: Problem, method: str, ends: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The derivatives of the output by the initial state, and by all parameters."""

    def output(moved: dict[str, np.ndarray]) -> Any:
        return by_hand(problem.moved(**moved), method, ends, _TIMES)[-1, 0, 0]

    found = complex_step_gradient(output, {**problem.parameters, "y0": problem.y0})
    by_state = found.pop("y0").ravel()
    return by_state, np.concatenate([each.ravel() for each in found.values()])


def _errors(problem: Problem) -> list[tuple[float, float]]:
    """The errors of both by each plan of the ladder."""
    exact = _gradient(problem, "dormand-prince", uniform(50))
    found = [_gradient(problem, plan.method, plan.ends) for plan in LADDER]
    return [(_relative(by_state, exact[0]), _relative(by_parameters, exact[1])) for by_state, by_parameters in found]


def _relative(found: np.ndarray, exact: np.ndarray) -> float:
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


@check(
    "checked-steps.gradient-error",
    law=16,
    tier="optional",
    needs=(Capability.CHECKED_STEPS,),
    cases=if_held,
    hint="pull the same random cotangent back through the states of each solve, in `with_gradient`",
)
def checked_steps_gradient_error(subject: Subject, _: str) -> None:
    """A check measures the error of the gradient where that is bounded, and takes no steps beyond the bound."""
    described = _one_output(subject)
    problem, errors = described.problem, _errors(described.problem)
    cheap, good = errors[GOOD - 1], errors[GOOD]
    bound = float(np.sqrt(min(cheap) * max(good)))
    # The outputs rule out nothing.
    steps = CheckedSteps(error=1.0, gradient_error=bound, candidates=CANDIDATES)
    training = CheckedTraining(subject, described.but(steps=steps))
    try:
        plan = training.iterate(
            described, parameters=subject.backend.variables(problem.parameters, described.dtype)
        ).plan
    except CapabilityError as refusal:
        msg = f"the adapter refuses a bound on the gradient: {refusal}"
        raise CheckSkipped(msg) from refusal
    cause, hint = "another gradient is compared", "differentiate both solves by hand"
    assert_equal("The plan within the bound on the gradient", plan.steps, LADDER[GOOD], cause=cause, hint=hint)
    by_state, by_parameters = good
    # An adapter may not know the parameters.
    allowed = (by_state, max(by_state, by_parameters))
    atol = TOLERANCES * described.rtol
    if plan.gradient_error is None or min(abs(plan.gradient_error - each) for each in allowed) > atol:
        raise ConformanceFailure(
            "The error of the gradient that a check measures is another.",
            got=str(plan.gradient_error),
            expected=f"{allowed[1]:.6g}, or {allowed[0]:.6g} where parameters are unknown",
            tolerance=f"{atol:.1e}, from the tolerances of the adaptive solve",
            cause=cause,
            hint=hint,
        )
