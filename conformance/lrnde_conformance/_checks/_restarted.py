"""Law 3 in the reference setting: a local step that starts at the sample, with an automatic size."""

import numpy as np

from lrnde_conformance._check import check
from lrnde_conformance._checks._cases import has_oracle, of_method_case, unless_lean
from lrnde_conformance._checks._compare import assert_close
from lrnde_conformance._designs import trajectory
from lrnde_conformance._oracle import complex_step_gradient
from lrnde_conformance._schemes import SCHEMES
from lrnde_conformance._subject import Subject
from lrnde_conformance._trace import trace
from lrnde_core import Capability, UniformTime

_FRACTION = 0.3
_RESOLVED = 1e-3
_SAMPLER = UniformTime(weighting="paper", local_start="sample")


def _cases(subject: Subject) -> list[str]:
    methods = (subject.main_method,) if subject.backend.is_compiled else subject.methods
    embedded = [m for m in methods if m.scheme in SCHEMES and SCHEMES[m.scheme].error is not None]
    return [m.name for m in embedded if m.is_adaptive and m.control is None and has_oracle(subject, m)]


@check(
    "penalty.restarted",
    law=3,
    needs=[Capability.UNIFORM_TIME, Capability.RESTARTED_STEP, Capability.ERROR_ESTIMATE, Capability.FLOAT64],
    cases=unless_lean(_cases),
    hint="give the core `Record.remaining`, and take `first_stage` for the first stage where it is given",
)
def penalty_restarted(subject: Subject, case: str) -> None:
    """With `local_start="sample"` the step starts at the sample, with Hairer's size and a constant first stage."""
    found = trace(subject, trajectory(subject, of_method_case(subject, case)))
    reference = found.oracle
    assert reference is not None
    step, (start, *_, end) = found.points[len(found.points) // 2], found.experiment.ts
    t = step.t + _FRACTION * step.h
    y = reference.whole(step.t, t - step.t, step.y)
    h, velocity = reference.initial_step(t, y, end)
    draw = (t - start) / found.duration
    measured = subject.measure(found.experiment.but(sampler=_SAMPLER, draws=(draw,)))
    hint = "check `penalty.oracle` first: the step is the same, from another start"
    for what, got, expected, cause in (
        ("start", measured.t[0], t, "the step starts where the recorded one does"),
        ("size", measured.h[0], h, "`Record.remaining`, the tolerances or the order in `MethodFacts` are wrong"),
        ("weight", measured.weight[0], 1.0, "the adapter weights on its own"),
    ):
        assert_close(
            f"The {what} of the restarted step of `{case}`", got, expected, rtol=1e-7, atol=0.0, cause=cause, hint=hint
        )
    cost = float(reference.restarted_cost(t, h, y, velocity))
    cause = "the first stage is evaluated anew or differentiated, or the state at the sample is not that of one step"
    assert_close(
        f"The penalty of the restarted step of `{case}`",
        measured.penalty,
        cost,
        rtol=1e-7,
        atol=1e-8 * abs(h),
        cause=cause,
        hint=hint,
    )
    gradient = complex_step_gradient(
        lambda moved: reference.moved(moved).restarted_cost(t, h, y, velocity), reference.problem.parameters
    )
    # Hairer's step is small, and so is its error: a small difference of large stages.
    tolerance = 1e-6 if cost >= _RESOLVED * abs(h) else 1e-4
    scale = max(float(np.max(np.abs(value))) for value in gradient.values())
    for name, expected in gradient.items():
        what = f"The gradient with respect to `{name}` of the restarted step of `{case}`"
        assert_close(what, measured.gradient[name], expected, rtol=0.0, atol=tolerance * scale, cause=cause, hint=hint)
