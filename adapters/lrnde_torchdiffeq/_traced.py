"""A call by fixed steps with its penalty in tensors alone, for `torch.compile` and CUDA graphs.

Nothing is read from a tensor, so it neither waits for a device nor breaks a graph. What Python does for an eager call
is left out: a check of the plan, the restoration of what the field changes, and the reading of values to refuse them.

Steps, counts and records are made by the code of an eager call, which takes times and draws as numbers or as tensors.
Eager calls have numbers: they need no kernels, and then only a sample in the last step evaluates the field at its end.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torchdiffeq

from lrnde_core import (
    CapabilityError,
    Draw,
    FixedSteps,
    InputError,
    LocalPenalty,
    MethodFacts,
    NativeArgument,
    NativeArguments,
    NativeResult,
    RecordingPlan,
    RegularizedSolve,
    Report,
    default_heuristic,
)
from lrnde_torch import evaluate_unread
from lrnde_torchdiffeq._arguments import Arguments
from lrnde_torchdiffeq._call import TorchdiffeqCall
from lrnde_torchdiffeq._methods import DEFAULT_METHOD
from lrnde_torchdiffeq._state import StateLayout
from lrnde_torchdiffeq._stepped import SteppedCall

_BITS = 2**24


def solve_traced(
    wrapped: RegularizedSolve, steps: FixedSteps, args: NativeArguments, kwargs: Mapping[str, NativeArgument]
) -> tuple[NativeResult, Report]:
    """A call of `odeint` or `odeint_adjoint` by these steps.

    Raises `CapabilityError` or `InputError` for what Python must do.
    """
    given: dict[str, Any] = {**wrapped.solver.kwargs, **kwargs}
    given |= dict(zip(("func", "y0", "t"), (*wrapped.solver.args, *args), strict=False))
    if given.get("generator") is not None:
        raise InputError("A compiled call cannot draw from `generator=`; draw outside, and give `draw=`.")
    is_batched = wrapped.steps is None or wrapped.steps.batched
    call = SteppedCall(_call(steps, given), steps, is_batched=is_batched, is_traced=True)
    plan = _plan(wrapped, call, given) if given.get("penalize", True) else None
    result, counts, recording = call.run(plan)
    penalty, nfe_extra, sample = call.native.zero, 0, None
    if plan is not None and recording is not None:
        penalty, sample = evaluate_unread(plan, recording)
        evaluations = plan.penalty.num_evaluations(recording.problem, wrapped.num_samples, 0)
        nfe_extra = (evaluations or 0) + recording.num_reading
    return result, Report(penalty=penalty, nfe_extra=nfe_extra, sample=sample, **counts._asdict())


def _call(steps: FixedSteps, given: Mapping[str, Any]) -> TorchdiffeqCall:
    y0, t = given["y0"], given["t"]
    asked = Arguments(
        field=given["func"],
        y0=y0,
        layout=StateLayout.of(y0),
        rtol=given.get("rtol", 1e-7),
        atol=given.get("atol", 1e-9),
        method=DEFAULT_METHOD,
        options=given.get("options") or {},
        adjoint_params=None,
        is_adjoint=False,
        has_event=False,
        start=t[0].detach(),
        end=t[-1].detach(),
        direction=1.0,
    )
    facts = MethodFacts.explicit(steps.method, steps.order, steps.tableau)
    return TorchdiffeqCall(torchdiffeq.odeint, (asked.field, y0, t), {}, asked, facts)


def _plan(wrapped: RegularizedSolve, call: SteppedCall, given: Mapping[str, Any]) -> RecordingPlan:
    if wrapped.gradient != "local" or wrapped.sampler.keeps_every_step:
        raise CapabilityError(
            'A compiled call has only the local gradient: leave `gradient="full"` and `AllSteps` out.'
        )
    heuristic = wrapped.heuristic or default_heuristic(is_stochastic=False, is_adaptive=True)
    layout, uniforms, probes = call.native.asked.layout, given.get("draw"), given.get("probes")
    if uniforms is None:
        uniforms = torch.rand(wrapped.num_samples, device=layout.device)
    draws = [Draw(uniforms[index], (uniforms[index] * _BITS).long()) for index in range(wrapped.num_samples)]
    probes = None if probes is None else (layout.flatten(probes),)
    return RecordingPlan(LocalPenalty(heuristic, wrapped.sampler, call.facts), draws, probes, keeps_gradient=False)
