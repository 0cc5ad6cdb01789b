"""The adapter for `diffrax.diffeqsolve`."""

from collections.abc import Sequence
from typing import ClassVar, final

import jax.core
import jax.numpy as jnp
import numpy as np

from lrnde_core import (
    AbstractAdapter,
    AbstractCall,
    Array,
    Capabilities,
    Capability,
    Draw,
    NativeArguments,
    NativeFunction,
    NativeKeywords,
    RandomSource,
    Recording,
    RecordingPlan,
    Sample,
    Scalar,
    random_states_kept,
    warn_if_unresolved,
)
from lrnde_diffrax._arguments import read_arguments
from lrnde_diffrax._call import DiffraxCall, read_call
from lrnde_jax import check_uniforms, draw_uniforms, evaluate_samples, real_dtype


@final
class DiffraxAdapter(AbstractAdapter):
    """Ordinary, smoothly controlled and stochastic equations, under any of diffrax's adjoints."""

    capabilities: ClassVar[Capabilities] = Capabilities.declare(
        {
            Capability.COLLECT: "reports collected under `jax.jit` leak tracers; use the report that the call returns.",
        }
    )
    random_argument: ClassVar[str] = "key"

    def bind(self, solve: str, native: NativeFunction, args: NativeArguments, kwargs: NativeKeywords) -> AbstractCall:
        del solve
        return read_call(read_arguments(native, args, kwargs))

    def draw(self, source: RandomSource, num_samples: int) -> Array:
        return draw_uniforms(source, num_samples)

    def check_draw(self, draw: Array | Sequence[float], num_samples: int) -> Draw:
        return check_uniforms(draw, num_samples)

    def evaluate(self, plan: RecordingPlan, recording: Recording) -> tuple[Scalar, Sample | None]:
        if any(rtol is None for rtol, _ in plan.penalty.heuristic.tolerances):
            _warn_if_unresolved(recording)
        if recording.cost is not None:
            is_defined = jnp.asarray(recording.is_valid, bool) & jnp.isfinite(recording.cost)
            return jnp.where(is_defined, recording.cost, 0.0), None
        # Tracing a field again repeats its draws in numpy.
        with random_states_kept():
            return evaluate_samples(plan, recording)

    def zero_penalty(self, call: AbstractCall) -> Scalar:
        assert isinstance(call, DiffraxCall)
        return jnp.zeros((), call.arguments.state_dtype)


def _warn_if_unresolved(recording: Recording) -> None:
    problem = recording.problem
    if any(isinstance(value, jax.core.Tracer) for value in (problem.rtol, problem.atol)):
        return
    rtol, atol = (float(np.max(np.asarray(value))) for value in (problem.rtol, problem.atol))
    dtype = real_dtype(recording.records.y) if recording.cost is None else recording.cost.dtype
    warn_if_unresolved(rtol, atol, float(jnp.finfo(dtype).eps), str(dtype))
