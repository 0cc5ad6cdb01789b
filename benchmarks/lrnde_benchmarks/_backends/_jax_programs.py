"""What a training in JAX compiles: the whole loop, and the ways to predict.

What is compiled depends on the problem and on the structure of the penalty alone: weights and weight decays are traced,
so settings that differ in nothing else share one compilation.
"""

# Optax and parts of jax and diffrax come without types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple, final

import diffrax
import jax
import jax.numpy as jnp
import optax
from jax import Array

import lrnde
from lrnde_benchmarks._backends._diffrax import OPERATIONS, SolveSettings, Weights, solve, solve_states
from lrnde_benchmarks._backends._optax import step
from lrnde_benchmarks._backends._taylor_jax import frozen_midpoint, learn_midpoint
from lrnde_benchmarks._hyperparameters import Optimizer
from lrnde_benchmarks._settings import Penalty
from lrnde_benchmarks._tasks._task import AbstractProblem
from lrnde_core import AbstractWeight
from lrnde_jax import value_and_grad

# Room for the steps of a solve that nothing is differentiated through.
_MAX_COUNTED_STEPS = 2**14


@final
class TrainState(NamedTuple):
    """What an iteration changes."""

    weights: Weights
    optimizer: Any
    penalty_weight: Any
    midpoint_optimizer: Any


@final
class Examples(NamedTuple):
    """`inputs`, `targets`, and the examples of each iteration, `(steps, batch)`; see `Data`.

    - `end_times`: see `Setting.end_times`. `noise`, `divergence_weights`: see `Data`.
    """

    inputs: Array
    targets: Array
    batches: Array
    end_times: Array | None
    noise: Array | None
    divergence_weights: Array | None


@final
@dataclasses.dataclass(frozen=True)
class Program:
    """All that a compilation of the training loop depends on.

    - `checked`: see `Setting.steps`. `steps`: those that it takes now; `None` for adaptive ones.
    """

    method: SolveSettings
    penalty: Penalty | None
    weight: AbstractWeight
    checked: lrnde.CheckedSteps | None
    steps: lrnde.FixedSteps | None
    optimizer: Optimizer
    learning_rate: float
    learning_rate_decay: float


def make_optimizer(program: Program, weight_decay: Any) -> optax.GradientTransformation:
    rate = optax.exponential_decay(program.learning_rate, 1, program.learning_rate_decay)
    if program.optimizer == "adam":
        return optax.adamw(rate, weight_decay=weight_decay)
    return optax.adamaxw(rate, weight_decay=weight_decay)


def _noise(method: SolveSettings, key: Array) -> Array | None:
    """The key of the Brownian path, if there is one."""
    return jax.random.fold_in(key, 1) if method.problem.is_stochastic else None


def _training_state(
    problem: AbstractProblem, weights: Weights, inputs: Array, examples: Examples, index: Array
) -> tuple[Array, Any]:
    """The state at time 0 of a training iteration, and the part of the loss that is due to drawing it."""
    if examples.noise is None or examples.divergence_weights is None:
        return problem.initial_state(OPERATIONS, weights, inputs), 0.0
    y0, divergence = problem.drawn_state(OPERATIONS, weights, inputs, examples.noise[index])
    return y0, examples.divergence_weights[index] * divergence


def initial_state(method: SolveSettings, weights: Weights, inputs: Array) -> Array:
    return method.problem.initial_state(OPERATIONS, weights, inputs)


@functools.cache
def training_loop(program: Program) -> Callable[..., tuple[TrainState, Array, Array]]:
    """A compiled function that runs `count` iterations from iteration `start` on.

    It stops early after an iteration whose steps estimate an error above `limit`. Returns the state, the number of
    iterations that are done then, and the last estimate; 0 for adaptive steps.
    """
    method, problem = program.method, program.method.problem
    is_penalised, wrapped = program.penalty is not None, None
    if program.penalty is not None or program.checked is not None:
        wrapped = (program.penalty or Penalty()).wrap(diffrax.diffeqsolve, program.checked)
    planned = {} if program.checked is None else {"plan": program.steps}

    def loss(weights: Weights, examples: Examples, index: Array, key: Array) -> Any:
        batch, weights = examples.batches[index], frozen_midpoint(weights)
        inputs, noise = examples.inputs[batch], _noise(method, key)
        end = 1.0 if examples.end_times is None else examples.end_times[index]
        y0, divergence = _training_state(problem, weights, inputs, examples, index)
        call, own = (
            (diffrax.diffeqsolve, {})
            if wrapped is None
            else (wrapped, {"key": key, "penalize": is_penalised, **planned})
        )
        ys, report = solve_states(call, method, weights, inputs, y0, noise, end=end, **own)
        outputs = problem.outputs(OPERATIONS, weights, ys)
        return problem.loss(OPERATIONS, outputs, examples.targets, batch) + divergence, report

    def differentiate(weights: Weights, penalty_weight: Any, *args: Any) -> tuple[Weights, Any, Any]:
        """The gradient, the state of the penalty's weight after the iteration, and the report."""
        if not is_penalised:
            gradient, report = jax.grad(loss, has_aux=True)(weights, *args)
            return gradient, penalty_weight, report
        (_, report), gradient, penalty_weight = value_and_grad(loss, program.weight)(weights, penalty_weight, *args)
        return gradient, penalty_weight, report

    def learn(weights: Weights, state: Any, examples: Examples, index: Array) -> Any:
        assert method.expansion is not None
        inputs = examples.inputs[examples.batches[index]]
        y0 = initial_state(method, weights, inputs)

        def states(method: SolveSettings, weights: Weights) -> Array:
            return solve_states(diffrax.diffeqsolve, method, weights, inputs, y0, None)[0]

        wanted = functools.partial(states, method._replace(expansion=None), weights)
        return learn_midpoint(method.expansion, index, weights, state, functools.partial(states, method), wanted)

    @jax.jit
    def run(
        state: TrainState, examples: Examples, weight_decay: Any, key: Array, start: Any, count: Any, limit: Any
    ) -> tuple[TrainState, Array, Array]:
        optimizer = make_optimizer(program, weight_decay)

        def goes_on(carry: tuple[TrainState, Array, Array]) -> Array:
            _, index, estimate = carry
            # Also false for what is not a number.
            return (index < start + count) & (estimate <= limit)

        def iterate(carry: tuple[TrainState, Array, Array]) -> tuple[TrainState, Array, Array]:
            state, index, estimate = carry
            gradient, penalty_weight, report = differentiate(
                state.weights, state.penalty_weight, examples, index, jax.random.fold_in(key, index)
            )
            weights, optimizer_state = step(optimizer, gradient, state.optimizer, state.weights)
            midpoint_state = state.midpoint_optimizer
            if method.expansion is not None:
                weights, midpoint_state = learn(weights, midpoint_state, examples, index)
            if report is not None and report.step_error is not None:
                estimate = report.step_error.astype(estimate.dtype)
            return TrainState(weights, optimizer_state, penalty_weight, midpoint_state), index + 1, estimate

        return jax.lax.while_loop(goes_on, iterate, (state, jnp.asarray(start), jnp.zeros(())))

    return run


