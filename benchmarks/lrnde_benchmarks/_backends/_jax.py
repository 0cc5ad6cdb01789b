"""The training loop in JAX, compiled as a whole.

What is compiled depends on the problem and on the structure of the penalty alone: weights and weight decays are traced,
so settings that differ in nothing else share one compilation.
"""

# Optax and parts of jax and diffrax come without types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple, final

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

import lrnde
from lrnde_benchmarks._arrays import Arrays, Floats
from lrnde_benchmarks._backends._diffrax import OPERATIONS, SolveSettings, Weights, solve, solve_states
from lrnde_benchmarks._backends._jax_state import tree_arrays, tree_like
from lrnde_benchmarks._backends._optax import step
from lrnde_benchmarks._backends._plan_state import plan_array, plan_of, plan_state
from lrnde_benchmarks._backends._taylor_jax import (
    frozen_midpoint,
    initial_midpoint,
    initial_optimizer_state,
    learn_midpoint,
)
from lrnde_benchmarks._backends._trainer import Evaluation, Prediction, Spent
from lrnde_benchmarks._clock import now
from lrnde_benchmarks._hyperparameters import Hyperparameters, Optimizer
from lrnde_benchmarks._settings import ExpansionSettings, Penalty, Setting
from lrnde_benchmarks._tasks._task import AbstractProblem, Data
from lrnde_core import AbstractWeight, CheckedPlan, Constant, Plan
from lrnde_jax import value_and_grad

# Name of the number of iterations in a trainer's state, beside the leaves of `_State`.
_NUM_DONE = "num_done"
_PLAN = "plan"

# Room for the steps of a solve that nothing is differentiated through.
_MAX_COUNTED_STEPS = 2**14


@final
class _State(NamedTuple):
    """What an iteration changes."""

    weights: Weights
    optimizer: Any
    penalty_weight: Any
    midpoint_optimizer: Any


@final
class _Examples(NamedTuple):
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
class _Program:
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


def _optimizer(program: _Program, weight_decay: Any) -> optax.GradientTransformation:
    rate = optax.exponential_decay(program.learning_rate, 1, program.learning_rate_decay)
    if program.optimizer == "adam":
        return optax.adamw(rate, weight_decay=weight_decay)
    return optax.adamaxw(rate, weight_decay=weight_decay)


def _noise(method: SolveSettings, key: Array) -> Array | None:
    """The key of the Brownian path, if there is one."""
    return jax.random.fold_in(key, 1) if method.problem.is_stochastic else None


def _training_state(
    problem: AbstractProblem, weights: Weights, inputs: Array, examples: _Examples, index: Array
) -> tuple[Array, Any]:
    """The state at time 0 of a training iteration, and the part of the loss that is due to drawing it."""
    if examples.noise is None or examples.divergence_weights is None:
        return problem.initial_state(OPERATIONS, weights, inputs), 0.0
    y0, divergence = problem.drawn_state(OPERATIONS, weights, inputs, examples.noise[index])
    return y0, examples.divergence_weights[index] * divergence


def _initial_state(method: SolveSettings, weights: Weights, inputs: Array) -> Array:
    return method.problem.initial_state(OPERATIONS, weights, inputs)


@functools.cache
def _training_loop(program: _Program) -> Callable[..., tuple[_State, Array, Array]]:
    """A compiled function that runs `count` iterations from iteration `start` on.

    It stops early after an iteration whose steps estimate an error above `limit`. Returns the state, the number of
    iterations that are done then, and the last estimate; 0 for adaptive steps.
    """
    method, problem = program.method, program.method.problem
    is_penalised, wrapped = program.penalty is not None, None
    if program.penalty is not None or program.checked is not None:
        wrapped = (program.penalty or Penalty()).wrap(diffrax.diffeqsolve, program.checked)
    planned = {} if program.checked is None else {"plan": program.steps}

    def loss(weights: Weights, examples: _Examples, index: Array, key: Array) -> Any:
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

    def learn(weights: Weights, state: Any, examples: _Examples, index: Array) -> Any:
        assert method.expansion is not None
        inputs = examples.inputs[examples.batches[index]]
        y0 = _initial_state(method, weights, inputs)

        def states(method: SolveSettings, weights: Weights) -> Array:
            return solve_states(diffrax.diffeqsolve, method, weights, inputs, y0, None)[0]

        wanted = functools.partial(states, method._replace(expansion=None), weights)
        return learn_midpoint(method.expansion, index, weights, state, functools.partial(states, method), wanted)

    @jax.jit
    def run(
        state: _State, examples: _Examples, weight_decay: Any, key: Array, start: Any, count: Any, limit: Any
    ) -> tuple[_State, Array, Array]:
        optimizer = _optimizer(program, weight_decay)

        def goes_on(carry: tuple[_State, Array, Array]) -> Array:
            _, index, estimate = carry
            # Also false for what is not a number.
            return (index < start + count) & (estimate <= limit)

        def iterate(carry: tuple[_State, Array, Array]) -> tuple[_State, Array, Array]:
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
            return _State(weights, optimizer_state, penalty_weight, midpoint_state), index + 1, estimate

        return jax.lax.while_loop(goes_on, iterate, (state, jnp.asarray(start), jnp.zeros(())))

    return run


