"""A complete adapter of a toy solver in plain numpy, to test the core with no backend.

The solver takes the steps it is told to. It has no autodiff, so its penalty is a number; all else is as in a real one.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, final

import numpy as np

from lrnde_core import (
    SDE_CAPABILITIES,
    AbstractAdapter,
    AbstractCall,
    AcceptedStep,
    AdapterSpec,
    Capabilities,
    Capability,
    Counts,
    Draw,
    DrawnStep,
    ExplicitTableau,
    InputError,
    MethodFacts,
    Record,
    Recording,
    RecordingPlan,
    Run,
    Sample,
    explicit_advance,
    hookimpl,
)
from tests.core.array_problem import ArrayProblem
from tests.core.tableaus import BOSH3, DOPRI5

_METHODS: dict[str, tuple[int, ExplicitTableau]] = {"dopri5": (5, DOPRI5), "bosh3": (3, BOSH3)}


def integrate(field: Callable[[Any, Any], Any], y0: Any, times: Sequence[float], *, method: str = "dopri5") -> Any:
    """The state at the end of `times`, reached by one step from each time to the next."""
    problem = ArrayProblem(field, _METHODS[method][1])
    y = (y0,)
    for t, end in itertools.pairwise(times):
        y = explicit_advance(problem, problem.tableau, t, end - t, y)
    return y[0]


def integrate_twice(
    field: Callable[[Any, Any], Any], y0: Any, times: Sequence[float], *, method: str = "dopri5"
) -> Any:
    """Like `integrate`, but returns the state twice."""
    y = integrate(field, y0, times, method=method)
    return y, y


@final
@dataclasses.dataclass(frozen=True)
class NumpyCall(AbstractCall):
    native: Any
    field: Callable[[Any, Any], Any]
    y0: Any
    times: tuple[float, ...]
    method: str

    @property
    def facts(self) -> MethodFacts:  # pyright: ignore[reportIncompatibleVariableOverride]
        order, tableau = _METHODS[self.method]
        has_pair = tableau.has_stiffness_pair
        reason = "it has no two stages at the end of a step; use dopri5."
        return MethodFacts(
            name=self.method,
            order=order,
            error_order=float(order),
            stability_interval=tableau.real_stability_interval if has_pair else None,
            evaluations_per_step=tableau.num_stages,
            evaluations_per_advance=tableau.num_stages - 1,
            is_adaptive=False,
            unsupported=() if has_pair else ((Capability.STIFFNESS_ESTIMATE, reason),),
        )

    def run(self, plan: RecordingPlan | None) -> Run:
        result = self.native(self.field, self.y0, self.times, method=self.method)
        tableau = _METHODS[self.method][1]
        num_steps = len(self.times) - 1
        counts = Counts(num_steps * (tableau.num_stages - 1), num_steps, num_steps, 0)
        if plan is None:
            return Run(result, counts, None)
        problem = ArrayProblem(self.field, tableau)
        assert not isinstance(plan.draws, Draw)
        records = [self._record(problem, plan, draw) for draw in plan.draws]
        return Run(result, counts, Recording(problem, records, num_steps > 0))

    def _record(self, problem: ArrayProblem, plan: RecordingPlan, draw: Draw) -> Record:
        t0, t1 = self.times[0], self.times[-1]
        duration = abs(t1 - t0)
        record = Record(t0, 0.0, (self.y0,), None, t1 - t0, DrawnStep(0.0, 0.0, 0.0, duration, 0, is_end_known=True))
        y = (self.y0,)
        for index, (t, end) in enumerate(itertools.pairwise(self.times), start=1):
            step = AcceptedStep(index, abs(t - t0), abs(end - t), duration)
            if plan.sampler.keep(draw, step):
                drawn = DrawnStep(step.elapsed, step.size, step.size, duration, 0, is_end_known=True)
                record = Record(t, end - t, y, None, t1 - t, drawn)
            y = explicit_advance(problem, problem.tableau, t, end - t, y)
        return record._replace(drawn=record.drawn._replace(num_accepted=len(self.times) - 1))


@final
class NumpyAdapter(AbstractAdapter):
    capabilities: ClassVar[Capabilities] = Capabilities.declare(
        {
            Capability.POINT_HEURISTICS: "numpy has no forward-mode autodiff; use a heuristic of the step.",
            Capability.FULL_GRADIENT: "numpy has no autodiff.",
            Capability.BATCHED_SAMPLES: "numpy has no vmap.",
            **dict.fromkeys(SDE_CAPABILITIES, "this solver is for ordinary differential equations."),
            Capability.FREEZE: "this solver takes its steps in tests alone.",
        }
    )
    random_argument: ClassVar[str] = "rng"

    def bind(self, solve: str, native: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> NumpyCall:
        return _bind(native, *args, **kwargs)

    def draw(self, source: Any, num_samples: int) -> Any:
        if source is None:
            raise InputError("`rng` or `draw` is needed.")
        return source.random(num_samples)

    def check_draw(self, draw: Any, num_samples: int) -> list[Draw]:
        if np.shape(draw) != (num_samples,):
            raise InputError(f"`draw` has shape {np.shape(draw)}; `num_samples={num_samples}` needs ({num_samples},).")
        return [Draw(float(uniform), math.floor(float(uniform) * 2**24)) for uniform in draw]

    def evaluate(self, plan: RecordingPlan, recording: Recording) -> tuple[Any, Sample]:
        penalty, draws = plan.penalty, plan.draws
        assert isinstance(draws, list)
        if not recording.is_valid:
            zeros = np.zeros(len(draws))
            return 0.0, Sample(zeros, zeros, zeros, zeros, None)
        terms = [penalty(recording.problem, d, r) for d, r in zip(draws, recording.records, strict=True)]
        value = np.mean([term.cost for term in terms])
        columns = zip(*(term.sample for term in terms), strict=True)
        sample = Sample(*(None if column[0] is None else np.stack(column) for column in columns))
        return value if np.isfinite(value) else 0.0, sample

    def zero_penalty(self, call: AbstractCall) -> Any:
        return 0.0


def _bind(native: Any, field: Any, y0: Any, times: Any, *, method: str = "dopri5") -> NumpyCall:
    return NumpyCall(native, field, y0, tuple(times), method)


@hookimpl
def lrnde_register_adapters(register: Callable[[AdapterSpec], None]) -> None:
    register(
        AdapterSpec(
            name="toy",
            target="tests.core.numpy_adapter:NumpyAdapter",
            solves=("tests.core.numpy_adapter:integrate", "tests.core.numpy_adapter:integrate_twice"),
            requires=("numpy>=1.26",),
            install="numpy",
            api_version=(2, 0),
        )
    )
