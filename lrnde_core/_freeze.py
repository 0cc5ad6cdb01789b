"""Freezing a solve onto a fixed plan: the public entry points."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lrnde_core._adapter import AbstractCall
from lrnde_core._capabilities import Capability
from lrnde_core._errors import CapabilityError, InputError, InputTypeError
from lrnde_core._freeze_errors import Metric, Over, check_count, check_over
from lrnde_core._freeze_report import Candidate, FreezeReport
from lrnde_core._freeze_search import Calibration, search
from lrnde_core._freezing import AbstractFreezer, Span
from lrnde_core._plan import Plan
from lrnde_core._registry import REGISTRY
from lrnde_core._regularize import RegularizedSolve, find_adapter, unwrap_partial
from lrnde_core._support import refuse

CalibrationCall = tuple[Any, ...] | Mapping[str, Any]


def freeze(
    solve: Callable[..., Any],
    *,
    calibration: Sequence[CalibrationCall],
    error: float = 1e-3,
    over: Over = "max",
    metric: Metric | None = None,
    candidates: Sequence[Candidate] | None = None,
    guard: bool = False,
    fallback: Callable[..., Any] | None = None,
    batched: bool = True,
    adapter: str | None = None,
) -> tuple[Callable[..., Any], FreezeReport]:
    """Replace an adaptive solve, for prediction, by the cheapest fixed steps that stay within an error of it.

        solve = functools.partial(odeint, rtol=1e-5, atol=1e-5)
        frozen, report = lrnde.freeze(solve, calibration=[(func, batch, t) for batch in batches], error=1e-3)
        ys = frozen(func, y0, t)

    Every second call of `calibration`, from the second on, is held back. Candidates are tried in order of cost; the
    others rule out what is too far off, and of what remains the first within `error` on the held-back calls is taken.

    - `solve`: the native call with its tolerances, such as a `functools.partial` of `torchdiffeq.odeint`: the solution
      that errors are measured against.
    - `calibration`: calls to solve, each a tuple of positional or a mapping of keyword arguments of `solve`, of one
      interval, output times and state shape. At least two calls, with at least 10 samples held back, and q / (1 - q)
      for a quantile q.
    - `error`: the largest allowed error, dimensionless. Of a sample: the norm of its difference from the native
      solution over the norm of the latter, over all output times after the start.
    - `over`: which samples the bound holds for: `"max"`, all; a quantile such as 0.99; or `"mean"`.
    - `metric`: another error: takes the frozen result, the native one and the index of the call in `calibration`, and
      returns one number for each sample.
    - `candidates`: what to try. By default methods of orders 1 to 5 in up to as many evaluations as the native solve
      takes, in steps of equal size and in steps placed as the solver's.
    - `guard`: whether the frozen solve also estimates its own error, and flags samples whose estimate, or whose state,
      is larger than any on the calibration calls (`GuardSignals`). It then returns `(native result, flagged)`, the
      flags of shape `(batch,)`. It costs an evaluation where the method evaluates the field at its new solution, else
      none.
    - `fallback`: a native call that solves what is flagged; implies `guard`.
    - `batched`: whether the first axis of every array in the state counts samples; else each call is one sample.
    - `adapter`: as in `regularize`.

    Returns the frozen solve, which takes the arguments of the native call and returns its result, and the report.

    Raises `InputError` where no candidate stays within `error` (it names the best), for too small a calibration set and
    for calls that do not fit together; `CapabilityError` for what can not be frozen, such as stochastic equations.
    """
    if isinstance(error, bool) or not isinstance(error, int | float) or not 0 < error < math.inf:
        raise InputError(f"`error={error!r}` must be a positive number, such as 1e-3.")
    check_over(over)
    native, bound_args, bound_kwargs, solve_name, adapter_name = _read_solve(solve, adapter)
    library = REGISTRY.get_adapter(adapter_name)
    freezer = _freezer(adapter_name)
    calls = [
        _bind_call(library, solve_name, native, bound_args, bound_kwargs, item, index)
        for index, item in enumerate(_checked(calibration))
    ]
    span = _common_span(freezer, calls, is_batched=batched)
    measured = Calibration.solve(freezer, calls, span, metric, is_batched=batched)
    check_count(over, measured.num_held_back)
    is_guarded = guard or fallback is not None
    report = search(measured, error=float(error), over=over, candidates=candidates, is_guarded=is_guarded)
    return freezer.frozen(native, bound_args, bound_kwargs, report.plan, fallback), report


def apply_plan(
    solve: Callable[..., Any], plan: Plan, *, fallback: Callable[..., Any] | None = None, adapter: str | None = None
) -> Callable[..., Any]:
    """The frozen solve of a plan that was found before, such as one read by `Plan.from_json`.

    - `solve`, `fallback`, `adapter`: as in `freeze`; a fallback needs a plan with a guard.
    """
    if not isinstance(plan, Plan):
        raise InputTypeError(f"`plan` must be a `Plan`, not {plan!r}; `Plan.from_json` reads one.")
    if fallback is not None and not plan.is_guarded:
        raise InputError("`fallback` solves what a guard flags, and the plan has none; freeze with `guard=True`.")
    native, bound_args, bound_kwargs, _, adapter_name = _read_solve(solve, adapter)
    return _freezer(adapter_name).frozen(native, bound_args, bound_kwargs, plan, fallback)


def _read_solve(solve: Any, adapter: str | None) -> tuple[Any, tuple[Any, ...], dict[str, Any], str, str]:
    if isinstance(solve, RegularizedSolve):
        raise InputTypeError("`solve` is regularized; freeze the native call, with the tolerances of prediction.")
    if not callable(solve):
        raise InputTypeError(f"`solve` must be a callable such as `torchdiffeq.odeint`, not {solve!r}.")
    native, bound_args, bound_kwargs = unwrap_partial(solve)
    adapter_name, solve_name = find_adapter(native, adapter)
    return native, bound_args, bound_kwargs, solve_name, adapter_name


def _freezer(adapter_name: str) -> AbstractFreezer:
    library = REGISTRY.get_adapter(adapter_name)
    refuse(adapter_name, [Capability.FREEZE], dict(library.capabilities.unsupported))
    return library.freezer()


def _checked(calibration: Any) -> list[CalibrationCall]:
    if not isinstance(calibration, list | tuple):
        raise InputTypeError(
            f"`calibration` must be a list of calls, not {type(calibration).__name__}: for each the arguments of "
            "`solve`, such as `(func, y0, t)`."
        )
    calls: list[CalibrationCall] = list(calibration)  # pyright: ignore[reportUnknownArgumentType]
    if len(calls) < 2:
        raise InputError(
            f"`calibration` has {len(calls)} calls; at least 2 are needed, since every second one is held back. "
            "Split a batch in two."
        )
    return calls


def _bind_call(
    library: Any,
    solve_name: str,
    native: Any,
    bound_args: tuple[Any, ...],
    bound_kwargs: Mapping[str, Any],
    item: Any,
    index: int,
) -> AbstractCall:
    if isinstance(item, tuple):
        return library.bind(solve_name, native, (*bound_args, *item), bound_kwargs)
    if isinstance(item, Mapping):
        return library.bind(solve_name, native, bound_args, {**bound_kwargs, **item})
    raise InputTypeError(
        f"`calibration[{index}]` is a `{type(item).__name__}`; give a tuple of positional or a mapping of keyword "
        "arguments of `solve`, such as `(func, y0, t)`."
    )


def _common_span(freezer: AbstractFreezer, calls: list[AbstractCall], *, is_batched: bool) -> Span:
    for call in calls:
        if call.facts.is_stochastic:
            raise CapabilityError(
                "A stochastic equation can not be frozen: its solution differs from path to path, so no error of one "
                "sample says what fixed steps cost. Compare statistics of many paths at fixed steps of the library."
            )
    spans = [freezer.read(call, is_batched=is_batched) for call in calls]
    for index, span in enumerate(spans):
        if span != spans[0]:
            raise InputError(
                f"`calibration[{index}]` differs from the first call in interval, output times or state: {span} "
                f"against {spans[0]}. A plan is for one of each; freeze them apart."
            )
    return spans[0]
