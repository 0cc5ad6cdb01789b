"""The public entry point of a diagnosis: which calls it takes, and what it measures of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import cast

from lrnde_core._call import AbstractCall
from lrnde_core._capabilities import Capability
from lrnde_core._claims import NativeFunction
from lrnde_core._diagnosis._diagnosis import Diagnosis, Finding, FindingKind
from lrnde_core._diagnosis._examined import Examined, NotMeasuredError, mean_cost
from lrnde_core._diagnosis._measurements import (
    backward_pass,
    costly_sample,
    fixed_steps,
    looser_tolerance,
    rejected_steps,
    rounding,
    warm_up,
)
from lrnde_core._errors import CapabilityError, InputError, InputTypeError, described
from lrnde_core._plans._calls import CalibrationCall, bind_call, find_freezer, find_solver
from lrnde_core._plans._contract import AbstractFreezer, mean_known, without_a_trace
from lrnde_core._plans._errors import check_bound
from lrnde_core._report import Report
from lrnde_core._solver import Solver


def diagnose(
    solve: NativeFunction,
    calls: CalibrationCall | Sequence[CalibrationCall],
    *,
    report: Report | Sequence[Report] | None = None,
    error: float = 1e-2,
    batched: bool = True,
    adapter: str | None = None,
) -> Diagnosis:
    """Measure where the steps of an adaptive solve go, and what would save some of them.

        solve = functools.partial(odeint, rtol=1e-5, atol=1e-5)
        print(lrnde.diagnose(solve, (func, y0, t)))

    - `solve`: the native call with its tolerances, such as a `functools.partial` of `torchdiffeq.odeint`.
    - `calls`: one call of it, as a tuple of positional or a mapping of keyword arguments, or a list of calls.
    - `report`: of a training solve by an adjoint, after its backward pass; for several solves, a list.
    - `error`: the error of fixed steps that would be acceptable, as in `freeze`.
    - `batched`: whether the first axis of every array of the state counts samples.
    - `adapter`: as in `regularize`.

    Solves without gradient, and nothing of yours is changed, as in `freeze`.

    **Findings.** The calls are solved again with one thing changed, and what that costs is counted: about ten solves of
    each call, and four for each halving of a batch. A change that saves less than a tenth is no finding.

    - `WARM_UP`: the first step is the one that first reached half of the median step.
    - `REJECTED_STEPS`: at least a fifth of all attempts; counted, with nothing changed.
    - `COSTLY_SAMPLE`: without it, the most expensive of `calls` is cheaper. It is found by halving the batch again and
      again, and keeping the more expensive half.
    - `ROUNDING`: the tolerance is below the rounding of the dtype at the size of the states.
    - `TOLERANCE`: 10 and 100 times rtol and atol, with the largest change of a sample.
    - `FIXED_STEPS`: the cheapest of the default candidates of `CheckedSteps` within `error` of the solution.
    - `BACKWARD_PASS`: it takes more evaluations than the forward pass; counted in `report`.

    Raises `CapabilityError` for stochastic equations, for solves that an event ends, and for adapters that cannot
    freeze, since the same is needed of them; `InputError` or `InputTypeError` for calls that cannot be solved.
    """
    check_bound(error)
    solver = find_solver(solve, adapter, "diagnose the native call, with the tolerances of training")
    bound = _bound(solver, calls)
    freezer = find_freezer(solver, Capability.FREEZE, AbstractFreezer)
    forms = [freezer.read(call, is_batched=batched) for call in bound]
    with without_a_trace(freezer, bound):
        pairs = zip(bound, forms, strict=True)
        examined = [Examined.of(freezer, call, form, is_batched=batched) for call, form in pairs]
        if len({each.unit for each in examined}) > 1:
            raise InputError("Some of `calls` show their evaluations and others hide them; diagnose them apart.")
        return _diagnosis(examined, solver, report, error)


def _diagnosis(
    examined: Sequence[Examined], solver: Solver, report: Report | Sequence[Report] | None, error: float
) -> Diagnosis:
    measurements: dict[FindingKind, Callable[[], Iterator[Finding]]] = {
        FindingKind.WARM_UP: lambda: warm_up(examined),
        FindingKind.REJECTED_STEPS: lambda: rejected_steps(examined),
        FindingKind.COSTLY_SAMPLE: lambda: costly_sample(examined),
        FindingKind.ROUNDING: lambda: rounding(examined, solver),
        FindingKind.TOLERANCE: lambda: looser_tolerance(examined),
        FindingKind.FIXED_STEPS: lambda: fixed_steps(examined, error),
    }
    if report is not None:
        measurements[FindingKind.BACKWARD_PASS] = lambda: backward_pass(report)
    findings: list[Finding] = []
    not_measured: list[str] = []
    for kind, measure in measurements.items():
        try:
            findings += measure()
        except (NotMeasuredError, CapabilityError) as reason:
            not_measured.append(f"{kind.value}: {reason}")
    own = [each.own for each in examined]
    return Diagnosis(
        examined[0].unit,
        mean_cost(own),
        mean_known(solved.num_accepted for solved in own),
        mean_known(solved.num_rejected for solved in own),
        len(own),
        tuple(findings),
        tuple(not_measured),
    )


def _bound(solver: Solver, calls: object) -> list[AbstractCall]:
    """The calls, bound. Raises `InputError` or `InputTypeError` unless there is one, `CapabilityError` for noise."""
    if isinstance(calls, tuple | Mapping):
        bound = [bind_call(solver, cast("CalibrationCall", calls), "calls")]
    elif isinstance(calls, list):
        items: list[object] = calls  # pyright: ignore[reportUnknownVariableType]
        bound = [bind_call(solver, item, f"calls[{index}]") for index, item in enumerate(items)]
    else:
        raise InputTypeError(
            "`calls` must be a call of `solve`, as a tuple of positional or a mapping of keyword arguments such as "
            f"`(func, y0, t)`, or a list of calls, not {described(calls)}."
        )
    if not bound:
        raise InputError("`calls` is empty; give at least one call of `solve`, such as `(func, y0, t)`.")
    if any(call.facts.is_stochastic for call in bound):
        raise CapabilityError(
            "The steps of a stochastic equation follow its path, so a solve with something changed takes other ones by "
            "chance. `report.num_accepted`, `num_rejected` and `num_forced` count them; `lrnde.freeze_sde` finds fixed "
            "ones."
        )
    return bound
