"""One native call of `odeint_taylor`: its solve, and its kept steps as the core takes them."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor

from lrnde_core import (
    AbstractCall,
    AcceptedStep,
    Capability,
    Counts,
    DrawnStep,
    InputTypeError,
    MethodFacts,
    Record,
    Recording,
    RecordingPlan,
    Run,
)
from lrnde_taylor._problem import TaylorProblem

_UNSUPPORTED = (
    (
        Capability.STIFFNESS_ESTIMATE,
        "a Taylor expansion has no two stages to compare; use `ErrorEstimate(rtol=, atol=)`, of the remainder.",
    ),
    (Capability.RESTARTED_STEP, 'fixed steps have no tolerance to choose a step by; use `local_start="step"`.'),
    (Capability.RUNNING_COST, "a Taylor expansion has no quadrature rule; use `AllSteps()`."),
)


@final
@dataclasses.dataclass(frozen=True, eq=False)
class TaylorCall(AbstractCall):
    """A call of `odeint_taylor`; `given`: its arguments by name, defaults filled in."""

    native: Callable[..., Tensor]
    given: Mapping[str, Any]
    facts: MethodFacts

    @property
    def y0(self) -> Tensor:
        """The initial state."""
        return self.given["y0"]

    def run(self, plan: RecordingPlan | None) -> Run:
        watch = _Watch(self.given["func"], self.given["on_step"], plan, self.given["t"])
        result = self.native(**{**self.given, "func": watch.field, "on_step": watch.on_step})
        watch.is_open = False
        counts = Counts(watch.num_evaluations, watch.num_steps, watch.num_steps, 0)
        if plan is None:
            return Run(result, counts, None)
        given, y0 = self.given, self.y0
        problem = TaylorProblem(given["func"], given["midpoint"], given["order"], y0.dtype, y0.device)
        records = [self._record(kept, watch, plan) for kept in watch.kept]
        return Run(result, counts, Recording(problem, records, watch.num_steps > 0, num_evaluated=len(records)))

    def _record(self, kept: "_Kept | None", watch: "_Watch", plan: RecordingPlan) -> Record:
        assert kept is not None  # there are two output times, so a step was taken
        size = abs(kept.h)
        return Record(
            t=kept.t,
            h=kept.h,
            y=(kept.y if plan.keeps_gradient else kept.y.detach(),),
            carry=None,
            remaining=watch.end - kept.t,
            drawn=DrawnStep(kept.elapsed, size, size, watch.duration, watch.num_steps, is_end_known=True),
        )


@dataclasses.dataclass(frozen=True, eq=False)
class _Kept:
    t: float
    h: float
    elapsed: float
    y: Tensor


class _Watch:
    """What is seen of one forward solve."""

    def __init__(self, field: Any, on_step: Any, plan: RecordingPlan | None, t: Any) -> None:
        self._field = field
        self._on_step = on_step
        self._plan = plan
        times = torch.as_tensor(t).detach()
        self._start, self.end = float(times[0]), float(times[-1])
        self.duration = abs(self.end - self._start)
        self.is_open = True
        self.num_evaluations = 0
        self.num_steps = 0
        self.kept: list[_Kept | None] = []
        if plan is not None and not plan.sampler.keeps_every_step:
            assert isinstance(plan.draws, Sequence)
            self.kept = [None] * len(plan.draws)

    def field(self, t: Tensor, y: Tensor) -> Tensor:
        self.num_evaluations += self.is_open
        derivative: Tensor = self._field(t, y)
        return derivative

    def on_step(self, t: Tensor, h: Tensor, y: Tensor) -> None:
        if self._on_step is not None:
            self._on_step(t, h, y)
        self.num_steps += 1
        if self._plan is None:
            return
        start, size = t.item(), h.item()
        kept = _Kept(start, size, abs(start - self._start), y)
        if self._plan.sampler.keeps_every_step:
            self.kept.append(kept)
            return
        step = AcceptedStep(self.num_steps, kept.elapsed, abs(size), self.duration)
        assert isinstance(self._plan.draws, Sequence)
        for sample, draw in enumerate(self._plan.draws):
            if self._plan.sampler.keep(draw, step):
                self.kept[sample] = kept


def read_call(native: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> TaylorCall:
    """Read the arguments of a native call."""
    bound = inspect.signature(native).bind(*args, **kwargs)
    bound.apply_defaults()
    given = dict(bound.arguments)
    y0, order = given["y0"], given["order"]
    if not isinstance(y0, Tensor):
        raise InputTypeError(f"`y0` must be a tensor, not {type(y0).__name__}.")
    facts = MethodFacts(
        name=f"taylor{order}",
        order=order + 2,
        error_order=float(order + 1),
        stability_interval=None,
        evaluations_per_step=2 * order + 1,
        evaluations_per_advance=2 * order + 1,
        needs_tolerances=True,
        unsupported=_UNSUPPORTED,
    )
    return TaylorCall(native, given, facts)
