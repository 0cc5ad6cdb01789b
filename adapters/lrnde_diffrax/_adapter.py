"""The adapter for `diffrax.diffeqsolve`."""

from collections.abc import Sequence
from typing import ClassVar, final

import jax.numpy as jnp

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
)
from lrnde_diffrax._arguments import read_arguments
from lrnde_diffrax._call import DiffraxCall, read_call
from lrnde_diffrax._stepped import SteppedCall
from lrnde_jax import check_uniforms, draw_uniforms, evaluate_samples, warn_if_unresolved


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
        if recording.cost is None:
            return evaluate_samples(plan, recording)
        warn_if_unresolved(plan, recording.problem, recording.cost.dtype)
        is_defined = jnp.asarray(recording.is_valid, bool) & jnp.isfinite(recording.cost)
        return jnp.where(is_defined, recording.cost, 0.0), None

    def zero_penalty(self, call: AbstractCall) -> Scalar:
        assert isinstance(call, DiffraxCall | SteppedCall)
        native = call.native if isinstance(call, SteppedCall) else call
        return jnp.zeros((), native.arguments.state_dtype)
