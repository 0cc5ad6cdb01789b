"""The reference adapter."""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, ClassVar, final

import numpy as np

from lrnde_conformance._reference._dual import Dual, detach, plain
from lrnde_conformance._reference._problem import ReferenceProblem, as_dual, tableau
from lrnde_conformance._reference._solver import ADAPTIVE, STOCHASTIC, TABLEAUS
from lrnde_core import (
    AbstractAdapter,
    AbstractCall,
    AcceptedStep,
    Capabilities,
    Capability,
    CapabilityError,
    Counts,
    Draw,
    DrawnStep,
    InputError,
    InputTypeError,
    LocalPenalty,
    MethodFacts,
    Record,
    Recording,
    RecordingPlan,
    Run,
    Sample,
)


@final
@dataclasses.dataclass(frozen=True, eq=False)
class ReferenceCall(AbstractCall):
    """A call of `integrate`. `settings`: its keyword arguments."""

    native: Callable[..., Any]
    field: Any
    y0: Any
    ts: tuple[float, ...]
    settings: Mapping[str, Any]
    facts: MethodFacts

    def run(self, plan: RecordingPlan | None) -> Run:
        recorder = _Recorder(self.field, self.settings.get("diffusion"), plan, self.ts[0], self.ts[-1])
        settings = {**self.settings, "observe": recorder.observe}
        if recorder.diffusion is not None:
            settings["diffusion"] = recorder.count_diffusion
        result = self.native(recorder.count_drift, self.y0, self.ts, **settings)
        is_stochastic = recorder.diffusion is not None
        counts = Counts(
            nfe=recorder.num_drift + recorder.num_diffusion,
            num_steps=recorder.num_steps,
            num_accepted=recorder.num_accepted,
            num_rejected=recorder.num_steps - recorder.num_accepted,
            nfe_diffusion=recorder.num_diffusion if is_stochastic else None,
        )
        if plan is None:
            return Run(result, counts, None)
        is_adaptive = self.facts.name in ADAPTIVE
        problem = ReferenceProblem(
            self.facts.name,
            self.field,
            self.settings.get("diffusion"),
            self.settings.get("path"),
            self.settings.get("rtol", 1e-3) if is_adaptive else None,
            self.settings.get("atol", 1e-6) if is_adaptive else None,
        )
        records = [self._record(kept, recorder, keeps_gradient=plan.keeps_gradient) for kept in recorder.kept]
        return Run(result, counts, Recording(problem, records, recorder.num_accepted > 0))

    def _record(self, kept: tuple[float, float, Any] | None, recorder: "_Recorder", *, keeps_gradient: bool) -> Record:
        t, h, y = (self.ts[0], 0.0, self.y0) if kept is None else kept
        drawn = DrawnStep(
            elapsed=abs(t - self.ts[0]),
            size=abs(h),
            measure=abs(h),
            duration=abs(self.ts[-1] - self.ts[0]),
            num_accepted=recorder.num_accepted,
            is_end_known=True,
        )
        return Record(t, h, (as_dual(y) if keeps_gradient else detach(y),), None, self.ts[-1] - t, drawn)


class _Recorder:
    """Counts evaluations and keeps the drawn steps of one solve."""

    def __init__(self, field: Any, diffusion: Any, plan: RecordingPlan | None, start: float, end: float) -> None:
        self._field = field
        self.diffusion = diffusion
        self._plan = plan
        self._start = start
        self._duration = abs(end - start)
        self.num_drift = 0
        self.num_diffusion = 0
        self.num_steps = 0
        self.num_accepted = 0
        self._draws: Sequence[Draw] = ()
        if plan is not None:
            assert isinstance(plan.draws, Sequence)
            self._draws = plan.draws
        self.kept: list[tuple[float, float, Any] | None] = [None] * len(self._draws)

    def count_drift(self, t: Any, y: Any) -> Any:
        self.num_drift += 1
        return self._field(t, y)

    def count_diffusion(self, t: Any, y: Any) -> Any:
        self.num_diffusion += 1
        return self.diffusion(t, y)

    def observe(self, t: float, h: float, y: Any, is_accepted: bool) -> None:
        self.num_steps += 1
        if not is_accepted:
            return
        self.num_accepted += 1
        step = AcceptedStep(self.num_accepted, abs(t - self._start), abs(h), self._duration)
        for place, draw in enumerate(self._draws):
            assert self._plan is not None
            if self._plan.sampler.keep(draw, step):
                self.kept[place] = (t, h, y)


