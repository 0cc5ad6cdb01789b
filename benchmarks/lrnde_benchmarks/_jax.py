"""The neural ODE in JAX, solved by diffrax's Tsit5 and trained in one compiled loop.

What is compiled depends on the structure of the penalty alone: weights and weight decays are traced, so settings that
differ in nothing else share one compilation.
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

import lrnde_core as lrnde
from lrnde_benchmarks import _clock
from lrnde_benchmarks._data import Digits, Split, initial_weights, test_batches, training_batches
from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._settings import Penalty, Setting
from lrnde_benchmarks._trainer import Evaluation
from lrnde_core import AbstractWeight, Constant, WeightState

Weights = dict[str, Array]

# Room for steps; diffrax reserves checkpoints by it. Solves here take fewer than 20.
_MAX_STEPS = 256


@final
class _State(NamedTuple):
    """What an iteration changes."""

    weights: Weights
    optimizer: Any
    penalty_weight: WeightState


@final
class _Data(NamedTuple):
    """`images` `(1797, 64)`, `labels` `(1797,)`, and the indices of each iteration's images, `(steps, batch)`."""

    images: Array
    labels: Array
    batches: Array


@final
@dataclasses.dataclass(frozen=True)
class _Program:
    """All that a compilation of the training loop depends on."""

    penalty: Penalty | None
    weight: AbstractWeight
    learning_rate: float
    tolerance: float
    first_step: float


def _field(t: Any, y: Array, weights: Weights) -> Array:
    """Vector field: state `(batch, 64)` per time."""
    inner = y @ weights["inner_weight"] + (weights["inner_bias"] + t * weights["inner_time"])
    return jnp.tanh(inner) @ weights["outer_weight"] + (weights["outer_bias"] + t * weights["outer_time"])


_TERM = diffrax.ODETerm(_field)


def _logits(weights: Weights, y: Array) -> Array:
    """Class scores of final states, shape `(batch, 10)`."""
    return y @ weights["head_weight"] + weights["head_bias"]


def _solve(solve: Callable[..., Any], weights: Weights, images: Array, program: Any, **kwargs: Any) -> Any:
    controller = diffrax.PIDController(rtol=program.tolerance, atol=program.tolerance)
    return solve(
        _TERM,
        diffrax.Tsit5(),
        0.0,
        1.0,
        program.first_step,
        images,
        weights,
        stepsize_controller=controller,
        max_steps=_MAX_STEPS,
        **kwargs,
    )


def _optimizer(program: _Program, weight_decay: Any) -> optax.GradientTransformation:
    return optax.adamw(program.learning_rate, weight_decay=weight_decay)


@functools.cache
def _training_loop(program: _Program) -> Callable[..., _State]:
    """A compiled function that runs `count` iterations from iteration `start` on."""
    wrapped = None if program.penalty is None else program.penalty.wrap(diffrax.diffeqsolve)

    def loss(weights: Weights, images: Array, labels: Array, penalty_weight: Any, key: Array) -> Any:
        if wrapped is None:
            solution, report = _solve(diffrax.diffeqsolve, weights, images, program), None
        else:
            solution, report = _solve(wrapped, weights, images, program, key=key)
        scores = _logits(weights, solution.ys[-1])
        total = optax.softmax_cross_entropy_with_integer_labels(scores, labels).mean()
        if report is not None:
            total = total + penalty_weight * report.penalty
        return total, report

    @jax.jit
    def run(state: _State, data: _Data, weight_decay: Any, key: Array, start: Any, count: Any) -> _State:
        optimizer = _optimizer(program, weight_decay)

        def iterate(index: Array, state: _State) -> _State:
            chosen = data.batches[index]
            value = program.weight.value(state.penalty_weight)
            gradient, report = jax.grad(loss, has_aux=True)(
                state.weights, data.images[chosen], data.labels[chosen], value, jax.random.fold_in(key, index)
            )
            updates, optimizer_state = optimizer.update(gradient, state.optimizer, state.weights)
            penalty_weight = state.penalty_weight
            if report is not None:
                penalty_weight = program.weight.update(penalty_weight, report)
            weights: Any = optax.apply_updates(state.weights, updates)
            return _State(weights, optimizer_state, penalty_weight)

        return jax.lax.fori_loop(start, start + count, iterate, state)

    return run


@final
@dataclasses.dataclass(frozen=True)
class _Prediction:
    """All that a compilation of a prediction depends on."""

    tolerance: float
    first_step: float


