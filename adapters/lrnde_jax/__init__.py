"""The shared parts of JAX adapters: draws, kept steps, derivatives, penalty evaluation; for users, two gradients."""

from lrnde_jax._adapter import NO_COLLECT, AbstractJaxAdapter
from lrnde_jax._evaluate import cost_of_step, evaluate_samples, real_dtype
from lrnde_jax._probes import check_probes
from lrnde_jax._problem import AbstractJaxProblem, add_increments
from lrnde_jax._random import check_uniforms, draw_uniforms
from lrnde_jax._records import SPARE_SIZE, KeptTimes, keep_drawn, record_of_draws, spare_states, where_valid
from lrnde_jax._scanned_steps import Scanned, scan_steps
from lrnde_jax._taylor import solution_derivative, solution_derivatives
from lrnde_jax._types import TreeStructure
from lrnde_jax._value_and_grad import value_and_grad
from lrnde_jax._with_gradient import with_gradient

__all__ = [
    "NO_COLLECT",
    "SPARE_SIZE",
    "AbstractJaxAdapter",
    "AbstractJaxProblem",
    "KeptTimes",
    "Scanned",
    "TreeStructure",
    "add_increments",
    "check_probes",
    "check_uniforms",
    "cost_of_step",
    "draw_uniforms",
    "evaluate_samples",
    "keep_drawn",
    "real_dtype",
    "record_of_draws",
    "scan_steps",
    "solution_derivative",
    "solution_derivatives",
    "spare_states",
    "value_and_grad",
    "where_valid",
    "with_gradient",
]