@final
class ReferenceAdapter(AbstractAdapter):
    """`lrnde_conformance._reference.integrate`, in plain numpy with derivatives by `Dual`s."""

    capabilities: ClassVar[Capabilities] = Capabilities.declare(
        {
            Capability.IMPLICIT_ODE: "the solver has no implicit method.",
            Capability.CONTROLLED_ODE: "the solver has no controls; write them into the field.",
            Capability.EVENTS: "the solver has no events.",
            Capability.GENERAL_NOISE: "the solver's noise is elementwise.",
            Capability.FRESH_INCREMENT: "the solver is given its Brownian path and makes no other.",
            Capability.BATCHED_SAMPLES: "numpy has no vmap; leave `batched=False`.",
            Capability.CUDA: "numpy runs on the CPU.",
            Capability.JIT: "numpy is not compiled.",
            Capability.VMAP: "numpy has no vmap.",
            Capability.TREE_STATE: "a state is one array; join yours.",
        }
    )
    random_argument: ClassVar[str] = "rng"

    def bind(self, solve: str, native: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> ReferenceCall:
        del solve
        return _bind(native, *args, **kwargs)

    def draw(self, source: Any, num_samples: int) -> Any:
        if source is None:
            msg = "The penalty needs a random number and none was given: pass rng= or draw=, or penalize=False."
            raise InputTypeError(msg)
        if not isinstance(source, np.random.Generator):
            msg = f"`rng` must be a `numpy.random.Generator`, not {source!r}."
            raise InputTypeError(msg)
        return source.random(num_samples)

    def check_draw(self, draw: Any, num_samples: int) -> list[Draw]:
        uniforms = np.asarray(draw, dtype=float)
        if uniforms.shape != (num_samples,):
            msg = f"`draw` has shape {uniforms.shape}; `num_samples={num_samples}` needs shape ({num_samples},)."
            raise InputError(msg)
        if np.any(~((uniforms >= 0) & (uniforms < 1))):
            msg = f"`draw` holds {uniforms}; uniforms must be at least 0 and below 1."
            raise InputError(msg)
        return [Draw(float(uniform), math.floor(float(uniform) * 2**24)) for uniform in uniforms]

    def evaluate(
        self, penalty: LocalPenalty, recording: Recording, draws: Any, *, is_batched: bool
    ) -> tuple[Any, Sample]:
        del is_batched
        records: Sequence[Record] = recording.records
        dtype = plain(records[0].y[0]).dtype
        zero = Dual(np.zeros((), dtype))
        if not recording.is_valid:
            zeros, times = np.zeros(len(records)), np.array([record.t for record in records])
            needs = penalty.heuristic.needs
            return zero, Sample(
                t=times,
                h=zeros,
                weight=zeros,
                error_ratio=zeros if Capability.ERROR_ESTIMATE in needs else None,
                stiffness=zeros if Capability.STIFFNESS_ESTIMATE in needs else None,
            )
        pairs = zip(draws, records, strict=True)
        # A field may draw from numpy's global generator, as dropout does.
        with _random_state_kept(), np.errstate(all="ignore"):
            terms = [penalty(recording.problem, draw, record) for draw, record in pairs]
            value = sum(term.cost for term in terms) * (1.0 / len(terms))
        columns = zip(*(term.sample for term in terms), strict=True)
        sample = Sample(*(None if each[0] is None else np.array([plain(e) for e in each]) for each in columns))
        return value if np.isfinite(plain(value)) else zero, sample

    def zero_penalty(self, call: AbstractCall) -> Any:
        assert isinstance(call, ReferenceCall)
        return Dual(np.zeros((), plain(call.y0).dtype))


@contextlib.contextmanager
def _random_state_kept() -> Generator[None]:
    state = np.random.get_state()
    try:
        yield
    finally:
        np.random.set_state(state)


def _bind(native: Any, field: Any, y0: Any, ts: Any, **settings: Any) -> ReferenceCall:
    if not isinstance(y0, Dual | np.ndarray):
        reason = dict(ReferenceAdapter.capabilities.unsupported)[Capability.TREE_STATE]
        msg = f"`reference` does not support {Capability.TREE_STATE.value}: {reason}"
        raise CapabilityError(msg)
    times = tuple(float(t) for t in ts)
    return ReferenceCall(native, field, y0, times, settings, method_facts(settings.get("method", "dopri5")))


def method_facts(method: str) -> MethodFacts:
    """The facts of a method of the reference solver; it refuses unknown ones itself."""
    unsupported: dict[Capability, str] = {}
    if method not in ADAPTIVE or method in STOCHASTIC:
        unsupported[Capability.RESTARTED_STEP] = 'only adaptive ordinary solves restart; use `local_start="step"`.'
    if method in STOCHASTIC:
        unsupported[Capability.STIFFNESS_ESTIMATE] = "stochastic methods have no such pair; use `ErrorEstimate()`."
        unsupported[Capability.POINT_INSIDE_STEP] = 'inside a step the path is not known; use `at="step"`.'
        strong = 1.0
        # The whole step and two halves: one drift each, and one diffusion or two.
        per_step = 3 * (3 if method == "euler_heun" else 2)
        return MethodFacts(
            method, 1, strong + 0.5, None, per_step, per_step, method not in ADAPTIVE, tuple(unsupported.items())
        )
    known = tableau(method) if method in TABLEAUS else tableau("dopri5")
    order = TABLEAUS[method].order if method in TABLEAUS else 1
    if not known.has_stiffness_pair:
        unsupported[Capability.STIFFNESS_ESTIMATE] = f"`{method}` has no two stages at its end; use `dopri5`."
    is_doubled = known.error is None
    return MethodFacts(
        name=method,
        order=order,
        error_order=float(order + is_doubled),
        stability_interval=known.real_stability_interval if known.has_stiffness_pair else None,
        evaluations_per_step=3 * known.num_stages - 1 if is_doubled else known.num_stages,
        evaluations_per_advance=known.num_stages - known.is_last_stage_solution,
        needs_tolerances=is_doubled,
        unsupported=tuple(unsupported.items()),
    )