@functools.cache
def _predictor(prediction: _Prediction) -> Callable[[Weights, Array], Array]:
    """A compiled function from images to class scores, by the bare solver call."""

    @jax.jit
    def predict(weights: Weights, images: Array) -> Array:
        return _logits(weights, _solve(diffrax.diffeqsolve, weights, images, prediction).ys[-1])

    return predict


@functools.cache
def _counter(prediction: _Prediction) -> Callable[[Weights, Array], tuple[Array, Array]]:
    """A compiled function from images to class scores and evaluations."""
    wrapped = lrnde.regularize(diffrax.diffeqsolve)

    @jax.jit
    def count(weights: Weights, images: Array) -> tuple[Array, Array]:
        solution, report = _solve(wrapped, weights, images, prediction, penalize=False)
        return _logits(weights, solution.ys[-1]), report.nfe

    return count


@functools.cache
def _stepper(prediction: _Prediction) -> Callable[[Weights, Array], Array]:
    """A compiled function from images to the end times of the steps, padded with inf."""

    @jax.jit
    def steps(weights: Weights, images: Array) -> Array:
        return _solve(diffrax.diffeqsolve, weights, images, prediction, saveat=diffrax.SaveAt(steps=True)).ts

    return steps


@final
class JaxTrainer:
    """See `lrnde_benchmarks.Trainer`."""

    def __init__(
        self, hyperparameters: Hyperparameters, setting: Setting, digits: Digits, split: Split, seed: int
    ) -> None:
        if hyperparameters.dtype == "float64":
            jax.config.update("jax_enable_x64", True)
        dtype = jnp.dtype(hyperparameters.dtype)
        # The weight of `Constant` lives in its state alone, so one compilation serves them all.
        weight = Constant(0.0) if isinstance(setting.weight, Constant) else setting.weight
        self._hyperparameters = hyperparameters
        self._program = _Program(
            setting.penalty,
            weight,
            hyperparameters.learning_rate,
            hyperparameters.tolerance,
            hyperparameters.first_step,
        )
        self._weight_decay = jnp.asarray(setting.weight_decay, dtype)
        value, count = setting.weight.init()
        weights = {
            name: jnp.asarray(value, dtype) for name, value in initial_weights(hyperparameters.hidden, seed).items()
        }
        self._state = _State(
            weights,
            _optimizer(self._program, self._weight_decay).init(weights),
            WeightState(jnp.asarray(value, dtype), jnp.asarray(count, jnp.int32)),
        )
        self._data = _Data(
            jnp.asarray(digits.images, dtype),
            jnp.asarray(digits.labels, jnp.int32),
            jnp.asarray(training_batches(split.train, hyperparameters.batch, hyperparameters.steps, seed), jnp.int32),
        )
        self._test_batches = jnp.asarray(test_batches(split.test, hyperparameters.batch), jnp.int32)
        self._num_test = len(split.test)
        self._key = jax.random.key(seed)
        self._num_done = 0

    def prepare(self) -> None:
        self._run(0)
        self.predict_once()

    def train(self, num_steps: int) -> float:
        begin = _clock.now()
        self._state = self._run(num_steps)
        self._num_done += num_steps
        return _clock.now() - begin

    def evaluate(self, tolerance: float | None = None) -> Evaluation:
        count = _counter(self._prediction(tolerance))
        counted = [count(self._state.weights, self._data.images[batch]) for batch in self._test_batches]
        guesses = jnp.concatenate([scores.argmax(-1) for scores, _ in counted])[: self._num_test]
        is_right = guesses == self._data.labels[self._test_batches.flatten()[: self._num_test]]
        return Evaluation(int(is_right.sum()) / self._num_test, sum(int(nfe) for _, nfe in counted) / len(counted))

    def predict_once(self, tolerance: float | None = None) -> float:
        predict = _predictor(self._prediction(tolerance))
        images = jax.block_until_ready(self._data.images[self._test_batches[0]])
        begin = _clock.now()
        jax.block_until_ready(predict(self._state.weights, images))
        return _clock.now() - begin

    def step_times(self, tolerance: float | None = None) -> list[float]:
        steps = _stepper(self._prediction(tolerance))
        times = steps(self._state.weights, self._data.images[self._test_batches[0]])
        return [float(end) for end in times if jnp.isfinite(end)]

    def _run(self, num_steps: int) -> _State:
        run = _training_loop(self._program)
        state = run(self._state, self._data, self._weight_decay, self._key, self._num_done, num_steps)
        return jax.block_until_ready(state)

    def _prediction(self, tolerance: float | None) -> _Prediction:
        hyperparameters = self._hyperparameters
        return _Prediction(hyperparameters.tolerance if tolerance is None else tolerance, hyperparameters.first_step)
