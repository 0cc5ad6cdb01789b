"""Experiments that most checks share: one step, or a handful of steps, with an error that means something."""

import numpy as np

from lrnde_conformance._check import ConformanceFailure
from lrnde_conformance._driver import Method
from lrnde_conformance._experiment import Experiment
from lrnde_conformance._oracle import StepPoint, oracle
from lrnde_conformance._problems import Problem, network, stochastic
from lrnde_conformance._subject import Subject

STEP = 0.2
_END = 1.0
_NUM_STEPS = 8


def main_problem(subject: Subject, method: Method) -> Problem:
    """The network, with noise where the method needs some; one object for each subject and noise."""
    return subject.remember(
        ("problem", method.noise),
        lambda: stochastic(method, batch=subject.batch) if method.is_stochastic else network(batch=subject.batch),
    )


def one_step(
    subject: Subject, method: Method, cost: str = "error", *, h: float = STEP, start: float = 0.0
) -> Experiment:
    """A solve of one accepted step of size `h` with an error ratio near 0.3; its sample has weight 1."""
    problem = main_problem(subject, method)
    tolerance = subject.remember(("tolerance", method, h, start), lambda: _unit_error(subject, method, h, start) / 0.3)
    return Experiment(method, problem, single_step_times(subject, start, h), tolerance, tolerance, h, cost)


def single_step_times(subject: Subject, start: float, h: float) -> tuple[float, ...]:
    """Output times of a solve of one step.

    One more in the middle where programs are compiled, so that longer solves can use the same one.
    """
    return (start, start + 0.5 * h, start + h) if subject.backend.is_compiled else (start, start + h)


def trajectory(subject: Subject, method: Method, cost: str = "error") -> Experiment:
    """A solve of about eight steps, with an output time in the middle, which may be replaced."""
    problem, h = main_problem(subject, method), _END / _NUM_STEPS
    tolerance = subject.remember(("tolerance", method, h, 0.0), lambda: _unit_error(subject, method, h, 0.0) / 0.5)
    first_step = 0.8 * h if method.is_adaptive else h
    return Experiment(method, problem, (0.0, 0.5 * _END, _END), tolerance, tolerance, first_step, cost)


def _unit_error(subject: Subject, method: Method, h: float, start: float) -> float:
    """The error ratio of a step of size `h` at tolerance 1."""
    problem = main_problem(subject, method)
    reference = oracle(problem, method, 1.0, 1.0)
    if reference is not None:
        return float(reference.error_ratio(StepPoint(start, h, problem.y0)))
    probe = Experiment(method, problem, single_step_times(subject, start, h), 1.0, 1.0, h)
    found = subject.measure(probe, with_gradient=False).error_ratio
    if found is None or not np.isfinite(found[0]) or found[0] <= 0:
        raise ConformanceFailure(
            "The error ratio of a single step of the network can not be had.",
            got=found,
            expected="a positive number in `report.sample.error_ratio`",
            cause="the step failed, or its error estimate was masked as mere rounding",
            hint=f"solve one step of size {h} with `{method.name}` by hand and print `report`",
        )
    return float(found[0])
