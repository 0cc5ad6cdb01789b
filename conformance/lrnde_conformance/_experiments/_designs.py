"""Experiments that most checks share: one step, or a handful of steps, with an error that means something."""

import numpy as np

from lrnde_conformance._experiments._experiment import Experiment
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._failure import CheckNotApplicable, ConformanceFailure
from lrnde_conformance._method import Method
from lrnde_conformance._oracles._oracle import StepPoint, oracle
from lrnde_conformance._problems import Problem, of_method

STEP = 0.2
_END = 1.0
_NUM_STEPS = 8
_SMALLEST_TOLERANCE = {"float32": 1e-4, "float64": 0.0}
# Where the solver chooses its first step: the larger the tolerance, the longer the step. The error is no less precise
# for it, only smaller in units of the tolerance; far above the state, automatic first steps are tiny.
_WIDER, _WIDEST = 1e5, 1.0
# Of the first step that the solver chooses, so that it stays long enough when parameters change.
_SHARE = 0.8
_NUM_TRIES = 6


def main_problem(subject: Subject, method: Method) -> Problem:
    """The network, with noise or control where the method needs some; one object for each subject and kind."""
    key = ("problem", method.noise, method.control)
    return subject.remember(key, lambda: of_method(method, batch=subject.batch, seed=subject.seed))


def one_step(
    subject: Subject,
    method: Method,
    cost: str = "error",
    *,
    h: float = STEP,
    held_by: str = "",
) -> Experiment:
    """A solve of one accepted step of size `h` with an error ratio near 0.3; its sample has weight 1.

    Where the solver chooses its first step, tolerances are so wide, or the interval so short, that this step reaches
    its end: it is clipped there, whatever the parameters are. Raises `CheckNotApplicable` where it never does.

    - `held_by`: the check that holds the law then.
    """
    tolerance = _tolerance(subject, method, h, 0.3)
    if not subject.takes_first_step(method):
        found = subject.remember(("reached", method, h), lambda: _reached(subject, method, h, tolerance))
        if found is None:
            msg = f"the solver takes no first step, and its own one ends before the shortest solve with `{method.name}`"
            raise CheckNotApplicable(msg, held_by=held_by)
        h, tolerance = found
    return Experiment(
        method,
        main_problem(subject, method),
        single_step_times(subject, 0.0, h),
        tolerance,
        tolerance,
        first_step=h,
        cost=cost,
        dtype=subject.main_dtype,
    )


def single_step_times(subject: Subject, start: float, h: float) -> tuple[float, ...]:
    """Output times of a solve of one step.

    One more in the middle where programs are compiled, so that longer solves can use the same one.
    """
    return (start, start + 0.5 * h, start + h) if subject.backend.is_compiled else (start, start + h)


def trajectory(subject: Subject, method: Method, cost: str = "error") -> Experiment:
    """A solve of about eight steps, with an output time in the middle, which may be replaced."""
    h = _END / _NUM_STEPS
    # Tolerances of fixed steps decide nothing, and are part of a program: those of a single step serve as well.
    design = (h, 0.5) if method.is_adaptive else (STEP, 0.3)
    return Experiment(
        method,
        main_problem(subject, method),
        (0.0, 0.5 * _END, _END),
        *[_tolerance(subject, method, *design)] * 2,
        first_step=0.8 * h if method.is_adaptive else h,
        cost=cost,
        dtype=subject.main_dtype,
    )


def widened(tolerance: float) -> float:
    """A tolerance at which the first step that solvers choose is as long as their other steps at the given one."""
    return max(tolerance, min(_WIDER * tolerance, _WIDEST))


def _tolerance(subject: Subject, method: Method, h: float, ratio: float) -> float:
    """That at which a step of size `h` has this error ratio, as far as the dtype resolves it."""
    error = subject.remember(("unit error", method, h), lambda: _unit_error(subject, method, h))
    return max(error / ratio, _SMALLEST_TOLERANCE[subject.main_dtype])


def _reached(subject: Subject, method: Method, h: float, tolerance: float) -> tuple[float, float] | None:
    """The size, at most `h`, and the tolerance of a solve whose end the solver's first step goes beyond."""
    tolerance = widened(tolerance)
    problem, dtype = main_problem(subject, method), subject.main_dtype
    for _ in range(_NUM_TRIES):
        times = single_step_times(subject, 0.0, h / _SHARE)
        probe = Experiment(
            method, problem, times, tolerance, tolerance, h, subject.main_cost, draws=(0.0,), dtype=dtype
        )
        found = subject.measure(probe, with_gradient=False)
        if found.num_accepted == 1:
            return h, tolerance
        h = _SHARE * float(found.h[0])
    return None


def _unit_error(subject: Subject, method: Method, h: float) -> float:
    """The error ratio of a step of size `h` at tolerance 1."""
    problem = main_problem(subject, method)
    reference = oracle(problem, method, 1.0, 1.0)
    if reference is not None:
        return float(reference.error_ratio(StepPoint(0.0, h, problem.y0)))
    probe = Experiment(method, problem, single_step_times(subject, 0.0, h), 1.0, 1.0, h, dtype=subject.main_dtype)
    found = subject.measure(probe).error_ratio
    if found is not None and found[0] == 0 and subject.main_dtype == "float32":
        # Mere rounding, and the smallest tolerance is above it.
        return 0.0
    if found is None or not np.isfinite(found[0]) or found[0] <= 0:
        raise ConformanceFailure(
            "The error ratio of a single step of the network cannot be measured.",
            got=found,
            expected="a positive number in `report.sample.error_ratio`",
            cause="the step failed, or its error estimate was masked as rounding",
            hint=f"solve one step of size {h} with `{method.name}` by hand and print `report`",
        )
    return float(found[0])
