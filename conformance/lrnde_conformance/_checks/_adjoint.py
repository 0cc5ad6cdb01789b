"""Law 5: the local gradient is the same under every adjoint."""

import numpy as np

from lrnde_conformance._checks._bounds import solve_bounds
from lrnde_conformance._checks._cases import costs
from lrnde_conformance._checks._check import check
from lrnde_conformance._checks._compare import assert_rounded
from lrnde_conformance._experiments._designs import trajectory
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._failure import CheckSkipped, ConformanceFailure
from lrnde_core import Capability

_ONLY = "only"


def _adjoint_cases(subject: Subject) -> list[str]:
    others = subject.driver.adjoints[1:]
    if subject.is_lean:
        return []
    return list(others) or [_ONLY]


@check(
    "adjoint.local-gradient",
    law=5,
    needs=[Capability.LOCAL_GRADIENT, Capability.UNIFORM_TIME, Capability.FLOAT64],
    cases=_adjoint_cases,
    hint="take the local step outside of the solve, so that no adjoint sees it",
)
def adjoint_local_gradient(subject: Subject, case: str) -> None:
    """Penalty and gradient are those under the default adjoint, and the gradient is not 0."""
    if case == _ONLY:
        msg = "the driver names no second adjoint: there is but one way to differentiate a solve"
        raise CheckSkipped(msg)
    method = subject.main_method
    cost = "error" if "error" in costs(subject, method) else "taylor-at-step"
    experiment = trajectory(subject, method, cost).but(draws=(0.6,))
    default = subject.measure(experiment)
    other = subject.measure(experiment.but(adjoint=case))
    cause = (
        "the penalty is part of what the adjoint differentiates, or the adjoint finds the parameters in the field and "
        "the local step uses another object"
    )
    hint = "evaluate the local step with the user's own field, after the solve"
    bounds = solve_bounds(subject, experiment, default, with_gradient=True)
    what = f"The penalty under `{case}`"
    assert_rounded(what, other.penalty, default.penalty, bounds.penalty, cause=cause, hint=hint)
    for name, expected in default.gradient.items():
        got = other.gradient[name]
        if np.any(expected != 0) and not np.any(got != 0):
            raise ConformanceFailure(
                f"Under `{case}` the gradient of the penalty with respect to `{name}` is silently 0.",
                got="0 everywhere",
                expected=f"up to {np.max(np.abs(expected)):.6g}, as under `{subject.driver.adjoints[0]}`",
                cause=cause,
                hint=hint,
            )
        what = f"The gradient with respect to `{name}` under `{case}`"
        assert_rounded(what, got, expected, bounds.gradient, cause=cause, hint=hint)
