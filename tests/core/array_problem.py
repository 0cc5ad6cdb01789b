"""A local problem on arrays of any library, written for the tests without the helpers of the adapters."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, final

import numpy as np
from array_api_compat import array_namespace, is_jax_array, is_numpy_array, is_torch_array

from lrnde_conformance._backends import _dual
from lrnde_conformance._reference._problem import ReferenceProblem, as_dual
from lrnde_core import (
    AbstractLocalProblem,
    AbstractStages,
    ExplicitTableau,
    Leaves,
    LocalState,
    StepEstimate,
    doubled_step,
    explicit_advance,
    explicit_step,
    root_mean_square,
)


@final
@dataclasses.dataclass(frozen=True)
class ArrayProblem(AbstractLocalProblem, AbstractStages):
    """dy/dt = `field(t, y)` for a state of one array; counts its evaluations.

    Derivatives exist in torch, in JAX, and for numpy by dual numbers.

    - `rtol`, `atol`: numbers, or arrays that broadcast against the state. `error_norm`: of a tuple of one array.
    """

    field: Callable[[Any, Any], Any]
    tableau: ExplicitTableau
    rtol: Any = 1e-5
    atol: Any = 1e-5
    error_norm: Callable[[Leaves], Any] = root_mean_square
    calls: list[Any] = dataclasses.field(default_factory=list[Any])

    def step(self, t: Any, h: Any, y: Leaves, *, first_stage: Leaves | None, carry: Any) -> StepEstimate:
        first = None if first_stage is None else (first_stage[0] * h,)
        take = doubled_step if self.tableau.error is None else explicit_step
        return take(self, self.tableau, t, h, y, first)

    def advance(self, t: Any, h: Any, y: Leaves, *, carry: Any) -> Leaves:
        return explicit_advance(self, self.tableau, t, h, y)

    def increment(self, t: Any, h: Any, abscissa: float, y: Leaves) -> Leaves:
        return (self.vector_field(t + abscissa * h, y)[0] * h,)

    def combine(self, y: Leaves, weights: tuple[float, ...], increments: list[Leaves]) -> Leaves:
        total = y[0]
        for weight, (increment,) in zip(weights, increments, strict=False):
            if weight != 0:
                total = total + weight * increment
        return (total,)

    def vector_field(self, t: Any, y: Leaves) -> Leaves:
        self.calls.append(t)
        return (self.field(t, y[0]),)

    def jvp(self, function: Callable[[Any, Leaves], Leaves], t: Any, y: Leaves, dt: Any, dy: Leaves) -> Leaves:
        if _is_of_numpy(y):
            return _BY_DUALS.jvp(function, t, tuple(map(as_dual, y)), dt, tuple(map(as_dual, dy)))
        if is_torch_array(y[0]):
            import torch

            return torch.func.jvp(function, (t, y), (torch.full_like(t, dt), dy))[1]
        import jax

        return jax.jvp(function, (t, y), (array_namespace(t).full_like(t, dt), dy))[1]

    def vjp(self, function: Callable[[Any, Leaves], Leaves], t: Any, y: Leaves, cotangent: Leaves) -> Leaves:
        if _is_of_numpy(y):
            return _pulled_back(lambda state: function(t, (state,))[0], y[0], cotangent[0])
        if is_torch_array(y[0]):
            import torch

            return torch.func.vjp(lambda state: function(t, state), y)[1](cotangent)[0]
        import jax

        return jax.vjp(lambda state: function(t, state), y)[1](cotangent)[0]

    def norm(self, leaves: Leaves) -> Any:
        return self.error_norm(leaves)

    def detach(self, leaves: Leaves) -> Leaves:
        if isinstance(leaves[0], _dual.Dual):
            return tuple(map(_dual.detach, leaves))
        if is_torch_array(leaves[0]):
            return tuple(leaf.detach() for leaf in leaves)
        if is_jax_array(leaves[0]):
            import jax

            return tuple(jax.lax.stop_gradient(leaf) for leaf in leaves)
        return leaves


# Its derivatives are of the function that they are given.
_BY_DUALS = ReferenceProblem("dopri5", abs, None, None, None, None)


def _is_of_numpy(leaves: Leaves) -> bool:
    return isinstance(leaves[0], _dual.Dual) or is_numpy_array(leaves[0])


def _pulled_back(function: Callable[[Any], Any], y: Any, cotangent: Any) -> Leaves:
    """The transposed product, from the derivatives in the directions of all elements at once."""
    size, level = math.prod(y.shape), _dual.level_of(as_dual(y), as_dual(cotangent)) + 1
    directions = np.eye(size, dtype=y.dtype).reshape(size, *y.shape)
    _, columns = _dual.parts(function(_dual.Dual(y, directions, level)), level)
    return ((columns * cotangent).reshape((size, -1)).sum(-1).reshape(y.shape),)


def local_state(
    problem: ArrayProblem,
    t: Any,
    h: Any,
    y: Any,
    *,
    error_order: float = 5.0,
    fraction: Any = None,
    probes: Leaves | None = None,
) -> LocalState:
    """The local state of one step, as an adapter would make it."""
    interval = problem.tableau.real_stability_interval if problem.tableau.has_stiffness_pair else None
    return LocalState(
        problem,
        t,
        h,
        (y,),
        carry=None,
        fraction=fraction,
        error_order=error_order,
        stability_interval=interval,
        probes=probes,
    )
