"""Law 4: the gradient is that of the local step, at fixed time, size and state."""

from collections.abc import Mapping

import numpy as np

from lrnde_conformance._checks._cases import (
    cost_cases,
    every_cost_case,
    has_oracle,
    local_step_check,
    of_cost_case,
    unless_lean,
)
from lrnde_conformance._checks._check import check
from lrnde_conformance._checks._compare import assert_close, assert_rounded
from lrnde_conformance._checks._differences import difference_tolerance, finite_difference
from lrnde_conformance._experiments._designs import one_step, trajectory
from lrnde_conformance._experiments._experiment import Measurement
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._experiments._trace import trace
from lrnde_conformance._failure import ConformanceFailure
from lrnde_conformance._oracles._tolerances import cost_gradient_tolerance
from lrnde_core import Capability

_SEED = 11


@check(
    "gradient.finite-differences",
    law=4,
    needs=[Capability.UNIFORM_TIME, Capability.LOCAL_GRADIENT, Capability.FLOAT64],
    cases=every_cost_case,
    hint="differentiate one step of your local problem's `step` by plain autodiff, outside of the solve",
)
def gradient_finite_differences(subject: Subject, case: str) -> None:
    """The gradient along random directions equals finite differences of the penalty itself, at fixed (t, h, y)."""
    method, cost = of_cost_case(subject, case)
    experiment = one_step(subject, method, cost, held_by=local_step_check(subject, method, cost))
    measured = subject.measure(experiment)
    rng = np.random.default_rng(_SEED)
    for number in range(2):
        direction = {name: rng.normal(size=v.shape) for name, v in experiment.problem.parameters.items()}
        expected = finite_difference(subject, experiment, direction)
        got = sum(float(np.sum(measured.gradient[name] * along)) for name, along in direction.items())
        scale = sum(float(np.sum(np.abs(measured.gradient[name] * along))) for name, along in direction.items())
        if got == 0 and expected != 0:
            raise ConformanceFailure(
                f"The gradient of the penalty ({cost}) with `{method.name}` is 0, and the penalty does change.",
                got=0.0,
                expected=f"{expected:.12g} along direction {number}",
                seed=_SEED,
                cause="the local step runs without gradient (`no_grad`, `detach`, `stop_gradient`, a conversion to "
                "Python numbers), or its field holds copies of the parameters",
                hint="only t, h, y and the tolerances are constants; the field keeps its parameters",
            )
        tolerance = difference_tolerance(method)
        assert_close(
            f"The derivative of the penalty ({cost}) with `{method.name}` along direction {number}",
            got,
            expected,
            rtol=tolerance,
            atol=tolerance * scale + 1e-12,
            seed=_SEED,
            cause="a part of the step is detached, or the gradient of something else is mixed in",
            hint="compare with finite differences of `step` of your local problem, one stage at a time",
        )


@check(
    "gradient.local-step",
    law=4,
    needs=[Capability.UNIFORM_TIME, Capability.LOCAL_GRADIENT, Capability.FLOAT64],
    cases=cost_cases,
    hint="record y without gradient, and differentiate the local step alone",
)
def gradient_local_step(subject: Subject, case: str) -> None:
    """Late in a solve too, the gradient is that of the local step alone: what led to its state does not enter."""
    method, cost = of_cost_case(subject, case)
    found = trace(subject, trajectory(subject, method, cost))
    assert found.oracle is not None
    place = len(found.points) // 2
    point, measured = found.points[place], found.measurements[place]
    expected = found.oracle.gradient(cost, point)
    _assert_gradients(
        measured,
        {name: value * found.duration / abs(point.h) for name, value in expected.items()},
        f"the penalty ({cost}) of step {place + 1} with `{method.name}`",
        cost_gradient_tolerance(found.oracle, cost, point) * found.duration / abs(point.h),
    )


@check(
    "gradient.not-to-y0",
    law=4,
    needs=[Capability.UNIFORM_TIME, Capability.LOCAL_GRADIENT],
    hint="detach the recorded state unless `plan.keeps_gradient`",
)
def gradient_not_to_y0(subject: Subject, _: str) -> None:
    """With `gradient="local"` nothing reaches the initial state, neither from the first step nor from a later one."""
    for cost, draw in (("error", 0.0), ("error", 0.6), ("taylor-at-step", 0.0), ("taylor-at-step", 0.6)):
        experiment = trajectory(subject, subject.main_method, cost).but(draws=(draw,))
        if not all(subject.supports(need) for need in experiment.heuristic.needs):
            continue
        gradient = subject.measure(experiment).gradient["y0"]
        if np.any(gradient != 0):
            raise ConformanceFailure(
                f"The penalty ({cost}, draw={draw}) has a gradient with respect to `y0`.",
                got=f"largest entry {np.max(np.abs(gradient)):.6g}",
                expected="exactly 0 everywhere",
                cause="the recorded state keeps its gradient, so the penalty differentiates through the solve",
                hint="detach y where it is recorded, and t and h where the solver has them as tensors with gradient",
            )


@check(
    "gradient.full",
    law=4,
    tier="optional",
    needs=[Capability.UNIFORM_TIME, Capability.FULL_GRADIENT, Capability.FLOAT64, Capability.ERROR_ESTIMATE],
    cases=unless_lean(),
    hint="with `plan.keeps_gradient` record y with its gradient; t, h and tolerances stay constants",
)
def gradient_full(subject: Subject, _: str) -> None:
    """With `gradient="full"` the gradient also runs through how the solve got to the sampled step."""
    # Fixed steps stay where they are when parameters change; else a single step, whose state is the initial one.
    fixed = [m for m in subject.driver.methods if not m.is_adaptive and has_oracle(subject, m)]
    method = fixed[0] if fixed else subject.main_method
    held_by = local_step_check(subject, method, "error")
    experiment = trajectory(subject, method) if fixed else one_step(subject, method, held_by=held_by)
    experiment = experiment.but(gradient="full", draws=(0.6,))
    measured = subject.measure(experiment)
    rng = np.random.default_rng(_SEED)
    variables = {**experiment.problem.parameters, "y0": experiment.problem.y0}
    for name in ("y0", "inner"):
        direction = {name: rng.normal(size=variables[name].shape)}
        expected = finite_difference(subject, experiment, direction)
        assert_close(
            f"The full gradient with `{method.name}` along a direction of `{name}`",
            float(np.sum(measured.gradient[name] * direction[name])),
            expected,
            rtol=difference_tolerance(method),
            atol=1e-12,
            seed=_SEED,
            cause="the recorded state is detached although `plan.keeps_gradient`, or t or h carry a gradient",
            hint="record y as the solver has it, with its graph",
        )


def _assert_gradients(measured: Measurement, expected: Mapping[str, np.ndarray], what: str, bound: float) -> None:
    for name, value in expected.items():
        assert_rounded(
            f"The gradient of {what} with respect to `{name}`",
            measured.gradient[name],
            value,
            bound,
            cause="the gradient also runs through how the solve got there, through h, or through the tolerances; or a "
            "stage of the local step is a constant",
            hint="record t, h and y without gradient and take one fresh step, with a fresh first stage",
        )
