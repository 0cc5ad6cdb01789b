"""The rows of the table of precision and compilers in JAX."""

import functools
from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import optimistix

import lrnde
from tests.docs.precision_problem import END, HEURISTIC, IDENTITY, MATRIX, SHIFT, STATE, TOLERANCE, Point, Seen

Solve = Callable[[Any], tuple[Any, Any]]
"""Takes a matrix; returns the state at the end, and the penalty at the start."""

_ITERATIONS = 4
# diffrax's default adjoint fails in maps over devices, wrapped or not, and takes longer to compile.
_DIRECT: dict[str, Any] = {"adjoint": diffrax.DirectAdjoint(), "max_steps": 16}


def _solve_in(dtype: Any = None, state_dtype: Any = jnp.float32, **settings: Any) -> Solve:
    """The solve with a field evaluated in `dtype`, that of the state by default."""
    dtype = state_dtype if dtype is None else dtype

    def field(t: Any, y: Any, matrix: Any) -> Any:
        x, shift, identity = y.astype(dtype), jnp.asarray([SHIFT], dtype), jnp.asarray(IDENTITY, dtype)
        return ((x * (x @ matrix) + jnp.asarray(t, dtype) * shift) @ identity).astype(y.dtype)

    wrapped: Any = lrnde.regularize(diffrax.diffeqsolve, heuristic=HEURISTIC)
    controller = diffrax.PIDController(rtol=TOLERANCE, atol=TOLERANCE)

    def solve(matrix: Any) -> tuple[Any, Any]:
        sol, report = wrapped(
            *(diffrax.ODETerm(field), diffrax.Heun(), 0.0, END, 0.1, jnp.asarray(STATE, state_dtype), matrix),
            stepsize_controller=controller,
            draw=jnp.zeros(1),
            **settings,
        )
        return sol.ys[0], report.penalty

    return solve


@functools.cache
def in_float32() -> Seen:
    return _seen(_solve_in())


def in_float64() -> Seen:
    with jax.enable_x64(True):
        return _seen(_solve_in(state_dtype=jnp.float64, **_DIRECT), jnp.float64)


def with_bfloat16_field() -> Seen:
    return _seen(_solve_in(jnp.bfloat16), jnp.bfloat16)


def within_checkpoint() -> Seen:
    return _seen(jax.checkpoint(_solve_in()))


def on_mapped_devices() -> Seen:
    mapped: Any = eqx.filter_pmap(_solve_in(**_DIRECT))

    def solve(matrix: Any) -> tuple[Any, Any]:
        end, penalty = mapped(matrix[None])
        return end[0], penalty[0]

    return _seen(solve)


def on_sharded_devices() -> Seen:
    mesh = jax.make_mesh((1,), ("devices",))
    solve, spec = _solve_in(**_DIRECT), jax.sharding.PartitionSpec()
    return _seen(jax.shard_map(solve, mesh=mesh, in_specs=spec, out_specs=(spec, spec), check_vma=False))


def with_sharded_parameters() -> Seen:
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    solve = _solve_in(**_DIRECT)
    return _seen(lambda matrix: solve(eqx.filter_shard(matrix, sharding)))


def minimised_by_optax() -> Seen:
    solve = _solve_in(**_DIRECT)

    def penalty(matrix: Any) -> Any:
        return solve(matrix)[1]

    optimizer = optax.lbfgs()
    matrix: Any = jnp.asarray(MATRIX)
    state, points = optimizer.init(matrix), list[Point]()
    evaluate = optax.value_and_grad_from_state(penalty)

    @jax.jit
    def step(matrix: Any, state: Any) -> Any:
        value, gradient = evaluate(matrix, state=state)
        updates, state = optimizer.update(gradient, state, matrix, value=value, grad=gradient, value_fn=penalty)
        return optax.apply_updates(matrix, updates), state, (value, gradient)

    for _ in range(_ITERATIONS):
        before = matrix
        matrix, state, (value, gradient) = step(matrix, state)
        points.append(_point(before, value, gradient))
    return Seen(points, None, float(jnp.finfo(jnp.float32).eps))


def minimised_by_optimistix() -> Seen:
    solve = _solve_in(**_DIRECT)

    @eqx.filter_jit
    def penalty(matrix: Any, args: Any) -> Any:
        del args
        return solve(matrix)[1]

    start = jnp.asarray(MATRIX)
    solver = optimistix.LBFGS(rtol=1e-3, atol=1e-3)
    found = optimistix.minimise(penalty, solver, start, max_steps=_ITERATIONS, throw=False)
    points = [_point(each, penalty(each, None), None) for each in (start, found.value)]
    return Seen(points, None, float(jnp.finfo(jnp.float32).eps))


ROWS: dict[str, Callable[[], Seen]] = {
    "float32": in_float32,
    "float64": in_float64,
    "bfloat16 field, float32 state": with_bfloat16_field,
    "`jax.checkpoint` around the solve": within_checkpoint,
    "`eqx.filter_pmap` around the solve, with `DirectAdjoint`": on_mapped_devices,
    "`jax.shard_map(..., check_vma=False)` around the solve, with `DirectAdjoint`": on_sharded_devices,
    "`eqx.filter_shard` of the parameters": with_sharded_parameters,
    "`optax.lbfgs`, with `draw=`": minimised_by_optax,
    "`optimistix.LBFGS`, with `draw=`": minimised_by_optimistix,
}


def _seen(solve: Solve, dtype: Any = jnp.float32) -> Seen:
    @jax.jit
    def evaluate(matrix: Any, weights: Any) -> Any:
        def weighted(matrix: Any) -> Any:
            end, penalty = solve(matrix)
            return weights[0] * penalty + weights[1] * end.sum(), (end, penalty)

        return jax.grad(weighted, has_aux=True)(matrix)

    matrix = jnp.asarray(MATRIX, dtype)
    # One program gives both gradients.
    weights = jnp.eye(2, dtype=jnp.float64 if dtype == jnp.float64 else jnp.float32)
    (gradient, (end, penalty)), (slope, _) = evaluate(matrix, weights[0]), evaluate(matrix, weights[1])
    return Seen([_point(matrix, penalty, gradient)], (_array(end), _array(slope)), float(jnp.finfo(dtype).eps))


def _point(matrix: Any, penalty: Any, gradient: Any) -> Point:
    return Point(_array(matrix), float(penalty), None if gradient is None else _array(gradient))


def _array(array: Any) -> Any:
    return np.asarray(array.astype(jnp.float32), np.float64)
