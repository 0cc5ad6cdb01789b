"""What `lrnde_core.freeze_sde` asks of the reference solver."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, final

from lrnde_conformance._reference._call import ReferenceCall
from lrnde_conformance._reference._methods import ADAPTIVE
from lrnde_core import AbstractCall, AbstractSDEFreezer, CapabilityError, NativeSolve, SDEPlan


@final
class ReferenceSDEFreezer(AbstractSDEFreezer):
    """Freezes `integrate` of stochastic equations with the methods that take fixed steps."""

    def read(self, call: AbstractCall) -> tuple[float, float]:
        call = _reference(call)
        if call.facts.name in ADAPTIVE:
            raise CapabilityError(f"`{call.facts.name}` takes no fixed steps. Use `euler_maruyama`.")
        return call.ts[0], call.ts[-1]

    def isolated(self, calls: Sequence[AbstractCall]) -> contextlib.AbstractContextManager[None]:
        del calls
        return contextlib.nullcontext()  # what numpy has for a state is global

    def copied(self, call: AbstractCall) -> ReferenceCall:
        return _reference(call).on_copy()

    def solve(self, call: AbstractCall) -> NativeSolve:
        run = call.run(None)
        return NativeSolve(run.result, run.counts.nfe)

    def with_plan(self, call: AbstractCall, plan: SDEPlan) -> ReferenceCall:
        call = _reference(call)
        return dataclasses.replace(call, settings={**call.settings, "first_step": _size(plan)})

    def runner(self, call: AbstractCall) -> Callable[[], None]:
        call = _reference(call)
        return lambda: call.native(call.field, call.y0, call.ts, **call.settings)

    def frozen(self, solve: functools.partial[Any], plan: SDEPlan) -> Callable[..., Any]:
        def frozen(field: Any, y0: Any, ts: Any, **settings: Any) -> Any:
            plan.times.check(float(ts[0]), float(ts[-1]))
            return solve(field, y0, ts, **{**settings, "first_step": _size(plan)})

        return frozen


def _size(plan: SDEPlan) -> float:
    return abs(plan.t1 - plan.t0) / plan.num_steps


def _reference(call: AbstractCall) -> ReferenceCall:
    assert isinstance(call, ReferenceCall)
    return call
