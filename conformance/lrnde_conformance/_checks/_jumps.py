"""Law 3 where the field jumps: what the solver keeps apart, the penalty keeps apart."""

import dataclasses
import math
from typing import Any

from lrnde_conformance._checks._cases import costs, of_cost_case
from lrnde_conformance._checks._check import check
from lrnde_conformance._checks._compare import assert_rounded, time_slack
from lrnde_conformance._experiments._designs import trajectory
from lrnde_conformance._experiments._experiment import Experiment
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._experiments._trace import find_steps
from lrnde_conformance._failure import ConformanceFailure
from lrnde_conformance._method import Method
from lrnde_conformance._oracles._oracle import StepPoint, oracle
from lrnde_conformance._oracles._tolerances import cost_tolerance
from lrnde_conformance._problems import Formula, Parameters, beside
from lrnde_core import Capability

JUMP = 0.43
_RATE = 6.0
_TOLERANCE = 0.1


def _smooth(xp: Any, t: Any, y: Any, p: Parameters) -> Any:
    # Whatever the state is: costs follow from t and h alone.
    return xp.sin(_RATE * t) * beside(p["bias"], y) + 0 * y


def _second_derivative(xp: Any, t: Any, y: Any, p: Parameters) -> Any:
    return _RATE * xp.cos(_RATE * t) * beside(p["bias"], y) + 0 * y


def _jumping(xp: Any, t: Any, y: Any, p: Parameters) -> Any:
    return _smooth(xp, t, y, p) * xp.where(t == JUMP, math.nan, xp.where(t < JUMP, 1.0, 2.0))


_SMOOTH = Formula("smooth", _smooth, second_derivative=_second_derivative)
_JUMPING = Formula("jumping", _jumping)


def _cases(subject: Subject) -> list[str]:
    methods = [m for m in subject.driver.methods if m.name in subject.driver.avoids_jumps and m.scheme is not None]
    if subject.backend.is_compiled:
        return [] if subject.is_lean else [f"{method.name}-{costs(subject, method)[0]}" for method in methods]
    return [f"{method.name}-{cost}" for method in methods for cost in costs(subject, method) if cost != "stiffness"]


@check(
    "penalty.jump",
    law=3,
    tier="optional",
    needs=[Capability.UNIFORM_TIME, Capability.FLOAT64],
    cases=_cases,
    hint="end and start the local step, and `time_inside`, where the solver does, a rounding away from the jump",
)
def penalty_jump(subject: Subject, case: str) -> None:
    """Where the solver steps around a jump of the field, the penalty of the steps beside it sees one side each."""
    method, cost = of_cost_case(subject, case)
    experiment = _experiment(subject, method, cost)
    steps = find_steps(subject, experiment)
    place = max(index for index, step in enumerate(steps) if step.t < JUMP)
    end = sum(steps[place])
    if abs(end - JUMP) > time_slack(experiment):
        raise ConformanceFailure(
            f"The solver steps over a jump of the field at t={JUMP}.",
            got=f"a step that ends at t={end:.9g}",
            expected="steps that end and start a rounding away from the jump",
            cause="`avoids_jumps` of the driver has this method, and its `call` does not pass `task.jump` on",
            hint="pass `task.jump` to the solver in the driver's `call`",
        )
    middles = [step.t + 0.5 * step.h for step in steps[place : place + 2]]
    # And the jump itself, which is a rounding away from the nearest end of a step.
    for time in (*middles, JUMP):
        measured = subject.measure(experiment.but(draws=(time,)), with_gradient=False)
        t, h = float(measured.t[0]), float(measured.h[0])
        side = 1.0 if t < JUMP else 2.0
        y0, bias = 0 * experiment.problem.y0, experiment.problem.parameters["bias"]
        problem = dataclasses.replace(experiment.problem, formula=_SMOOTH).moved(y0=y0, bias=side * bias)
        reference = oracle(problem, method, experiment.rtol, experiment.atol)
        assert reference is not None
        point = StepPoint(t, h, y0, min(max((time - t) / h, 0.0), 1.0))
        assert_rounded(
            f"The penalty ({cost}) at t={time:.6g} of the step from t={t:.17g} of size {h:.6g}, beside a jump of the "
            f"field at t={JUMP},",
            measured.penalty,
            float(reference.cost(cost, point)) / abs(h),
            cost_tolerance(reference, cost, point) / abs(h),
            cause="the local step or the point is evaluated at the jump, or on its other side",
            hint="print the times at which the field is evaluated, and compare them with those of the solver",
        )


def _experiment(subject: Subject, method: Method, cost: str) -> Experiment:
    described = trajectory(subject, method, cost)
    problem = dataclasses.replace(described.problem, formula=_JUMPING)
    return described.but(
        problem=subject.remember("jumping", lambda: problem),
        # Without `rtol` the error ratio does not depend on the state.
        rtol=0.0,
        atol=_TOLERANCE,
        # From 0 a step to the jump ends there exactly, whatever is rounded.
        first_step=JUMP,
        jump_at=JUMP,
    )
