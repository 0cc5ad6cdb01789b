"""The shared parts of JAX adapters: random draws, derivatives, the penalty evaluation; for users, `value_and_grad`."""

from lrnde_jax._evaluate import evaluate_samples, real_dtype, warn_if_unresolved
from lrnde_jax._probes import check_probes
from lrnde_jax._random import check_uniforms, draw_uniforms
from lrnde_jax._taylor import solution_derivative, solution_derivatives
from lrnde_jax._types import TreeStructure
from lrnde_jax._value_and_grad import value_and_grad

__all__ = [
    "TreeStructure",
    "check_probes",
    "check_uniforms",
    "draw_uniforms",
    "evaluate_samples",
    "real_dtype",
    "solution_derivative",
    "solution_derivatives",
    "value_and_grad",
    "warn_if_unresolved",
]
