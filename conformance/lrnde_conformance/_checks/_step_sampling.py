"""Law 8: `UniformStep` chooses each step equally often, and the one that the protocol's hash chooses."""

import dataclasses

import numpy as np

from lrnde_conformance._checks._bounds import solve_bounds
from lrnde_conformance._checks._cases import costs, has_oracle, of_method_case, unless_lean
from lrnde_conformance._checks._check import check
from lrnde_conformance._checks._compare import assert_rounded, time_slack
from lrnde_conformance._experiments._designs import trajectory
from lrnde_conformance._experiments._experiment import Experiment, Measurement
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._experiments._trace import find_steps, trace
from lrnde_conformance._failure import ConformanceFailure
from lrnde_conformance._oracles._reservoir import chosen_index, fraction
from lrnde_conformance._oracles._tolerances import EPSILON
from lrnde_core import Capability, UniformStep

_SEED = 3
_NUM_DRAWS = 160
_NUM_PLACES = 12


@check(
    "step-sampling.index",
    law=8,
    needs=[Capability.UNIFORM_STEP],
    hint="number the accepted steps 1, 2, 3, ... and ask `plan.sampler.keep` once for each",
)
def step_sampling_index(subject: Subject, _: str) -> None:
    """For each draw the step is the one that the protocol's hash of the draw chooses, with weight N."""
    experiment, draws, measured = _sampled(subject)
    points = find_steps(subject, experiment)
    for place, draw in enumerate(draws):
        expected = points[chosen_index(draw, len(points)) - 1]
        if abs(measured.t[place] - expected.t) > time_slack(experiment):
            raise ConformanceFailure(
                f"For draw={draw:.9g} among {len(points)} steps another step is looked at than on every backend.",
                got=f"the step from t={measured.t[place]:.9g}",
                expected=f"step {chosen_index(draw, len(points))}, from t={expected.t:.9g}",
                seed=_SEED,
                cause="steps are numbered from 0, rejected steps are numbered too, or the bits of the draw are not "
                "floor(2^24 draw)",
                hint="print the `AcceptedStep`s that your recorder makes",
            )
    assert_rounded(
        "The weights of `UniformStep`",
        measured.weight,
        np.full(len(draws), float(len(points))),
        EPSILON[experiment.dtype] * len(points),
        seed=_SEED,
        cause="`DrawnStep.num_accepted` is counted while the solve still runs, or counts rejected steps",
        hint="fill in `num_accepted` when the solve is over",
    )


@check(
    "step-sampling.uniform",
    law=8,
    needs=[Capability.UNIFORM_STEP],
    hint="the check `step-sampling.index` says which draws go wrong",
)
def step_sampling_uniform(subject: Subject, _: str) -> None:
    """Over many draws each step is chosen equally often (chi-square)."""
    experiment, draws, measured = _sampled(subject)
    starts = np.array([point.t for point in find_steps(subject, experiment)])
    index = np.argmin(np.abs(measured.t[:, None] - starts[None, :]), axis=1)
    counts = np.bincount(index, minlength=len(starts))
    expected = len(draws) / len(starts)
    statistic = float(np.sum((counts - expected) ** 2) / expected)
    # The mean of the distribution plus five of its standard deviations: one in a million, or less.
    degrees = len(starts) - 1
    limit = degrees + 5 * np.sqrt(2 * degrees) + 5
    if statistic > limit:
        raise ConformanceFailure(
            f"`UniformStep` does not choose steps equally often in {len(draws)} draws.",
            got=f"chosen {counts.tolist()} times, chi-square {statistic:.1f}",
            expected=f"about {expected:.1f} times each",
            tolerance=f"chi-square {limit:.1f} with {degrees} degrees of freedom",
            seed=_SEED,
            cause="the sampler is asked more than once for a step, not at all for some, or with another index",
            hint="ask `plan.sampler.keep` once for each accepted step",
        )


def _place_cases(subject: Subject) -> list[str]:
    method = subject.main_method
    return [method.name] if has_oracle(subject, method) and "taylor" in costs(subject, method) else []


@check(
    "step-sampling.place",
    law=8,
    needs=[Capability.UNIFORM_STEP, Capability.UNIFORM_TIME, Capability.POINT_INSIDE_STEP, Capability.FLOAT64],
    cases=unless_lean(_place_cases),
    hint="the core asks `sampler.locate` for the place; give it the draw's bits",
)
def step_sampling_place(subject: Subject, case: str) -> None:
    """A heuristic of a point is evaluated at the place in the chosen step that the protocol's hash says."""
    found = trace(subject, trajectory(subject, of_method_case(subject, case), subject.main_cost))
    assert found.oracle is not None
    draws = tuple(float(u) for u in np.random.default_rng(_SEED).uniform(size=_NUM_PLACES))
    experiment = found.experiment.but(sampler=UniformStep(), draws=draws, cost="taylor")
    expected: list[float] = []
    for draw in draws:
        point = found.points[chosen_index(draw, len(found.points)) - 1]
        expected.append(float(found.oracle.cost("taylor", dataclasses.replace(point, fraction=fraction(draw)))))
    measured = subject.measure(experiment, with_gradient=False)
    assert_rounded(
        f"The penalty (taylor) of {len(draws)} draws of `UniformStep`",
        measured.penalty,
        len(found.points) * np.mean(expected),
        solve_bounds(subject, experiment, measured).penalty,
        seed=_SEED,
        cause="the place is that of the uniform rather than of its hash, or a fraction of another size",
        hint="check `penalty.oracle` of `taylor` and `step-sampling.index` first",
    )


def _sampled(subject: Subject) -> tuple[Experiment, tuple[float, ...], Measurement]:
    experiment = trajectory(subject, subject.main_method, subject.main_cost)
    uniforms = np.random.default_rng(_SEED).integers(0, 2**24, _NUM_DRAWS) / 2**24
    draws = tuple(float(uniform) for uniform in uniforms)
    measured = subject.measure(experiment.but(sampler=UniformStep(), draws=draws), with_gradient=False)
    return experiment, draws, measured
