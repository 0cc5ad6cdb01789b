"""The equation of a problem solved by diffrax: `Tsit5` without noise, `HalfSolver(Heun())` with it."""

# Parts of jax and diffrax come without types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Callable
from typing import Any, NamedTuple, final

import diffrax
import jax
import jax.numpy as jnp
import lineax
import optax
from jax import Array

from lrnde_benchmarks._backends._taylor_jax import taylor_solver
from lrnde_benchmarks._settings import ExpansionSettings
from lrnde_benchmarks._tasks._solvers import SMALLEST_STEP
from lrnde_benchmarks._tasks._task import AbstractProblem, Operations
from lrnde_core import Plan, apply_plan

Weights = dict[str, Any]
"""Arrays by name; and, where `SolveSettings.expansion` is given, the midpoint network."""


def _convolve(y: Array, kernel: Array) -> Array:
    """As a product of matrices: XLA's own convolution takes ten times as long inside of a solver's loop on a CPU."""
    height, width = y.shape[2:]
    padded = jnp.pad(jnp.moveaxis(y, 1, -1), ((0, 0), (1, 1), (1, 1), (0, 0)))
    patches = [padded[:, row : row + height, column : column + width] for row in range(3) for column in range(3)]
    matrix = jnp.transpose(kernel, (2, 3, 1, 0)).reshape(-1, len(kernel))
    return jnp.moveaxis(jnp.concatenate(patches, axis=-1) @ matrix, -1, 1)


OPERATIONS = Operations(
    lambda bias, y, matrix: y @ matrix + bias[None],
    jnp.tanh,
    lambda logits, labels: optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(),
    lambda arrays: jnp.concatenate(arrays, axis=-1),
    jnp.exp,
    jax.nn.softplus,
    lambda step, state, sequence: jax.lax.scan(lambda now, element: (step(now, element), None), state, sequence)[0],
    _convolve,
)

# Room for steps; diffrax reserves checkpoints by it. Solves here take fewer than 20, with noise fewer than 100.
_MAX_STEPS = 256
_MAX_NOISY_STEPS = 1024


@final
class SolveSettings(NamedTuple):
    """`tolerance` is both rtol and atol; `expansion` as in `Setting`; `plan`: the fixed steps of a frozen solve.

    - `solver`: see `Hyperparameters`. Tolerance and first step may be traced.
    """

    problem: AbstractProblem
    tolerance: Any
    first_step: Any
    expansion: ExpansionSettings | None = None
    plan: Plan | None = None
    solver: str | None = None

    @property
    def native(self) -> Callable[..., Any]:
        """`diffeqsolve`, or what is frozen of it."""
        return diffrax.diffeqsolve if self.plan is None else apply_plan(diffrax.diffeqsolve, self.plan)


def solve_states(
    call: Callable[..., Any],
    method: SolveSettings,
    weights: Weights,
    inputs: Array,
    y0: Array,
    noise: Array | None,
    **kwargs: Any,
) -> tuple[Array, Any]:
    """The solution of a batch, `(times, batch, channels)`, and the report where the call is regularized, else `None`.

    Of a problem that `solves_apart` each example is a call under `vmap`, and the report is the mean of theirs,
    `step_error` the largest.
    """
    if not method.problem.solves_apart:
        return _states_and_report(solve(call, method, weights, inputs, y0, noise, **kwargs))
    keys = {"key": jax.random.split(kwargs.pop("key"), len(y0))} if "key" in kwargs else {}

    def one(inputs: Array, y0: Array, key: dict[str, Array]) -> tuple[Array, Any]:
        return _states_and_report(solve(call, method, weights, inputs[None], y0[None], None, **key, **kwargs))

    ys, report = jax.vmap(one)(inputs, y0, keys)
    means = jax.tree.map(lambda entry: entry.mean(0), report)
    if report is not None and report.step_error is not None:
        means = means._replace(step_error=report.step_error.max())
    return jnp.swapaxes(ys[:, :, 0], 0, 1), means


def _states_and_report(result: Any) -> tuple[Array, Any]:
    solution, report = result if isinstance(result, tuple) else (result, None)
    return solution.ys, report


def solve(
    call: Callable[..., Any],
    method: SolveSettings,
    weights: Weights,
    inputs: Array,
    y0: Array,
    noise: Array | None,
    *,
    end: Any = 1.0,
    **kwargs: Any,
) -> Any:
    """Make a call of `diffrax.diffeqsolve`, bare or regularized, for a batch that shares its steps.

    - `inputs`: of the batch. `noise`: the key of the Brownian path. `end`: when the solve ends, where the final state
      alone is wanted.
    """
    problem, expansion = method.problem, method.expansion
    times = jnp.asarray(problem.times, y0.dtype)
    saveat = diffrax.SaveAt(t1=True) if len(times) == 2 else diffrax.SaveAt(ts=times)
    noisy, controller = problem.is_stochastic, _controller(method.tolerance)
    solver, first_step, max_steps = getattr(diffrax, method.solver or "Tsit5")(), method.first_step, _MAX_STEPS
    if noisy:
        solver, controller = diffrax.HalfSolver(diffrax.Heun()), _noisy_controller(method.tolerance)
        max_steps = _MAX_NOISY_STEPS
    if expansion is not None:
        max_steps = expansion.num_steps * (len(times) - 1)
        solver, controller, first_step = taylor_solver(expansion, weights), diffrax.ConstantStepSize(), end / max_steps
    return call(
        _terms(problem, y0, noise, end),
        solver,
        0.0,
        end,
        first_step,
        y0,
        {**weights, **problem.path(inputs)},
        stepsize_controller=controller,
        **{"max_steps": max_steps, "saveat": saveat, **kwargs},
    )


def _terms(problem: AbstractProblem, y0: Array, noise: Array | None, end: Any) -> Any:
    def drift(t: Any, y: Array, weights: Weights) -> Array:
        return problem.drift(OPERATIONS, weights, t, y)

    def diffusion(t: Any, y: Array, weights: Weights) -> lineax.DiagonalLinearOperator:
        return lineax.DiagonalLinearOperator(problem.diffusion(OPERATIONS, weights, t, y))

    if noise is None:
        return diffrax.ODETerm(drift)
    shape: Any = y0.shape
    motion = diffrax.VirtualBrownianTree(0.0, end, SMALLEST_STEP / 4, shape, noise)
    return diffrax.MultiTerm(diffrax.ODETerm(drift), diffrax.ControlTerm(diffusion, motion))


def _controller(tolerance: float) -> diffrax.PIDController:
    return diffrax.PIDController(rtol=tolerance, atol=tolerance)


def _noisy_controller(tolerance: float) -> diffrax.PIDController:
    # The coefficients that diffrax's documentation recommends for stochastic equations.
    return diffrax.PIDController(
        rtol=tolerance, atol=tolerance, pcoeff=0.1, icoeff=0.3, dcoeff=0.0, dtmin=SMALLEST_STEP
    )
