"""Law 8: `UniformStep` chooses each step equally often, and the one that the protocol's hash chooses."""

import numpy as np

from lrnde_conformance._check import ConformanceFailure, check
from lrnde_conformance._checks._compare import assert_close
from lrnde_conformance._designs import trajectory
from lrnde_conformance._experiment import Experiment, Measurement
from lrnde_conformance._subject import Subject
from lrnde_conformance._trace import find_steps
from lrnde_core import Capability, UniformStep

_SEED = 3
_NUM_DRAWS = 160
_MASK = 0xFFFFFFFF


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
        if abs(measured.t[place] - expected.t) > 1e-6:
            raise ConformanceFailure(
                f"For draw={draw:.9g} among {len(points)} steps another step is looked at than on every backend.",
                got=f"the step from t={measured.t[place]:.9g}",
                expected=f"step {chosen_index(draw, len(points))}, from t={expected.t:.9g}",
                seed=_SEED,
                cause="steps are numbered from 0, rejected steps are numbered too, or the bits of the draw are not "
                "floor(2^24 draw)",
                hint="print the `AcceptedStep`s that your recorder makes",
            )
    assert_close(
        "The weights of `UniformStep`",
        measured.weight,
        np.full(len(draws), float(len(points))),
        rtol=1e-6,
        atol=0.0,
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


def chosen_index(draw: float, num_steps: int) -> int:
    """The step among `num_steps` that the protocol chooses, in plain integers."""
    bits = int(np.floor(draw * 2**24))
    chosen = 1
    for n in range(2, num_steps + 1):
        if _mix32(bits ^ _mix32(n)) < _MASK // n:
            chosen = n
    return chosen


def _mix32(x: int) -> int:
    x ^= x >> 16
    x = (x * 0x7FEB352D) & _MASK
    x ^= x >> 15
    x = (x * 0x846CA68B) & _MASK
    return x ^ (x >> 16)


def _sampled(subject: Subject) -> tuple[Experiment, tuple[float, ...], Measurement]:
    experiment = trajectory(subject, subject.main_method, subject.main_cost)
    uniforms = np.random.default_rng(_SEED).integers(0, 2**24, _NUM_DRAWS) / 2**24
    draws = tuple(float(uniform) for uniform in uniforms)
    measured = subject.measure(experiment.but(sampler=UniformStep(), draws=draws), with_gradient=False)
    return experiment, draws, measured
