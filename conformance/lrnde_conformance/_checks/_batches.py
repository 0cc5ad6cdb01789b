"""Laws 3 and 13 for batches: samples that are evaluated together, and states that each take their own steps."""

from typing import Any

import numpy as np

from lrnde_conformance._checks._bounds import solve_bounds, states_bound
from lrnde_conformance._checks._cases import costs, unless_lean
from lrnde_conformance._checks._check import check
from lrnde_conformance._checks._compare import assert_close, assert_rounded, time_slack
from lrnde_conformance._experiments._designs import trajectory
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._oracles._oracle import oracle
from lrnde_conformance._problems import network
from lrnde_core import Capability

_DRAWS = (0.83, 0.05, 0.41)
_SCALES = (0.2, 1.0, 3.0)


def _cost_cases(subject: Subject) -> list[str]:
    names = costs(subject, subject.main_method)
    return names[:1] if subject.backend.is_compiled else names


@check(
    "penalty.batched",
    law=3,
    needs=[Capability.BATCHED_SAMPLES, Capability.UNIFORM_TIME, Capability.FLOAT64],
    cases=unless_lean(_cost_cases),
    hint="map `penalty(problem, draw, record)` over the samples, or declare it unsupported",
)
def penalty_batched(subject: Subject, case: str) -> None:
    """With `batched=True` penalty, gradient and samples are those of one sample after the other."""
    apart = trajectory(subject, subject.main_method, case).but(draws=_DRAWS)
    one, together = subject.measure(apart), subject.measure(apart.but(is_batched=True))
    cause = "a sample sees the record of another, or something is shared by the batch of samples that is not"
    hint = "compare the terms of each sample with `batched` and without"
    bounds = solve_bounds(subject, apart, one, with_gradient=True)
    what = f"The penalty ({case}) with `batched=True`"
    assert_rounded(what, together.penalty, one.penalty, bounds.penalty, cause=cause, hint=hint)
    slack = time_slack(apart)
    for name in ("t", "h", "weight", "error_ratio", "stiffness"):
        got, expected = getattr(together, name), getattr(one, name)
        if expected is not None:
            what = f"`report.sample.{name}` with `batched=True`"
            assert_close(what, got, expected, rtol=slack, atol=slack, cause=cause, hint=hint)
    for name, expected in one.gradient.items():
        what = f"The gradient with respect to `{name}` with `batched=True`"
        assert_rounded(what, together.gradient[name], expected, bounds.gradient, cause=cause, hint=hint)


def _own_steps_cases(subject: Subject) -> list[str]:
    """Each cost; with `--fast` the main one and that of a point, which is each state's own."""
    if subject.driver.shares_steps:
        return []
    names = costs(subject, subject.main_method)
    return [name for name in names if name in (subject.main_cost, "taylor")] if subject.is_fast else names


@check(
    "shape.own-steps",
    law=13,
    needs=[Capability.UNIFORM_TIME, Capability.FLOAT64],
    cases=_own_steps_cases,
    hint="choose for each state of the batch with `where`; report samples of shape (num_samples, batch)",
)
def shape_own_steps(subject: Subject, case: str) -> None:
    """Where each state of a batch takes its own steps, each has the penalty, sample and counts that it has alone."""
    problem = subject.remember("batch", lambda: _uneven(network(batch=len(_SCALES), seed=subject.seed)))
    experiment = trajectory(subject, subject.main_method, case).but(problem=problem, draws=_DRAWS[:2])
    rows = [problem.moved(y0=problem.y0[place : place + 1]) for place in range(len(_SCALES))]
    alone = [subject.measure(experiment.but(problem=row)) for row in rows]
    together = subject.measure(experiment)
    _, report = subject.solve(experiment)
    to_numpy = subject.backend.to_numpy
    cause = "steps, counts or the kept step are those of another state of the batch, or of all of them together"
    hint = "compare the sample of each state with that of a solve of it alone"

    def compare(what: str, got: Any, expected: Any, bound: float) -> None:
        what = f"{what[0].upper()}{what[1:]} of a batch whose states each take their own steps"
        assert_rounded(what, got, expected, bound, cause=cause, hint=hint)

    bounds = [
        solve_bounds(subject, experiment.but(problem=row), each, with_gradient=True)
        for row, each in zip(rows, alone, strict=True)
    ]
    # Other sizes of steps move a solution by no more than its tolerance.
    slack = time_slack(experiment)
    reference = oracle(problem, experiment.method, experiment.rtol, experiment.atol)
    rounding = states_bound(experiment, reference, max(each.num_accepted or 1 for each in alone))
    expected = np.concatenate([each.states for each in alone], axis=1)
    compare("the solution", together.states, expected, rounding + slack * experiment.atol)
    expected = np.mean([each.penalty for each in alone])
    compare("the penalty, a mean,", together.penalty, expected, float(np.mean([each.penalty for each in bounds])))
    for name in ("t", "h", "weight", "error_ratio"):
        if getattr(alone[0], name) is not None:
            what, expected = f"`report.sample.{name}`", np.stack([getattr(each, name) for each in alone], axis=1)
            got = to_numpy(getattr(report.sample, name))
            assert_close(what, got, expected, rtol=slack, atol=slack, cause=cause, hint=hint)
    for name in ("num_steps", "num_accepted", "num_rejected"):
        compare(f"`report.{name}`", to_numpy(getattr(report, name)), [getattr(each, name) for each in alone], 0.0)
    limit = float(np.mean([each.gradient for each in bounds]))
    for name in problem.parameters:
        expected = np.mean([each.gradient[name] for each in alone], axis=0)
        compare(f"the gradient of the penalty with respect to `{name}`", together.gradient[name], expected, limit)


def _uneven(problem: Any) -> Any:
    """States of such different size that they need other steps."""
    return problem.moved(y0=np.array(_SCALES)[:, None] * problem.y0)
