"""All seeds of a setting in one vmapped program, where the device has room for more than one training."""

# It is made of the trainers of its seeds, whose states it stacks.
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np

from lrnde_benchmarks._arrays import Floats
from lrnde_benchmarks._backends._jax import JaxTrainer
from lrnde_benchmarks._backends._jax_programs import Examples, training_loop
from lrnde_benchmarks._backends._trainer import Evaluation
from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._settings import Setting
from lrnde_benchmarks._tasks._task import AbstractProblem
from lrnde_core import InputError


@final
class JaxSeedsTrainer:
    """Trains each seed as `JaxTrainer` would, all of them at once: solves then take the steps of the longest.

    - `seeds`: at least one. Raises `InputError` where their examples differ, which are kept but once, where the seed
      decides more of the training than batches and keys, and where each seed would take its own steps.
    """

    def __init__(
        self, problem: AbstractProblem, hyperparameters: Hyperparameters, setting: Setting, seeds: Sequence[int]
    ) -> None:
        loaded = [problem.load(hyperparameters, seed) for seed in seeds]
        first_data = loaded[0]
        has_same_examples = all(np.array_equal(data.inputs, first_data.inputs) for data in loaded)
        if not has_same_examples or setting.end_spread or first_data.noise is not None or setting.steps is not None:
            raise InputError(
                "Seeds are trained at once where they have the same examples, draw no initial states, and all their "
                "solves end alike and take adaptive steps; train them one by one with `make_trainer`."
            )
        self._trainers = [
            JaxTrainer(problem, hyperparameters, setting, data, seed) for data, seed in zip(loaded, seeds, strict=True)
        ]
        first = self._trainers[0]
        for trainer in self._trainers[1:]:
            trainer._examples = trainer._examples._replace(
                inputs=first._examples.inputs, targets=first._examples.targets
            )
        self._state: Any = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[each._state for each in self._trainers])
        self._examples = first._examples._replace(
            batches=jnp.stack([each._examples.batches for each in self._trainers])
        )
        self._keys = jnp.stack([each._key for each in self._trainers])
        run: Callable[..., Any] = training_loop(first._program)
        examples_axes: Any = Examples(None, None, 0, None, None, None)  # pyright: ignore[reportArgumentType]
        self._run = jax.jit(jax.vmap(run, in_axes=(0, examples_axes, None, 0, None, None, None)))
        self._weight_decay = first._weight_decay
        self.num_done = 0

    def train(self, num_steps: int) -> None:
        """Train all seeds for `num_steps` more iterations, and wait for the end. The first call compiles."""
        arguments = self._state, self._examples, self._weight_decay, self._keys, self.num_done, num_steps
        state, _, _ = self._run(*arguments, math.inf)
        self._state = jax.block_until_ready(state)
        self.num_done += num_steps

    def weights(self, place: int) -> Mapping[str, Floats]:
        """The weights of the seed at this place, by name, as trained so far."""
        return {name: np.asarray(value[place]) for name, value in self._state.weights.items()}

    def evaluate(self) -> list[Evaluation]:
        """Predict the test batches of each seed."""
        for place, trainer in enumerate(self._trainers):
            trainer._state = jax.tree.map(lambda leaf, place=place: leaf[place], self._state)
        return [trainer.evaluate() for trainer in self._trainers]
