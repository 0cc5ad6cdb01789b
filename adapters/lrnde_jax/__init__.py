"""The shared parts of JAX adapters: random draws, derivatives along a solution, the guarded penalty evaluation."""

from lrnde_jax._evaluate import evaluate_samples, real_dtype
from lrnde_jax._probes import check_probes
from lrnde_jax._random import check_uniforms, draw_uniforms
from lrnde_jax._taylor import solution_derivative, solution_derivatives
from lrnde_jax._types import TreeStructure

__all__ = [
    "TreeStructure",
    "check_probes",
    "check_uniforms",
    "draw_uniforms",
    "evaluate_samples",
    "real_dtype",
    "solution_derivative",
    "solution_derivatives",
]
