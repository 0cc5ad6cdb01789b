"""Evaluating the penalty on the kept steps of all samples."""

from typing import Any

import torch
from lrnde_core import Capability, Draw, DrawnStep, LocalPenalty, Record, Recording, Sample, warn_if_unresolved
from lrnde_torch import no_side_effects

from lrnde_torchode._problem import SampleProblem

Tensor = torch.Tensor


def evaluate_samples(penalty: LocalPenalty, recording: Recording, draws: list[Draw]) -> tuple[Tensor, Sample]:
    """The mean of the weighted costs over draws and batch, and the samples, each of shape `(num_samples, batch)`."""
    problem, records = recording.problem, recording.records
    assert isinstance(problem, SampleProblem)
    y0: Tensor = problem.problem.y0
    if (None, None) in penalty.heuristic.tolerances:
        # The line of the user's call, through the adapter and the two methods of `RegularizedSolve`.
        warn_if_unresolved(problem.rtol, problem.atol, torch.finfo(y0.dtype).eps, str(y0.dtype), stacklevel=5)
    zero = torch.zeros((), dtype=y0.dtype, device=y0.device)
    if recording.is_valid:
        with no_side_effects(getattr(problem.term, "f", problem.term), y0.device):
            terms = [_evaluate(penalty, problem, *pair) for pair in zip(draws, records, strict=True)]
        value = torch.stack([cost for cost, _ in terms]).mean().to(y0.dtype)
        if torch.isfinite(value) and all(problem.are_finite):
            return value, _stack([sample for _, sample in terms])
    # Without any graph: a zero cotangent times a derivative that is not finite would still poison training.
    nothing, needs = zero.double().expand(len(y0)), penalty.heuristic.needs
    empty = Sample(
        t=None,
        h=nothing,
        weight=nothing,
        error_ratio=nothing if Capability.ERROR_ESTIMATE in needs else None,
        stiffness=nothing if Capability.STIFFNESS_ESTIMATE in needs else None,
    )
    return zero, _stack([empty._replace(t=record.t.double()) for record in records])


def _evaluate(penalty: LocalPenalty, problem: SampleProblem, draw: Draw, record: Record) -> tuple[Tensor, Sample]:
    """The weighted cost of each sample, and where it was taken; 0 for a sample that took no step."""
    drawn = record.drawn
    has_step = drawn.num_accepted > 0

    def one(t: Tensor, h: Tensor, y: Tensor, remaining: Tensor, *numbers: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        kept = Record(t, h, (y,), None, remaining, DrawnStep(*numbers, is_end_known=True))
        cost, sample = penalty(problem, draw, kept)
        # `vmap` takes tensors alone: a weight may be a Python number, and what was not computed is left out.
        entries = {name: entry for name, entry in sample._asdict().items() if entry is not None}
        return cost, {name: torch.as_tensor(entry, dtype=torch.float64) for name, entry in entries.items()}

    def or_tiny(size: Tensor) -> Tensor:
        # Formulas divide by sizes; what becomes of a sample without a step is masked below.
        return torch.where(has_step, size, torch.finfo(size.dtype).eps)

    costs, entries = torch.func.vmap(one)(
        record.t,
        or_tiny(record.h),
        record.y[0],
        record.remaining,
        drawn.elapsed,
        or_tiny(drawn.size),
        or_tiny(drawn.measure),
        or_tiny(drawn.duration),
        drawn.num_accepted,
    )
    for name in ("h", "weight"):
        entries[name] = torch.where(has_step, entries[name], 0.0)
    missing: dict[str, Any] = dict.fromkeys(Sample._fields)
    return torch.where(has_step, costs, 0.0), Sample(**{**missing, **entries})


def _stack(samples: list[Sample]) -> Sample:
    columns = zip(*samples, strict=True)
    return Sample(*(None if column[0] is None else torch.stack(column).detach() for column in columns))