@functools.cache
def predictor(method: SolveSettings) -> Callable[[Weights, Array, Array], Array]:
    """A compiled function from inputs to predictions, by the bare solver call."""
    native = method.native

    @jax.jit
    def predict(weights: Weights, inputs: Array, key: Array) -> Array:
        y0 = _initial_state(method, weights, inputs)
        ys, _ = solve_states(native, method, weights, inputs, y0, _noise(method, key))
        return method.problem.outputs(OPERATIONS, weights, ys)

    return predict


@functools.cache
def _checker(program: _Program) -> Callable[..., tuple[Array, lrnde.Report]]:
    """A compiled function that solves a batch of the training, and returns its states and report."""
    assert program.checked is not None
    method, wrapped = program.method, lrnde.regularize(diffrax.diffeqsolve, steps=program.checked)

    @jax.jit
    def check(weights: Weights, examples: _Examples, index: Array) -> tuple[Array, lrnde.Report]:
        inputs = examples.inputs[examples.batches[index]]
        y0, _ = _training_state(method.problem, weights, inputs, examples, index)
        ys, report = solve_states(wrapped, method, weights, inputs, y0, None, penalize=False, plan=program.steps)
        start = len(ys) + 1 - len(method.problem.times)
        return jnp.swapaxes(ys[start:], 0, 1), report

    return check


def _counter(method: SolveSettings) -> Callable[[Weights, Array, Array], tuple[Array, lrnde.Report]]:
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
        y0 = _initial_state(method, weights, inputs)
        ys, report = solve_states(wrapped, chosen, weights, inputs, y0, _noise(method, key), penalize=False, **room)
        return method.problem.outputs(OPERATIONS, weights, ys), report

    return count


@functools.cache
def _states_finder(method: SolveSettings) -> Callable[[Weights, Array, Array], Array]:
    """A compiled function from inputs to the states at the times after 0."""
    native = method.native

    @jax.jit
    def states(weights: Weights, inputs: Array, key: Array) -> Array:
        y0 = _initial_state(method, weights, inputs)
        ys, _ = solve_states(native, method, weights, inputs, y0, _noise(method, key))
        return ys[1 - len(method.problem.times) :]

    return states


@functools.cache
def _stepper(method: SolveSettings) -> Callable[[Weights, Array, Array], Array]:
    """A compiled function from inputs to the end times of the steps, padded with inf.

    Where examples are solved apart, these are the first one's.
    """

    @jax.jit
    def steps(weights: Weights, inputs: Array, key: Array) -> Array:
        inputs = inputs[:1] if method.problem.solves_apart else inputs
        y0, saveat = _initial_state(method, weights, inputs), diffrax.SaveAt(steps=True)
        return solve(diffrax.diffeqsolve, method, weights, inputs, y0, _noise(method, key), saveat=saveat).ts

    return steps


