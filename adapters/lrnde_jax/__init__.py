"""What the JAX adapters share: random draws, the guarded evaluation of the penalty."""

from lrnde_jax._evaluate import evaluate_samples, real_dtype
from lrnde_jax._random import check_uniforms, draw_uniforms

__all__ = ["check_uniforms", "draw_uniforms", "evaluate_samples", "real_dtype"]
