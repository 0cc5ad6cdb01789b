"""The shared parts of torch adapters, and, for users, `collect`, `collected`, `PlanHolder` and `WeightHolder`."""

import importlib

from lrnde_core import collect, collected
from lrnde_torch._adapter import AbstractTorchAdapter, warn_if_torch_unresolved
from lrnde_torch._compiling import uncompiled
from lrnde_torch._derivative import (
    FOR_A_PENALTY,
    directional_derivative,
    solution_derivatives,
    transposed_product,
)
from lrnde_torch._evaluate import evaluate_samples, evaluate_unread
from lrnde_torch._freeze import (
    FrozenStages,
    check_state,
    check_times,
    isolated,
    longer_intervals,
    nan_where,
    read_form,
    solve_by_plan,
    solve_by_steps,
    solve_natively,
    timed_runner,
    with_guard,
)
from lrnde_torch._gradient import held_constant, parameters_of, parameters_without, solve_with_gradient
from lrnde_torch._holder import WeightHolder
from lrnde_torch._isolation import no_side_effects
from lrnde_torch._plan_holder import PlanHolder
from lrnde_torch._problem import (
    AbstractTensorProblem,
    AbstractTorchProblem,
    ExplicitProblem,
    check_has_values,
    dtype_refusal,
)
from lrnde_torch._random import check_probes, check_uniforms, draw_uniforms, unread_draws

# So that the core, which loads no backend, finds it loaded.
importlib.import_module("array_api_compat.torch")

__all__ = [
    "FOR_A_PENALTY",
    "AbstractTensorProblem",
    "AbstractTorchAdapter",
    "AbstractTorchProblem",
    "ExplicitProblem",
    "FrozenStages",
    "PlanHolder",
    "WeightHolder",
    "check_has_values",
    "check_probes",
    "check_state",
    "check_times",
    "check_uniforms",
    "collect",
    "collected",
    "directional_derivative",
    "draw_uniforms",
    "dtype_refusal",
    "evaluate_samples",
    "evaluate_unread",
    "held_constant",
    "isolated",
    "longer_intervals",
    "nan_where",
    "no_side_effects",
    "parameters_of",
    "parameters_without",
    "read_form",
    "solution_derivatives",
    "solve_by_plan",
    "solve_by_steps",
    "solve_natively",
    "solve_with_gradient",
    "timed_runner",
    "transposed_product",
    "uncompiled",
    "unread_draws",
    "warn_if_torch_unresolved",
    "with_guard",
]
