"""The base class of JAX adapters: their draws, and their evaluation of kept steps."""

from collections.abc import Sequence
from typing import ClassVar

import jax.numpy as jnp

from lrnde_core import AbstractAdapter, Array, Draw, RandomSource, Recording, RecordingPlan, Sample, Scalar
from lrnde_jax._evaluate import evaluate_samples, warn_if_unresolved
from lrnde_jax._random import check_uniforms, draw_uniforms

NO_COLLECT = "reports collected under `jax.jit` leak tracers; use the report that the call returns."
"""The reason against `Capability.COLLECT`."""


class AbstractJaxAdapter(AbstractAdapter):
    """An adapter whose recordings hold one `Record` of arrays, as `evaluate_samples` takes it, or the added-up cost.

    Subclasses write `capabilities`, `bind` and `zero_penalty`. The random argument is `key`.
    """

    random_argument: ClassVar[str] = "key"

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
