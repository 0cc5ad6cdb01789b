"""The public entry points for freezing a solve onto a fixed plan."""

import types
from collections.abc import Mapping, Sequence

from lrnde_core._call import AbstractCall
from lrnde_core._capabilities import Capability
from lrnde_core._claims import NativeFunction
from lrnde_core._errors import CapabilityError, InputError, InputTypeError, described
from lrnde_core._plans._call_form import CallForm
from lrnde_core._plans._calls import (
    CalibrationCall,
    bind_calls,
    check_alike,
    find_freezer,
    find_solver,
    read_all,
)
from lrnde_core._plans._contract import AbstractFreezer, without_a_trace
from lrnde_core._plans._errors import ErrorMeasure, Metric, Over, check_bound, check_held_back, check_over
from lrnde_core._plans._plan import FixedSteps, Plan
from lrnde_core._plans._report import Candidate, FreezeReport
from lrnde_core._plans._search import Calibration, search


def freeze(
    solve: NativeFunction,
    *,
    calibration: Sequence[CalibrationCall],
    error: float = 1e-3,
    over: Over = "max",
    scales: Mapping[int, float] = types.MappingProxyType({}),
    metric: Metric | None = None,
    candidates: Sequence[Candidate | FixedSteps] | None = None,
    guard: bool = False,
    fallback: NativeFunction | None = None,
    batched: bool = True,
    adapter: str | None = None,
) -> tuple[NativeFunction, FreezeReport]:
    """Replace an adaptive solve, for prediction, by the cheapest fixed steps that stay within an error of it.

        solve = functools.partial(odeint, rtol=1e-5, atol=1e-5)
        frozen, report = lrnde.freeze(solve, calibration=[(func, batch, t) for batch in batches], error=1e-3)
        ys = frozen(func, y0, t)

    Every second call of `calibration`, from the second on, is held back. Candidates are tried in order of cost; the
    other calls rule out those that are too far off. Of the rest, the first within `error` on the held-back calls wins.

    - `solve`: the native call with its tolerances, such as a `functools.partial` of `torchdiffeq.odeint`. Errors are
      measured against its solution.
    - `calibration`: calls to solve, each a tuple of positional or a mapping of keyword arguments of `solve`, all with
      the same state shape, and with intervals and output times like those of prediction. At least two calls, with at
      least 10 samples held back, and q / (1 - q) for a quantile q.
    - `error`: the largest allowed error, dimensionless. The error of a sample is the largest of the arrays of its
      state: the norm of the difference from the native solution, over all output times after the start, divided by the
      norm of the latter or by the median of that norm over the samples of the call, whichever is larger.
    - `scales`: by the place of an array in the state, counted from 0, a number in its units by which its error is
      divided instead: `{1: 1.0}` if the second array is a log-density, whose zero means nothing.
    - `over`: the samples that the bound holds for: `"max"`, all; a quantile such as 0.99; or `"mean"`.
    - `metric`: your own error: takes the frozen result, the native one and the index of the call in `calibration`, and
      returns one number for each sample.
    - `candidates`: the fixed steps to try, such as those of a `CheckedPlan`. By default methods of orders 1 to 5, with
      at most as many evaluations as the native solve, in steps of equal size and in steps placed like the solver's.
    - `guard`: whether the frozen solve also estimates its own error, and flags samples whose estimate, or whose state,
      is larger than any on the calibration calls (`GuardSignals`). It then returns `(native result, flagged)`, the
      flags of shape `(batch,)`. It costs one evaluation if the method evaluates the field at its new solution, else
      none.
    - `fallback`: a native call that solves flagged samples; implies `guard`.
    - `batched`: whether the first axis of every array in the state counts samples; else each call is one sample, as it
      is where the call is made under `jax.vmap`.
    - `adapter`: as in `regularize`.

    Returns the frozen solve, which takes the arguments of the native call and returns its result, and the report.

    Each trial is logged to `logging.getLogger("lrnde")` at the level INFO, with the time that the rest takes at most.

    Raises `InputError` if no candidate stays within `error` (it names the best), for too small a calibration set and
    for calls that do not fit together; `CapabilityError` for what cannot be frozen (`freeze_sde` is for stochastic
    equations).
    """
    check_bound(error)
    check_over(over)
    measure = ErrorMeasure.of(scales, metric)
    solver = find_solver(solve, adapter)
    freezer = find_freezer(solver, Capability.FREEZE, AbstractFreezer)
    calls = bind_calls(solver, calibration)
    form = _common_form(freezer, calls, is_batched=batched)
    with without_a_trace(freezer, calls):
        measured = Calibration.solve(freezer, calls, form, measure, is_batched=batched)
        check_held_back(over, measured.num_held_back)
        is_guarded = guard or fallback is not None
        report = search(measured, error=float(error), over=over, candidates=candidates, is_guarded=is_guarded)
    return freezer.frozen(solver.partial, report.plan, fallback), report


def apply_plan(
    solve: NativeFunction, plan: Plan, *, fallback: NativeFunction | None = None, adapter: str | None = None
) -> NativeFunction:
    """The frozen solve of an existing plan, such as one read by `Plan.from_json`.

    - `solve`, `fallback`, `adapter`: as in `freeze`; a fallback needs a plan with a guard.

    For the plan of a stochastic equation: `apply_sde_plan`.
    """
    if not isinstance(plan, Plan):
        raise InputTypeError(f"`plan` must be a `Plan`, not {described(plan)}; `Plan.from_json` reads one.")
    if fallback is not None and not plan.is_guarded:
        raise InputError("`fallback` solves what a guard flags, and the plan has none; freeze with `guard=True`.")
    solver = find_solver(solve, adapter)
    return find_freezer(solver, Capability.FREEZE, AbstractFreezer).frozen(solver.partial, plan, fallback)


def _common_form(freezer: AbstractFreezer, calls: list[AbstractCall], *, is_batched: bool) -> CallForm:
    for call in calls:
        if call.facts.is_stochastic:
            raise CapabilityError(
                "The solution of a stochastic equation differs from path to path, so the error of one sample says "
                "nothing about fixed steps. `lrnde.freeze_sde` freezes it on statistics of many paths."
            )
    forms = read_all(calls, lambda call: freezer.read(call, is_batched=is_batched))
    check_alike([form.difference(forms[0]) for form in forms])
    return CallForm.joint(forms)