def _spelled(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """In place of a solver call: its arguments."""
    return args, kwargs


@final
class JaxTrainer:
    """See `lrnde_benchmarks.Trainer`."""

    def __init__(
        self, problem: AbstractProblem, hyperparameters: Hyperparameters, setting: Setting, data: Data, seed: int
    ) -> None:
        if hyperparameters.dtype == "float64":
            jax.config.update("jax_enable_x64", True)
        dtype = jnp.dtype(hyperparameters.dtype)
        # The weight of `Constant` lives in its state alone, so one compilation serves them all.
        weight = Constant(0.0) if isinstance(setting.weight, Constant) else setting.weight
        self._problem = problem
        self._hyperparameters = hyperparameters
        self._tolerance = hyperparameters.tolerance if setting.tolerance is None else setting.tolerance
        self._program = _Program(
            self._method(None, setting.expansion),
            setting.penalty,
            weight,
            setting.steps,
            None,
            hyperparameters.optimizer,
            hyperparameters.learning_rate,
            hyperparameters.learning_rate_decay,
        )
        self._weight_decay = jnp.asarray(setting.weight_decay, dtype)
        self._expansion = setting.expansion
        weights: Weights = {
            name: jnp.asarray(value, dtype) for name, value in problem.initial_weights(hyperparameters, seed).items()
        }
        self._untrained = weights
        midpoint_state = None
        if setting.expansion is not None:
            y0 = problem.initial_state(OPERATIONS, weights, jnp.asarray(data.inputs[:1], dtype))
            weights = {**weights, **initial_midpoint(setting.expansion, y0, seed)}
            midpoint_state = initial_optimizer_state(setting.expansion, weights)
        self._state = _State(
            weights,
            _optimizer(self._program, self._weight_decay).init(weights),
            setting.weight.init(like=self._weight_decay),
            midpoint_state,
        )
        targets_dtype = dtype if np.issubdtype(data.targets.dtype, np.floating) else jnp.int32
        end_times = setting.end_times(seed, hyperparameters.steps)
        self._data = data
        self._examples = _Examples(
            jnp.asarray(data.inputs, dtype),
            jnp.asarray(data.targets, targets_dtype),
            jnp.asarray(data.train_batches, jnp.int32),
            None if end_times is None else jnp.asarray(end_times, dtype),
            None if data.noise is None else jnp.asarray(data.noise, dtype),
            None if data.divergence_weights is None else jnp.asarray(data.divergence_weights, dtype),
        )
        self._test_batches = jnp.asarray(data.test_batches, jnp.int32)
        self._key = jax.random.key(seed)
        self._test_key = jax.random.fold_in(self._key, hyperparameters.steps)
        self._num_done = 0
        self._checked = None if setting.steps is None else setting.steps.init()
        self._estimate: float | None = None
        self._compiled: set[Any] = set()
        self._compilation = 0.0

    def prepare(self) -> float:
        begin = now()
        if self._checked is not None:
            self._check()
        self._run(0)
        return now() - begin

    def train(self, num_steps: int) -> Spent:
        begin, end = now(), self._num_done + num_steps
        self._compilation = 0.0
        while self._num_done < end:
            count, limit = end - self._num_done, math.inf
            if self._checked is not None:
                count, limit = min(count, self._check()), self._limit()
            self._state, num_done, estimate = self._run(count, limit)
            count, self._num_done = int(num_done) - self._num_done, int(num_done)
            if self._checked is not None and self._program.checked is not None:
                self._checked = self._program.checked.next(self._checked, count)
                self._estimate = float(estimate) if self._checked.steps is not None else None
        return Spent(now() - begin - self._compilation, self._compilation)

    def evaluate(self, prediction: Prediction = None) -> Evaluation:
        method = self._method(prediction, self._expansion)
        if method.plan is not None:
            outputs = self._test_all(predictor(method))
            return Evaluation(self._score(outputs), method.plan.num_evaluations, method.plan.steps.num_steps)
        solves = self._test_all(_counter(method))
        reports = [report for _, report in solves]
        return Evaluation(
            self._score([outputs for outputs, _ in solves]),
            sum(self._num_evaluations(report) for report in reports) / len(reports),
            sum(float(report.num_accepted) for report in reports) / len(reports),
        )

    def predict_once(self, prediction: Prediction = None) -> float:
        return self._predict(self._method(prediction, self._expansion), self._state.weights)

    def predict_reference(self) -> float:
        return self._predict(self._method(self._hyperparameters.tolerance, None), self._untrained)

    def step_times(self, prediction: Prediction = None) -> list[float]:
        if isinstance(prediction, Plan):
            return list(prediction.steps.ends)
        times = _stepper(self._method(prediction, self._expansion))(*self._test_arguments(0))
        return [float(end) for end in times if jnp.isfinite(end)]

    def weights(self) -> Arrays:
        return tree_arrays(self._state.weights)

    def load(self, weights: Arrays) -> None:
        self._state = self._state._replace(weights=tree_like(self._state.weights, weights))

    def state(self) -> Arrays:
        arrays = {**tree_arrays(self._state), _NUM_DONE: np.asarray(self._num_done)}
        if self._checked is not None:
            plan = {"plan": dataclasses.asdict(self._checked), "step_error": self._estimate}
            arrays[_PLAN] = plan_array(plan)
        return arrays

    def restore(self, state: Arrays) -> None:
        own = (_NUM_DONE, _PLAN)
        self._state = tree_like(self._state, {name: each for name, each in state.items() if name not in own})
        self._num_done = int(state[_NUM_DONE])
        if _PLAN in state:
            plan = plan_state(state[_PLAN])
            self._checked, self._estimate = CheckedPlan.from_fields(plan["plan"]), plan["step_error"]
            self._program = dataclasses.replace(self._program, steps=self._checked.steps)

    def checked(self) -> CheckedPlan | None:
        return self._checked

    def plan(self, steps: lrnde.FixedSteps) -> Plan:
        weights, inputs, _ = self._test_arguments(0)
        method = self._method(None, None)
        return plan_of(steps, _initial_state(method, weights, inputs).shape, self._problem)

    def freeze(self, error: float, over: float | str = "max") -> lrnde.FreezeReport:
        method, weights = self._method(None, self._expansion), self._state.weights
        calls, settings = [], {}
        for batch in [] if self._data.calibration is None else self._data.calibration:
            inputs = self._examples.inputs[jnp.asarray(batch, jnp.int32)]
            # Fixed steps are the same for every example, so these are solved together.
            args, settings = solve(_spelled, method, weights, inputs, _initial_state(method, weights, inputs), None)
            calls.append(args)
        return lrnde.freeze(
            functools.partial(diffrax.diffeqsolve, **settings), calibration=calls, error=error, over=over
        )[1]

    def states(self, prediction: Prediction = None) -> list[Floats]:
        found = self._test_all(_states_finder(self._method(prediction, self._expansion)))
        return [np.asarray(ys) for ys in found]

    def _predict(self, method: SolveSettings, weights: Weights) -> float:
        predict = predictor(method)
        _, inputs, key = jax.block_until_ready(self._test_arguments(0))
        begin = now()
        jax.block_until_ready(predict(weights, inputs, key))
        return now() - begin

    def _check(self) -> int:
        """Check the steps if that is due; how many iterations they are to be taken for."""
        checked, steps = self._checked, self._program.checked
        assert checked is not None
        assert steps is not None
        if steps.is_due(checked, self._estimate):
            checked = steps.choose_by(checked, self._solve_checked)
            self._checked, self._estimate = checked, None
            self._program = dataclasses.replace(self._program, steps=checked.steps)
        assert checked.checked_at is not None
        return checked.checked_at + checked.period - checked.num_iterations

    def _limit(self) -> float:
        """The estimate of an error beyond which a check is due."""
        assert self._checked is not None
        assert self._program.checked is not None
        return self._program.checked.largest_estimate(self._checked)

    def _solve_checked(self, steps: lrnde.FixedSteps | None) -> tuple[Array, lrnde.Report]:
        check = _checker(dataclasses.replace(self._program, steps=steps))
        index = min(self._num_done, len(self._examples.batches) - 1)
        arguments = self._state.weights, self._examples, jnp.asarray(index)
        self._compile_first((_checker, steps), lambda: check(*arguments))
        return jax.block_until_ready(check(*arguments))

    def _run(self, num_steps: int, limit: float = math.inf) -> tuple[_State, Array, Array]:
        run = _training_loop(self._program)
        arguments = self._state, self._examples, self._weight_decay, self._key, self._num_done
        self._compile_first((_training_loop, self._program.steps), lambda: run(*arguments, 0, limit))
        return jax.block_until_ready(run(*arguments, num_steps, limit))

    def _compile_first(self, name: Any, call: Callable[[], Any]) -> None:
        """Call what is called for the first time once more before it counts, and note how long that took."""
        if name not in self._compiled:
            self._compiled.add(name)
            begin = now()
            jax.block_until_ready(call())
            self._compilation += now() - begin

    def _num_evaluations(self, report: lrnde.Report) -> float:
        if self._expansion is None:
            assert report.nfe is not None  # diffrax shows it
            return float(report.nfe)
        assert report.num_steps is not None  # as above
        # The adapter does not know what a step of another library's solver costs.
        return float(report.num_steps) * self._expansion.evaluations_per_step

    def _method(self, prediction: Prediction, expansion: ExpansionSettings | None) -> SolveSettings:
        hyperparameters = self._hyperparameters
        return SolveSettings(
            self._problem,
            prediction if isinstance(prediction, float) else self._tolerance,
            hyperparameters.first_step,
            expansion,
            prediction if isinstance(prediction, Plan) else None,
            hyperparameters.solver,
        )

    def _test_all(self, predict: Callable[[Weights, Array, Array], Any]) -> list[Any]:
        return [predict(*self._test_arguments(index)) for index in range(len(self._test_batches))]

    def _score(self, outputs: list[Array]) -> float:
        return self._problem.score([np.asarray(each) for each in outputs], self._data, self._hyperparameters)

    def _test_arguments(self, index: int) -> tuple[Weights, Array, Array]:
        """Weights, inputs and key of a prediction solve."""
        key = jax.random.fold_in(self._test_key, index)
        return self._state.weights, self._examples.inputs[self._test_batches[index]], key