@functools.cache
def predictor(method: SolveSettings) -> Callable[[Weights, Array, Array], Array]:
    """A compiled function from inputs to predictions, by the bare solver call."""
    native = method.native

    @jax.jit
    def predict(weights: Weights, inputs: Array, key: Array) -> Array:
        y0 = initial_state(method, weights, inputs)
        ys, _ = solve_states(native, method, weights, inputs, y0, _noise(method, key))
        return method.problem.outputs(OPERATIONS, weights, ys)

    return predict


@functools.cache
def checker(program: Program) -> Callable[..., tuple[Array, lrnde.Report]]:
    """A compiled function that solves a batch of the training, and returns its states and report."""
    assert program.checked is not None
    method, wrapped = program.method, lrnde.regularize(diffrax.diffeqsolve, steps=program.checked)

    @jax.jit
    def check(weights: Weights, examples: Examples, index: Array) -> tuple[Array, lrnde.Report]:
        inputs = examples.inputs[examples.batches[index]]
        y0, _ = _training_state(method.problem, weights, inputs, examples, index)
        ys, report = solve_states(wrapped, method, weights, inputs, y0, None, penalize=False, plan=program.steps)
        start = len(ys) + 1 - len(method.problem.times)
        return jnp.swapaxes(ys[start:], 0, 1), report

    return check


def counter(method: SolveSettings) -> Callable[[Weights, Array, Array], tuple[Array, lrnde.Report]]:
    """A compiled function from inputs to predictions and what they cost."""
    # One program for all tolerances and first steps.
    count = _counter_at(method._replace(tolerance=None, first_step=None))
    return functools.partial(count, method.tolerance, method.first_step)


@functools.cache
def _counter_at(method: SolveSettings) -> Callable[..., tuple[Array, lrnde.Report]]:
    wrapped = lrnde.regularize(diffrax.diffeqsolve)
    room = {} if method.expansion is not None else {"max_steps": _MAX_COUNTED_STEPS}

    @jax.jit
    def count(
        tolerance: Any, first_step: Any, weights: Weights, inputs: Array, key: Array
    ) -> tuple[Array, lrnde.Report]:
        chosen = method._replace(tolerance=tolerance, first_step=first_step)
        y0 = initial_state(method, weights, inputs)
        ys, report = solve_states(wrapped, chosen, weights, inputs, y0, _noise(method, key), penalize=False, **room)
        return method.problem.outputs(OPERATIONS, weights, ys), report

    return count


@functools.cache
def states_finder(method: SolveSettings) -> Callable[[Weights, Array, Array], Array]:
    """A compiled function from inputs to the states at the times after 0."""
    native = method.native

    @jax.jit
    def states(weights: Weights, inputs: Array, key: Array) -> Array:
        y0 = initial_state(method, weights, inputs)
        ys, _ = solve_states(native, method, weights, inputs, y0, _noise(method, key))
        return ys[1 - len(method.problem.times) :]

    return states


@functools.cache
def stepper(method: SolveSettings) -> Callable[[Weights, Array, Array], Array]:
    """A compiled function from inputs to the end times of the steps, padded with inf.

    Where examples are solved apart, these are the first one's.
    """

    @jax.jit
    def steps(weights: Weights, inputs: Array, key: Array) -> Array:
        inputs = inputs[:1] if method.problem.solves_apart else inputs
        y0, saveat = initial_state(method, weights, inputs), diffrax.SaveAt(steps=True)
        return solve(diffrax.diffeqsolve, method, weights, inputs, y0, _noise(method, key), saveat=saveat).ts

    return steps
