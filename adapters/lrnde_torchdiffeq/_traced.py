"""A call by fixed steps with its penalty in tensors alone, for `torch.compile` and CUDA graphs.

Nothing is read from a tensor, so it neither waits for a device nor breaks a graph. What Python does for an eager call
is left out: a check of the plan, the restoration of what the field changes, the search for parameters that an adjoint
leaves out, and the reading of values to refuse them.

Arguments, steps, counts and records are made by the code of an eager call, which takes times and draws as numbers or as
tensors. Eager calls have numbers: they need no kernels, and then only a sample in the last step evaluates the field at
its end.
"""

from collections.abc import Sequence

import torch
from torchdiffeq._impl.odeint import SOLVERS

from lrnde_core import (
    Array,
    CapabilityError,
    FixedSteps,
    InputError,
    MethodFacts,
    NativeArguments,
    NativeKeywords,
    NativeResult,
    RecordingPlan,
    RegularizedSolve,
    Report,
    State,
)
from lrnde_torch import dtype_refusal, evaluate_unread, unread_draws
from lrnde_torchdiffeq._arguments import read_arguments
from lrnde_torchdiffeq._call import TorchdiffeqCall
from lrnde_torchdiffeq._methods import method_facts
from lrnde_torchdiffeq._stepped import SteppedCall, check_no_event

# Made here, because compilers cannot read the library's tableaus. The facts of a real state.
_FACTS = {
    (method, is_adjoint): method_facts(method, torch.float32, is_adjoint=is_adjoint, has_event=False)
    for method in SOLVERS
    for is_adjoint in (False, True)
}


def solve_traced(
    wrapped: RegularizedSolve, steps: FixedSteps, args: NativeArguments, kwargs: NativeKeywords
) -> tuple[NativeResult, Report]:
    """A call of `odeint` or `odeint_adjoint` by these steps.

    Raises `CapabilityError` or `InputError` for what Python must do, and for what an eager call refuses.
    """
    args, kwargs = wrapped.solver.arguments(args, kwargs)
    penalize, draw, probes = kwargs.pop("penalize", True), kwargs.pop("draw", None), kwargs.pop("probes", None)
    if kwargs.pop("generator", None) is not None:
        raise InputError("A compiled call cannot draw from `generator=`; draw outside, and give `draw=`.")
    call = _call(wrapped, steps, args, kwargs)
    plan = _plan(wrapped, call, draw, probes) if penalize else None
    run = call.run(plan)
    if plan is None or run.recording is None:
        return run.result, wrapped.report(run, None, call.native.zero)
    penalty, sample = evaluate_unread(plan, run.recording)
    return run.result, wrapped.report(run, plan, penalty, sample)


def _call(wrapped: RegularizedSolve, steps: FixedSteps, args: NativeArguments, kwargs: NativeKeywords) -> SteppedCall:
    solver = wrapped.solver
    asked = read_arguments(solver.path, solver.function, args, kwargs, is_traced=True)
    check_no_event(asked)
    facts, reason = _FACTS[asked.method, asked.is_adjoint], dtype_refusal(asked.layout.dtype)
    if reason is not None:
        facts = MethodFacts.without_steps(asked.method, reason)
    native = TorchdiffeqCall(solver.function, args, kwargs, asked, facts)
    assert wrapped.steps is not None  # it has a plan holder
    return SteppedCall(native, steps, is_batched=wrapped.steps.batched, is_traced=True)


def _plan(
    wrapped: RegularizedSolve, call: SteppedCall, draw: Array | Sequence[float] | None, probes: State | None
) -> RecordingPlan:
    if wrapped.gradient != "local" or wrapped.sampler.keeps_every_step:
        raise CapabilityError(
            'A compiled call has only the local gradient: leave `gradient="full"` and `AllSteps` out.'
        )
    penalty = wrapped.penalty_of(call)
    uniforms = torch.rand(wrapped.num_samples, device=call.native.asked.layout.device) if draw is None else draw
    draws = unread_draws(uniforms, wrapped.num_samples)
    return RecordingPlan(penalty, draws, wrapped.check_probes(probes, penalty, call), keeps_gradient=False)
