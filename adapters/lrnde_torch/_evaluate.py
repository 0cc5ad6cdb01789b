"""The evaluation of the penalty on the kept steps of a torch solve."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import torch

from lrnde_core import (
    Array,
    Bits,
    Draw,
    DrawnStep,
    Leaf,
    Leaves,
    LocalPenalty,
    PenaltyTerm,
    Real,
    Record,
    Recording,
    RecordingPlan,
    Sample,
    Time,
)
from lrnde_torch._gradient import held_constant
from lrnde_torch._problem import AbstractTorchProblem

_Entry: TypeAlias = Array
"""An entry of one sample: a scalar tensor or a Python number; or `None`, in all samples."""

Tensor = torch.Tensor

_REDUCTIONS: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "mean": torch.mean,
    "sum": torch.sum,
    "max": torch.amax,
}


def evaluate_samples(plan: RecordingPlan, recording: Recording, zero: torch.Tensor) -> tuple[torch.Tensor, Sample]:
    """The weighted costs reduced as the sampler says, and the samples stacked, each of shape `(num_samples,)`.

    If every step is kept, there is one record per step, and one draw for all of them.

    `zero` is 0 in the dtype and on the device of the penalty. It is the result if the solve took no step. It also
    replaces a cost that is not finite (batched: the mean), without any graph: a zero cotangent times a derivative that
    is not finite would still poison training.
    """
    records: Sequence[Record] = recording.records
    penalty = plan.penalty
    if not recording.is_valid:
        return zero, _empty_sample(penalty, records, zero)
    problem = recording.problem
    assert isinstance(problem, AbstractTorchProblem)
    with held_constant(problem.constants):
        if plan.is_batched and len(records) > 1 and not recording.num_reused:
            return _evaluate_batched(plan, recording, zero)
        terms = _terms(plan, recording)
    # All costs are read together: each read waits for an accelerator.
    is_finite = list(map(math.isfinite, torch.stack([term.cost.detach() for term in terms]).tolist()))
    costs = [term.cost if finite else zero.to(term.cost) for term, finite in zip(terms, is_finite, strict=True)]
    samples = [
        term.sample if finite else term.sample._replace(weight=0.0)
        for term, finite in zip(terms, is_finite, strict=True)
    ]
    # Of one cost, each reduction is the cost itself.
    value = costs[0] if len(costs) == 1 else _REDUCTIONS[penalty.sampler.reduction](torch.stack(costs))
    return value.to(zero.dtype), Sample(*map(_column, zip(*samples, strict=True)))


def evaluate_unread(plan: RecordingPlan, recording: Recording) -> tuple[torch.Tensor, Sample]:
    """The mean of the weighted costs, and the samples, without reading a value: what is not finite stays so.

    For compilers and CUDA graphs, with one record for each draw.
    """
    terms = _terms(plan, recording)
    value = torch.stack([term.cost for term in terms]).mean()
    columns = zip(*(term.sample for term in terms), strict=True)
    return value, Sample(
        *(None if column[0] is None else torch.stack(list(map(torch.as_tensor, column))).detach() for column in columns)
    )


def _terms(plan: RecordingPlan, recording: Recording) -> list[PenaltyTerm]:
    penalty, draws = plan.penalty, plan.draws
    assert not isinstance(draws, Draw)  # one for each sample
    repeated = itertools.cycle(draws) if penalty.sampler.keeps_every_step else draws
    pairs = zip(repeated, recording.records, strict=not penalty.sampler.keeps_every_step)
    return [penalty(recording.problem, draw, record, plan.probes) for draw, record in pairs]


def _column(values: Sequence[_Entry]) -> torch.Tensor | None:
    """One field of the samples."""
    if values[0] is None:
        return None
    if isinstance(values[0], torch.Tensor):
        return _presentable(torch.stack(tuple(values)))
    return _on_host([value if math.isfinite(value) else 0.0 for value in values])


def _presentable(entry: torch.Tensor) -> torch.Tensor:
    """An entry of a sample without gradient, 0 where it is not finite."""
    return torch.nan_to_num(entry.detach(), 0.0, 0.0, 0.0)


def _evaluate_batched(plan: RecordingPlan, recording: Recording, zero: torch.Tensor) -> tuple[torch.Tensor, Sample]:
    records: Sequence[Record] = recording.records
    (state, *_), is_end_known = records[0].y, records[0].drawn.is_end_known
    draws = plan.draws
    assert not isinstance(draws, Draw)  # one for each sample

    def stacked(values: Sequence[Time | Real]) -> torch.Tensor:
        return torch.tensor(values, dtype=state.real.dtype, device=state.device)

    # vmap returns only tensors, so weights become one and entries that were not computed are left out.
    computed: list[str] = []

    def one(
        point: tuple[Time, Leaves] | None,
        uniform: Real,
        bits: Bits,
        t: Time,
        h: Time,
        remaining: Time,
        y: Leaf,
        *drawn: Real,
    ) -> tuple[torch.Tensor, ...]:
        record = Record(t, h, (y,), None, remaining, DrawnStep(*drawn, is_end_known=is_end_known), point=point)
        cost, sample = plan.penalty(recording.problem, Draw(uniform, bits), record, plan.probes)
        entries = {name: entry for name, entry in sample._asdict().items() if entry is not None}
        computed[:] = entries
        return cost, *(torch.as_tensor(entry, dtype=y.dtype, device=y.device) for entry in entries.values())

    points = [record.point for record in records if record.point is not None]
    point = None
    if points:
        times, states = zip(*points, strict=True)
        point = (stacked(times), (torch.stack([y for (y,) in states]),))
    entries_of = (
        stacked([draw.uniform for draw in draws]),
        torch.tensor([draw.bits for draw in draws], device=state.device),
        stacked([record.t for record in records]),
        stacked([record.h for record in records]),
        stacked([record.remaining for record in records]),
        torch.stack([record.y[0] for record in records]),
        *(stacked(values) for values in zip(*(record.drawn[:-1] for record in records), strict=True)),
    )
    # Samples have their points all or none.
    in_dims = (0 if points else None, *(0 for _ in entries_of))
    cost, *entries = torch.func.vmap(one, in_dims)(point, *entries_of)
    value, found = cost.mean().to(zero.dtype), dict(zip(computed, entries, strict=True))
    if not torch.isfinite(value):
        value = zero
        found["weight"] = torch.where(torch.isfinite(cost), found["weight"], 0.0)
    missing = dict.fromkeys(Sample._fields)
    return value, Sample(**{**missing, **{name: _presentable(entry) for name, entry in found.items()}})


def _on_host(numbers: Sequence[float]) -> torch.Tensor:
    """Python numbers unchanged: not every device has their dtype, and none needs to wait for them."""
    return torch.tensor(numbers, dtype=torch.float64, device="cpu")


def _empty_sample(penalty: LocalPenalty, records: Sequence[Record], zero: torch.Tensor) -> Sample:
    zeros = zero.expand(len(records))
    return Sample(
        t=_on_host([record.t for record in records]),
        h=_on_host([0.0] * len(records)),
        weight=_on_host([0.0] * len(records)),
        error_ratio=zeros if penalty.reads_error_ratio else None,
        stiffness=zeros if penalty.reads_stiffness else None,
    )
