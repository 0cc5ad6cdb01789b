"""Law 6: agreement with every other backend, by stored float64 values that all of them are held to."""

import dataclasses
import importlib.resources
import json
from typing import Any

import numpy as np

from lrnde_conformance._checks._cases import costs, has_oracle, of_cost_case
from lrnde_conformance._checks._check import check
from lrnde_conformance._checks._compare import assert_rounded
from lrnde_conformance._experiments._designs import single_step_times, widened
from lrnde_conformance._experiments._experiment import Experiment
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._experiments._trace import find_steps
from lrnde_conformance._failure import CheckSkipped
from lrnde_conformance._method import Method
from lrnde_conformance._oracles._oracle import StepPoint, oracle
from lrnde_conformance._oracles._tolerances import cost_gradient_tolerance, cost_tolerance
from lrnde_conformance._problems import ADDITIVE, DIAGONAL, NETWORK, SIZE, Problem
from lrnde_core import Capability

_FORMULAS = {None: NETWORK, "diagonal": DIAGONAL, "additive": ADDITIVE}


def _cases(subject: Subject) -> list[str]:
    cases: list[str] = []
    for method in subject.methods:
        stored = vectors(method) if has_oracle(subject, method) else None
        if stored is not None:
            cases += [
                f"{method.name}-{cost}" for cost in costs(subject, method) if cost in stored["batches"]["1"]["costs"]
            ]
    return cases or [""]


@check(
    "agreement.vectors",
    law=6,
    needs=[Capability.UNIFORM_TIME, Capability.LOCAL_GRADIENT, Capability.FLOAT64],
    cases=_cases,
    hint="the values stand in lrnde_conformance/vectors, computed with 120 digits by conformance/make_vectors.py",
)
def agreement_vectors(subject: Subject, case: str) -> None:
    """Penalty and gradient for a stored (t, h, y), parameters and path are the values that every backend gives.

    Where the solver takes no first step, or has another norm, the suite computes the values with numpy.
    """
    if not case:
        msg = "the driver names no scheme that vectors are stored for"
        raise CheckSkipped(msg)
    method, cost = of_cost_case(subject, case)
    stored = vectors(method)
    assert stored is not None
    values = stored["batches"][str(subject.batch)]
    problem = subject.remember(("vectors", method.scheme), lambda: _problem(method, values))
    expected = values["costs"][cost]
    t, h = stored["t"], stored["h"]
    tolerance = values["tolerance"]
    if not subject.takes_first_step(method):
        tolerance = widened(tolerance)
    experiment = Experiment(
        method, problem, single_step_times(subject, t, h), tolerance, tolerance, h, cost, draws=(stored["draw"],)
    )
    # The rounding of the values themselves is one in a few hundred.
    reference, point = oracle(problem, method, tolerance, tolerance), StepPoint(t, h, problem.y0, stored["draw"])
    assert reference is not None
    penalty, gradient = expected["penalty"], {name: np.array(value) for name, value in expected["gradient"].items()}
    weight = 1.0
    if not subject.takes_first_step(method):
        size = find_steps(subject, experiment)[0].h
        experiment = experiment.but(draws=(stored["draw"] * size / h,))
        point, weight = dataclasses.replace(point, h=size), h / size
    if not subject.takes_first_step(method) or method.norm != "rms":
        penalty = weight * float(reference.cost(cost, point))
        gradient = {name: weight * value for name, value in reference.gradient(cost, point).items()}
    measured = subject.measure(experiment)
    cause = "see law 3 where the penalty is off, and law 4 where the gradient is"
    hint = "check `penalty.oracle` and `gradient.finite-differences` of the same method first"
    what = f"The penalty ({cost}) with `{method.name}`"
    limit = weight * cost_tolerance(reference, cost, point)
    assert_rounded(what, measured.penalty, penalty, limit, cause=cause, hint=hint)
    limit = weight * cost_gradient_tolerance(reference, cost, point)
    for name, value in gradient.items():
        what = f"The gradient of the penalty ({cost}) with `{method.name}` with respect to `{name}`"
        assert_rounded(what, measured.gradient[name], value, limit, cause=cause, hint=hint)


def vectors(method: Method) -> Any:
    """The stored values of a method's scheme; `None` where there are none."""
    if method.scheme is None or method.control is not None:
        return None
    file = importlib.resources.files("lrnde_conformance").joinpath("vectors", f"{method.scheme}.json")
    if not file.is_file():
        return None
    stored = json.loads(file.read_text(encoding="utf-8"))
    return stored if stored["noise"] == method.noise else None


def _problem(method: Method, values: Any) -> Problem:
    parameters = {name: np.array(value) for name, value in values["parameters"].items()}
    # The values were computed without one.
    parameters["bias"] = np.zeros(SIZE)
    path = (np.array(values["amplitude"]), np.array(values["frequency"])) if method.is_stochastic else (None, None)
    return Problem(_FORMULAS[method.noise], parameters, np.array(values["y0"]), *path)
