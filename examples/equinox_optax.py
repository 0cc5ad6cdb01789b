"""Tell tumours apart by a neural ODE with diffrax, equinox and optax; each record takes steps of its own.

python examples/equinox_optax.py [--iterations N]
"""

import argparse
import functools
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from sklearn.datasets import load_breast_cancer

import lrnde

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--iterations", type=int, default=300)
iterations = parser.parse_args().iterations

features, classes = load_breast_cancer(return_X_y=True)
order = jax.random.permutation(jax.random.key(0), len(features))
x = jnp.asarray((features - features.mean(0)) / features.std(0), jnp.float32)[order]
labels = jnp.asarray(classes)[order]


class Model(eqx.Module):
    """The dynamics of a record of 30 numbers, and what makes scores of two classes of it."""

    layers: eqx.nn.MLP
    head: eqx.nn.Linear

    def __init__(self, key: Any) -> None:
        first, second = jax.random.split(key)
        self.layers = eqx.nn.MLP(31, 30, 64, 1, jnp.tanh, key=first)
        self.head = eqx.nn.Linear(30, 2, key=second)

    def field(self, t: Any, y: Any, args: Any) -> Any:
        """dy/dt of one record."""
        return self.layers(jnp.append(y, t))


solve = lrnde.regularize(diffrax.diffeqsolve)
solver, controller = diffrax.Tsit5(), diffrax.PIDController(rtol=1e-5, atol=1e-5)
schedule = optax.cosine_decay_schedule(1e-2, max(iterations, 1))
optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=1e-2))


def loss(model: Model, y0: Any, label: Any, sample_key: Any) -> Any:
    """Cross entropy of one record."""
    term = diffrax.ODETerm(model.field)
    sol, report = solve(term, solver, 0.0, 1.0, 0.1, y0, stepsize_controller=controller, key=sample_key)
    entropy = optax.softmax_cross_entropy_with_integer_labels(model.head(sol.ys[-1]), label)
    return entropy + 0.1 * report.penalty


@eqx.filter_jit
def train_step(model: Model, state: Any, key: Any) -> tuple[Model, Any]:
    """One iteration on 64 random records."""
    batch = jax.random.randint(key, (64,), 150, len(labels))
    sample_keys = jax.random.split(jax.random.fold_in(key, 1), 64)  # so that lrnde draws one step of each

    @eqx.filter_grad
    def gradient(model: Model) -> Any:
        return jax.vmap(functools.partial(loss, model))(x[batch], labels[batch], sample_keys).mean()

    updates, state = optimizer.update(gradient(model), state, eqx.filter(model, eqx.is_inexact_array))
    return eqx.apply_updates(model, updates), state


@eqx.filter_jit
def test(model: Model) -> tuple[Any, Any]:
    """The accuracy on the first 150 records, which are not trained on, and the mean number of steps."""

    def scores(y0: Any) -> tuple[Any, Any]:
        term = diffrax.ODETerm(model.field)
        sol = diffrax.diffeqsolve(term, solver, 0.0, 1.0, 0.1, y0, stepsize_controller=controller)
        return model.head(sol.ys[-1]), sol.stats["num_steps"]

    predicted, steps = jax.vmap(scores)(x[:150])
    return (predicted.argmax(1) == labels[:150]).mean(), steps.mean()


def predict(when: str) -> None:
    """Print what `test` finds; Tsit5 evaluates six times a step, and once more."""
    accuracy, steps = test(model)
    print(f"{when} training: {1 + 6 * steps:.0f} evaluations, accuracy {accuracy:.3f}")


model = Model(jax.random.key(1))
state = optimizer.init(eqx.filter(model, eqx.is_inexact_array))
predict("before")
for key in jax.random.split(jax.random.key(2), iterations):
    model, state = train_step(model, state, key)
predict("after")
