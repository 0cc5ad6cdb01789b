"""The reference adapter."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, final

import numpy as np

from lrnde_conformance._backends._dual import Dual, plain
from lrnde_conformance._reference._call import ReferenceCall
from lrnde_conformance._reference._methods import method_facts
from lrnde_conformance._reference._stepped import ReferenceSteppedCall
from lrnde_conformance._reference._steps import STOCHASTIC
from lrnde_core import (
    AbstractAdapter,
    AbstractCall,
    Capabilities,
    Capability,
    CapabilityError,
    Draw,
    InputError,
    InputTypeError,
    PenaltyTerm,
    Record,
    Recording,
    RecordingPlan,
    Sample,
    random_states_kept,
)

_REDUCTIONS: Mapping[str, Callable[[list[Any]], Any]] = {
    "mean": lambda costs: sum(costs) * (1.0 / len(costs)),
    "sum": sum,
    "max": lambda costs: max(costs, key=plain),
}


@final
class ReferenceAdapter(AbstractAdapter):
    """`lrnde_conformance._reference.integrate`, in plain numpy with derivatives by `Dual`s."""

    capabilities: ClassVar[Capabilities] = Capabilities.declare(
        {
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

    def evaluate(self, plan: RecordingPlan, recording: Recording) -> tuple[Any, Sample]:
        penalty, draws = plan.penalty, plan.draws
        assert isinstance(draws, list)  # as `check_draw` makes it
        records: Sequence[Record] = recording.records
        dtype = plain(records[0].y[0]).dtype
        zero = Dual(np.zeros((), dtype))
        if not recording.is_valid:
            zeros, times = np.zeros(len(records)), np.array([record.t for record in records])
            return zero, Sample(
                t=times,
                h=zeros,
                weight=zeros,
                error_ratio=zeros if penalty.reads_error_ratio else None,
                stiffness=zeros if penalty.reads_stiffness else None,
            )
        draws = draws * len(records) if penalty.sampler.keeps_every_step else draws
        pairs = zip(draws, records, strict=True)
        # A field may draw from global generators, as dropout does.
        with random_states_kept(), np.errstate(all="ignore"):
            terms = [penalty(recording.problem, draw, record, plan.probes) for draw, record in pairs]
        terms = [
            term if np.isfinite(plain(term.cost)) else PenaltyTerm(zero, term.sample._replace(weight=0.0))
            for term in terms
        ]
        columns = zip(*(term.sample for term in terms), strict=True)
        sample = Sample(*(None if each[0] is None else np.array([plain(e) for e in each]) for each in columns))
        return _REDUCTIONS[penalty.sampler.reduction]([term.cost for term in terms]), sample

    def zero_penalty(self, call: AbstractCall) -> Any:
        native = call.native if isinstance(call, ReferenceSteppedCall) else call
        assert isinstance(native, ReferenceCall)
        return Dual(np.zeros((), plain(native.y0).dtype))


def _bind(native: Any, field: Any, y0: Any, ts: Any, **settings: Any) -> ReferenceCall:
    if not isinstance(y0, Dual | np.ndarray):
        reason = dict(ReferenceAdapter.capabilities.unsupported)[Capability.TREE_STATE]
        msg = f"`reference` does not support {Capability.TREE_STATE.value}: {reason}"
        raise CapabilityError(msg)
    times = tuple(float(t) for t in ts)
    method, path = settings.get("method", "dopri5"), settings.get("path")
    is_general = method in STOCHASTIC and path is not None and np.shape(path(times[0])) != y0.shape
    facts = method_facts(method, is_controlled=path is not None, is_general=is_general)
    return ReferenceCall(native, field, y0, times, settings, facts)
