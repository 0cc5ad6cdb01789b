"""A call by fixed steps with its penalty in tensors alone, for `torch.compile` and CUDA graphs.

Nothing is read from a tensor, so it neither waits for a device nor breaks a graph. What Python does for an eager call
is left out: a check of the plan, the restoration of what the field changes, and the reading of values to refuse them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from lrnde_core import (
    AcceptedStep,
    CapabilityError,
    Draw,
    DrawnStep,
    FixedSteps,
    InputError,
    LocalPenalty,
    MethodFacts,
    NativeArgument,
    NativeArguments,
    NativeResult,
    Record,
    RegularizedSolve,
    Report,
    Sample,
    State,
    StepTaken,
    default_heuristic,
    guard_signals,
    sampled_fraction,
)
from lrnde_torch import ExplicitProblem, solve_by_steps
from lrnde_torchdiffeq._state import StateLayout, mixed_norm, rms_norm

Tensor = torch.Tensor

_BITS = 2**24


def solve_traced(
    wrapped: RegularizedSolve, steps: FixedSteps, args: NativeArguments, kwargs: Mapping[str, NativeArgument]
) -> tuple[NativeResult, Report]:
    """A call of `odeint` or `odeint_adjoint` by these steps.

    Raises `CapabilityError` or `InputError` for what Python must do.
    """
    given: dict[str, Any] = {**wrapped.solver.kwargs, **kwargs}
    given |= dict(zip(("func", "y0", "t"), (*wrapped.solver.args, *args), strict=False))
    func, y0, t = given["func"], given["y0"], given["t"]
    if given.get("generator") is not None:
        raise InputError("A compiled call cannot draw from `generator=`; draw outside, and give `draw=`.")
    is_penalised = given.get("penalize", True)
    needs_last = is_penalised or steps.tableau.is_last_stage_solution
    result, taken = solve_by_steps(steps, func, y0, t, needs_last=needs_last)
    with torch.no_grad():
        signals = guard_signals(steps.tableau, taken, is_batched=wrapped.steps is None or wrapped.steps.batched)
        step_error = signals.error_estimate.amax()
    nfe = steps.num_evaluations(needs_last=taken[-1].last is not None)
    layout = StateLayout.of(y0)
    penalty, nfe_extra, sample = torch.zeros((), dtype=layout.dtype, device=layout.device), 0, None
    if is_penalised:
        penalty, nfe_extra, sample = _penalty(wrapped, steps, given, layout, taken)
        nfe -= len(t) == 2 and not steps.tableau.is_last_stage_solution
    report = Report(penalty, nfe, nfe_extra, steps.num_steps, steps.num_steps, 0, sample, step_error=step_error)
    return result, report


def _penalty(
    wrapped: RegularizedSolve,
    steps: FixedSteps,
    given: Mapping[str, Any],
    layout: StateLayout,
    taken: Sequence[StepTaken],
) -> tuple[Tensor, int, Sample]:
    if wrapped.gradient != "local" or wrapped.sampler.keeps_every_step:
        raise CapabilityError(
            'A compiled call has the local gradient alone: leave `gradient="full"` and `AllSteps` out.'
        )
    heuristic = wrapped.heuristic or default_heuristic(is_stochastic=False, is_adaptive=True)
    facts = MethodFacts.explicit(steps.method, steps.order, steps.tableau).by_steps(
        steps.method, steps.order, steps.tableau
    )
    penalty = LocalPenalty(heuristic, wrapped.sampler, facts)
    norm = (given.get("options") or {}).get("norm", mixed_norm if layout.is_tuple else rms_norm)
    problem = ExplicitProblem(
        field=lambda time, state: layout.flat_field(given["func"], time, state),
        user_field=given["func"],
        tableau=steps.tableau,
        rtol=layout.flat_tolerance(given.get("rtol", 1e-7)),
        atol=layout.flat_tolerance(given.get("atol", 1e-9)),
        error_norm=lambda state: layout.flat_norm(norm, state),
        dtype=layout.dtype,
        device=layout.device,
        starts_after_t0=False,
        ends_before_t1=False,
    )
    uniforms = given.get("draw")
    if uniforms is None:
        uniforms = torch.rand(wrapped.num_samples, device=layout.device)
    probes = given.get("probes")
    probes = None if probes is None else (layout.flatten(probes),)
    terms = []
    for index in range(wrapped.num_samples):
        draw = Draw(uniforms[index], (uniforms[index] * _BITS).long())
        terms.append(penalty(problem, draw, _record(penalty, layout, taken, draw), probes))
    value = torch.stack([term.cost for term in terms]).mean()
    columns = zip(*(term.sample for term in terms), strict=True)
    sample = Sample(
        *(None if column[0] is None else torch.stack(list(map(torch.as_tensor, column))).detach() for column in columns)
    )
    evaluations = penalty.num_evaluations(problem, wrapped.num_samples, 0)
    reading = penalty.reads_point and len(given["t"]) == 2 and not steps.tableau.is_last_stage_solution
    return value, (evaluations or 0) + reading, sample


def _record(penalty: LocalPenalty, layout: StateLayout, taken: Sequence[StepTaken], draw: Draw) -> Record:
    start, end = taken[0].t, taken[-1].t + taken[-1].h
    duration = abs(end - start)
    sampler, kept = penalty.sampler, torch.zeros((), dtype=torch.long, device=layout.device)
    for index, step in enumerate(taken):
        offered = AcceptedStep(index + 1, abs(step.t - start), abs(step.h), duration)
        kept = torch.where(torch.as_tensor(sampler.keep(draw, offered)), index, kept)

    def chosen(of_step: Callable[[StepTaken], Tensor]) -> Tensor:
        stacked = torch.stack([of_step(step) for step in taken])
        return stacked.index_select(0, kept.reshape(1))[0].detach()

    def leaves(of_step: Callable[[StepTaken], State]) -> tuple[Tensor, ...]:
        return tuple(chosen(lambda step, place=place: of_step(step)[place]) for place in range(len(taken[0].y)))

    def flat(state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (layout.flatten(state if layout.is_tuple else state[0]),)

    t, h = chosen(lambda step: torch.as_tensor(step.t)), chosen(lambda step: torch.as_tensor(step.h))
    y, y1 = leaves(lambda step: step.y), leaves(lambda step: step.y1)
    first, last = leaves(lambda step: step.increments[0]), leaves(lambda step: step.last)
    size = h.abs()
    drawn = DrawnStep(abs(t - start), size, size, duration, len(taken), is_end_known=True)
    point = None
    if penalty.reads_point:
        fraction = sampled_fraction(sampler, draw, drawn)
        inside = StepTaken(t, h, y, y1, [first], [], last).inside(fraction)
        point = (t + fraction * h, flat(inside))
    return Record(t, h, flat(y), None, end - t, drawn, point=point)
