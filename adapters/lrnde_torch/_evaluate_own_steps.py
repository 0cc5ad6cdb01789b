"""Evaluating the penalty on the kept steps of a batch whose members take steps of their own."""

from collections.abc import Sequence
from typing import Any

import torch

from lrnde_core import (
    Capability,
    Draw,
    DrawnStep,
    Leaves,
    LocalPenalty,
    PenaltyTerm,
    Record,
    Recording,
    RecordingPlan,
    Sample,
)
from lrnde_torch._own_steps import OwnStepsProblem

Tensor = torch.Tensor


def evaluate_own_steps(plan: RecordingPlan, recording: Recording, zero: Tensor) -> tuple[Tensor, Sample]:
    """The mean of the weighted costs over draws and batch, and the samples, each of shape `(num_samples, batch)`.

    - `recording`: of an `OwnStepsProblem`. What its records hold (`carry`, `estimate` and `is_end_known` aside) has the
      shape `(batch,)`, states `(batch, *state)`. A member without a step, `num_accepted` 0, has cost and weight 0.
      The probe that a draw decides is the same for every member. Samples have the dtype of the recorded sizes.
    - `zero`: 0 in the dtype and on the device of the penalty. Where no member took a step, it is the result. It also
      takes the place of the mean where that or any evaluation is not finite, without any graph: a zero cotangent times
      a derivative that is not finite would still poison training.
    """
    problem, records = recording.problem, recording.records
    penalty, draws = plan.penalty, plan.draws
    assert isinstance(problem, OwnStepsProblem)
    assert isinstance(draws, Sequence)
    if recording.is_valid:
        pairs = zip(draws, records, strict=True)
        terms = [_evaluate(penalty, problem, draw, record, plan.probes) for draw, record in pairs]
        value = torch.stack([term.cost for term in terms]).mean().to(zero.dtype)
        if torch.isfinite(value) and all(problem.are_finite):
            return value, _stack([term.sample for term in terms])
    return zero, _stack([_empty_sample(penalty, record, zero) for record in records])


def _evaluate(
    penalty: LocalPenalty, problem: OwnStepsProblem, draw: Draw, record: Record, probes: Leaves | None
) -> PenaltyTerm:
    """The weighted cost of each member, and where it was taken."""
    *drawn, is_end_known = record.drawn
    has_step = record.drawn.num_accepted > 0

    def one(
        probes: Leaves | None, t: Tensor, h: Tensor, remaining: Tensor, y: Tensor, *drawn: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        kept = Record(t, h, (y,), None, remaining, DrawnStep(*drawn, is_end_known=is_end_known))
        cost, sample = penalty(problem, draw, kept, probes)
        # `vmap` takes tensors alone: a weight may be a Python number, and what was not computed is left out.
        entries = {name: entry for name, entry in sample._asdict().items() if entry is not None}
        return cost, {name: torch.as_tensor(entry, dtype=h.dtype, device=h.device) for name, entry in entries.items()}

    def or_tiny(size: Tensor) -> Tensor:
        # Formulas divide by sizes; what becomes of a member without a step is masked below.
        return torch.where(has_step, size, torch.finfo(size.dtype).eps)

    drawn = [or_tiny(entry) if entry.is_floating_point() else entry for entry in drawn]
    if probes is not None:
        # Of the state as the user has it, which the solve may have joined into one.
        probes = tuple(probe.reshape(leaf.shape) for probe, leaf in zip(probes, record.y, strict=True))
    kept = (record.t, or_tiny(record.h), record.remaining, *record.y, *drawn)
    costs, entries = torch.func.vmap(one, in_dims=(None if probes is None else 0, *(0 for _ in kept)))(probes, *kept)
    for name in ("h", "weight"):
        entries[name] = torch.where(has_step, entries[name], 0.0)
    missing: dict[str, Any] = dict.fromkeys(Sample._fields)
    return PenaltyTerm(torch.where(has_step, costs, 0.0), Sample(**{**missing, **entries}))


def _empty_sample(penalty: LocalPenalty, record: Record, zero: Tensor) -> Sample:
    nothing, needs = zero.to(record.h.dtype).expand(len(record.t)), penalty.heuristic.needs
    return Sample(
        t=record.t,
        h=nothing,
        weight=nothing,
        error_ratio=nothing if Capability.ERROR_ESTIMATE in needs else None,
        stiffness=nothing if Capability.STIFFNESS_ESTIMATE in needs else None,
    )


def _stack(samples: list[Sample]) -> Sample:
    columns = zip(*samples, strict=True)
    return Sample(*(None if column[0] is None else torch.stack(column).detach() for column in columns))
