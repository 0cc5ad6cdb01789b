"""One native call of `odeint_taylor`: its solve, and its kept steps as the core takes them."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import final

from torch import Tensor

from lrnde_core import (
    AbstractCall,
    Counts,
    DrawnStep,
    Leaves,
    MethodFacts,
    NativeArguments,
    NativeFunction,
    NativeKeywords,
    Record,
    Recording,
    RecordingPlan,
    Run,
    State,
)
from lrnde_taylor._problem import TaylorProblem
from lrnde_taylor._recorder import Recorder, Step
from lrnde_taylor.odeint import check_arguments
from lrnde_torch import check_probes


@final
@dataclasses.dataclass(frozen=True, eq=False)
class TaylorCall(AbstractCall):
    """A call of `odeint_taylor`; `given`: its arguments by name, defaults filled in."""

    native: Callable[..., Tensor]
    given: NativeKeywords
    facts: MethodFacts

    @property
    def y0(self) -> Tensor:
        """The initial state."""
        return self.given["y0"]

    def run(self, plan: RecordingPlan | None) -> Run:
        given, y0 = self.given, self.y0
        recorder = Recorder(given["func"], given["on_step"], plan, given["t"])
        result = self.native(**{**given, "func": recorder.field, "on_step": recorder.on_step})
        counts = Counts(recorder.num_evaluations, recorder.num_steps, recorder.num_steps, 0)
        if plan is None:
            return Run(result, counts, None)
        problem = TaylorProblem(given["func"], given["midpoint"], given["order"], y0.dtype, y0.device)
        steps = recorder.kept
        assert steps is not None  # a plan was given
        nothing = Step(recorder.start, 0.0, y0, None)
        records = [
            _record(
                problem,
                nothing if kept is None else kept.step,
                steps.drawn(kept, 0.0 if kept is None else kept.size),
                end=recorder.end,
                keeps_gradient=plan.keeps_gradient,
            )
            for kept in steps.kept
        ]
        is_valid, num_reused = recorder.num_steps > 0, sum(record.estimate is not None for record in records)
        return Run(result, counts, Recording(problem, records, is_valid, num_reused, num_evaluated=len(records)))

    def check_probes(self, probes: State) -> Leaves:
        return (check_probes(probes, self.y0),)


def _record(problem: TaylorProblem, step: Step, drawn: DrawnStep, *, end: float, keeps_gradient: bool) -> Record:
    return Record(
        t=step.t,
        h=step.h,
        y=(step.y if keeps_gradient else step.y.detach(),),
        carry=None,
        remaining=end - step.t,
        drawn=drawn,
        estimate=None if step.expansion is None else problem.estimate(step.expansion),
    )


def read_call(native: NativeFunction, args: NativeArguments, kwargs: NativeKeywords) -> TaylorCall:
    """Read the arguments of a native call. Raises the errors that the native call would."""
    bound = inspect.signature(native).bind(*args, **kwargs)
    bound.apply_defaults()
    given = dict(bound.arguments)
    order = given["order"]
    check_arguments(given["y0"], given["t"], order, given["num_steps"])
    facts = MethodFacts(
        name=f"taylor{order}",
        order=order + 2,
        error_order=float(order + 1),
        stability_interval=None,
        # Two expansions, one at the start and one at the midpoint.
        evaluations_per_step=2,
        evaluations_per_advance=2,
        is_adaptive=False,
        unsupported=(),  # what no call supports the adapter declares
    )
    return TaylorCall(native, given, facts)
