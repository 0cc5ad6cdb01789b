"""The evaluation of the penalty on the kept steps of each member of a batch."""

import torch
from lrnde_core import (
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

from lrnde_torchode._problem import OwnStepsProblem

Tensor = torch.Tensor


def evaluate_own_steps(plan: RecordingPlan, recording: Recording, zero: Tensor) -> tuple[Tensor, Sample]:
    """The mean of the weighted costs over draws and batch, and the samples, each of shape `(num_samples, batch)`.

    - `recording`: one with an `OwnStepsProblem`. The values of its records (except `carry`, `estimate` and
      `is_end_known`) have the shape `(batch,)`, states `(batch, *state)`. A member without a step, `num_accepted` 0,
      has cost and weight 0. The probe that a draw determines is the same for every member. Samples have the dtype of
      the recorded sizes.
    - `zero`: 0 in the dtype and on the device of the penalty. It is the result if no member took a step. It also
      replaces the mean if that or any evaluation is not finite, without any graph: a zero cotangent times a derivative
      that is not finite would still poison training.
    """
    problem, records = recording.problem, recording.records
    penalty, draws = plan.penalty, plan.draws
    assert isinstance(problem, OwnStepsProblem)
    assert not isinstance(draws, Draw)  # one for each sample
    if recording.is_valid:
        pairs = zip(draws, records, strict=True)
        terms = [_evaluate_members(penalty, problem, draw, record, plan.probes) for draw, record in pairs]
        value = torch.stack([term.cost for term in terms]).mean().to(zero.dtype)
        if torch.isfinite(value) and all(problem.are_finite):
            return value, _stack_members([term.sample for term in terms])
    return zero, _stack_members([_empty_members(penalty, record, zero) for record in records])


def _evaluate_members(
    penalty: LocalPenalty, problem: OwnStepsProblem, draw: Draw, record: Record, probes: Leaves | None
) -> PenaltyTerm:
    """The weighted cost of each member, and its sample."""
    is_end_known = record.drawn.is_end_known
    t, h, remaining, *drawn = map(torch.as_tensor, (record.t, record.h, record.remaining, *record.drawn[:-1]))
    has_step = torch.as_tensor(record.drawn.num_accepted > 0)

    def one(
        probes: Leaves | None,
        point: tuple[Tensor, Leaves] | None,
        t: Tensor,
        h: Tensor,
        remaining: Tensor,
        y: Tensor,
        *drawn: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        kept = Record(t, h, (y,), None, remaining, DrawnStep(*drawn, is_end_known=is_end_known), point=point)
        cost, sample = penalty(problem, draw, kept, probes)
        # `vmap` takes only tensors: a weight may be a Python number, and entries that were not computed are left out.
        entries = {name: entry for name, entry in sample._asdict().items() if entry is not None}
        return cost, {name: torch.as_tensor(entry, dtype=h.dtype, device=h.device) for name, entry in entries.items()}

    def or_tiny(size: Tensor) -> Tensor:
        # Formulas divide by sizes; the result of a member without a step is masked below.
        return torch.where(has_step, size, torch.finfo(size.dtype).eps)

    drawn = [or_tiny(entry) if entry.is_floating_point() else entry for entry in drawn]
    if probes is not None:
        # Shaped like the user's state, which the solve may have joined into one.
        probes = tuple(probe.reshape(leaf.shape) for probe, leaf in zip(probes, record.y, strict=True))
    kept = (t, or_tiny(h), remaining, *record.y, *drawn)
    in_dims = (*(None if each is None else 0 for each in (probes, record.point)), *(0 for _ in kept))
    costs, entries = torch.func.vmap(one, in_dims=in_dims)(probes, record.point, *kept)
    for name in ("h", "weight"):
        entries[name] = torch.where(has_step, entries[name], 0.0)
    missing: dict[str, Tensor | None] = dict.fromkeys(Sample._fields)
    return PenaltyTerm(torch.where(has_step, costs, 0.0), Sample(**{**missing, **entries}))


def _empty_members(penalty: LocalPenalty, record: Record, zero: Tensor) -> Sample:
    t = torch.as_tensor(record.t)
    nothing = zero.to(t.dtype).expand(len(t))
    return Sample(
        t=t,
        h=nothing,
        weight=nothing,
        error_ratio=nothing if penalty.reads_error_ratio else None,
        stiffness=nothing if penalty.reads_stiffness else None,
    )


def _stack_members(samples: list[Sample]) -> Sample:
    columns = zip(*samples, strict=True)
    return Sample(*(None if column[0] is None else torch.stack(column).detach() for column in columns))
