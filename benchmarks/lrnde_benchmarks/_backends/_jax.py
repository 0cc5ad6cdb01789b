"""The training loop in JAX, by programs that are compiled as a whole."""

# Optax and parts of jax and diffrax come without types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, final

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import lrnde
from lrnde_benchmarks._arrays import Arrays, Floats
from lrnde_benchmarks._backends._diffrax import OPERATIONS, SolveSettings, Weights, solve
from lrnde_benchmarks._backends._jax_programs import (
    Examples,
    Program,
    TrainState,
    checker,
    counter,
    initial_state,
    make_optimizer,
    predictor,
    states_finder,
    stepper,
    training_loop,
)
from lrnde_benchmarks._backends._jax_state import tree_arrays, tree_like
from lrnde_benchmarks._backends._plan_state import plan_array, plan_of, plan_state, spelled
from lrnde_benchmarks._backends._taylor_jax import initial_midpoint, initial_optimizer_state
from lrnde_benchmarks._backends._trainer import Evaluation, Prediction, Spent
from lrnde_benchmarks._clock import now
from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._settings import ExpansionSettings, Setting
from lrnde_benchmarks._tasks._task import AbstractProblem, Data
from lrnde_core import CheckedPlan, Constant, Plan

# Name of the number of iterations in a trainer's state, beside the leaves of `TrainState`.
_NUM_DONE = "num_done"
_PLAN = "plan"


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
        self._program = Program(
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
        self._state = TrainState(
            weights,
            make_optimizer(self._program, self._weight_decay).init(weights),
            setting.weight.init(like=self._weight_decay),
            midpoint_state,
        )
        targets_dtype = dtype if np.issubdtype(data.targets.dtype, np.floating) else jnp.int32
        end_times = setting.end_times(seed, hyperparameters.steps)
        self._data = data
        self._examples = Examples(
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
        solves = self._test_all(counter(method))
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
        times = stepper(self._method(prediction, self._expansion))(*self._test_arguments(0))
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
        return plan_of(steps, initial_state(method, weights, inputs).shape, self._problem)

    def freeze(self, error: float, over: float | str = "max") -> lrnde.FreezeReport:
        method, weights = self._method(None, self._expansion), self._state.weights
        calls, settings = [], {}
        for batch in [] if self._data.calibration is None else self._data.calibration:
            inputs = self._examples.inputs[jnp.asarray(batch, jnp.int32)]
            # Fixed steps are the same for every example, so these are solved together.
            args, settings = solve(spelled, method, weights, inputs, initial_state(method, weights, inputs), None)
            calls.append(args)
        return lrnde.freeze(
            functools.partial(diffrax.diffeqsolve, **settings), calibration=calls, error=error, over=over
        )[1]

    def states(self, prediction: Prediction = None) -> list[Floats]:
        found = self._test_all(states_finder(self._method(prediction, self._expansion)))
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
        check = checker(dataclasses.replace(self._program, steps=steps))
        index = min(self._num_done, len(self._examples.batches) - 1)
        arguments = self._state.weights, self._examples, jnp.asarray(index)
        self._compile_first((checker, steps), lambda: check(*arguments))
        return jax.block_until_ready(check(*arguments))

    def _run(self, num_steps: int, limit: float = math.inf) -> tuple[TrainState, Array, Array]:
        run = training_loop(self._program)
        arguments = self._state, self._examples, self._weight_decay, self._key, self._num_done
        self._compile_first((training_loop, self._program.steps), lambda: run(*arguments, 0, limit))
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
