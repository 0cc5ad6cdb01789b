"""Read handwritten digits row by row through a neural CDE with diffrax.

python examples/neural_cde_diffrax.py [--iterations N]
"""

import argparse
import functools
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from sklearn.datasets import load_digits

import lrnde

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--iterations", type=int, default=200)
iterations = parser.parse_args().iterations

# A series of 8 rows with 8 pixels each, and the time beside them.
pixels, digits = load_digits(return_X_y=True)
order = jax.random.permutation(jax.random.key(0), len(pixels))
rows, labels = jnp.asarray(pixels / 16, jnp.float32).reshape(-1, 8, 8)[order], jnp.asarray(digits)[order]
ts = jnp.linspace(0.0, 1.0, 8)
series = jnp.concatenate([jnp.broadcast_to(ts[:, None], (len(rows), 8, 1)), rows], axis=2)
coefficients = jnp.stack(jax.vmap(functools.partial(diffrax.backward_hermite_coefficients, ts))(series), axis=1)


class Model(eqx.Module):
    """A state of 16 channels that the path drives, from the first row to the scores of the digits."""

    initial: eqx.nn.Linear
    layers: eqx.nn.MLP
    head: eqx.nn.Linear

    def __init__(self, key: Any) -> None:
        keys = jax.random.split(key, 3)
        self.initial = eqx.nn.Linear(9, 16, key=keys[0])
        self.layers = eqx.nn.MLP(16, 16 * 9, 32, 1, jnp.tanh, jnp.tanh, key=keys[1])
        self.head = eqx.nn.Linear(16, 10, key=keys[2])

    def field(self, t: Any, z: Any, args: Any) -> Any:
        """The matrix that the path is multiplied by."""
        return self.layers(z).reshape(16, 9)

    def driven_by(self, coefficients: Any) -> tuple[diffrax.ODETerm, Any]:
        """The term and the initial state of a series."""
        path = diffrax.CubicInterpolation(ts, tuple(coefficients))
        return diffrax.ControlTerm(self.field, path).to_ode(), self.initial(path.evaluate(ts[0]))


solve = lrnde.regularize(diffrax.diffeqsolve)
solver, controller = diffrax.Tsit5(), diffrax.PIDController(rtol=1e-4, atol=1e-4)
optimizer = optax.adam(5e-3)


def loss(model: Model, coefficients: Any, label: Any, sample_key: Any) -> Any:
    """Cross entropy of one series."""
    term, z0 = model.driven_by(coefficients)
    sol, report = solve(term, solver, 0.0, 1.0, 0.02, z0, stepsize_controller=controller, key=sample_key)
    entropy = optax.softmax_cross_entropy_with_integer_labels(model.head(sol.ys[-1]), label)
    return entropy + 1e-4 * report.penalty


@eqx.filter_jit
def train_step(model: Model, state: Any, key: Any) -> tuple[Model, Any]:
    """One iteration on 64 random series, each of which takes its own steps."""
    batch = jax.random.randint(key, (64,), 360, len(labels))
    sample_keys = jax.random.split(jax.random.fold_in(key, 1), 64)  # so that lrnde draws one step of each

    @eqx.filter_grad
    def gradient(model: Model) -> Any:
        return jax.vmap(functools.partial(loss, model))(coefficients[batch], labels[batch], sample_keys).mean()

    updates, state = optimizer.update(gradient(model), state)
    return eqx.apply_updates(model, updates), state


@eqx.filter_jit
def test(model: Model) -> tuple[Any, Any]:
    """The accuracy on the first 360 images, which are not trained on, and the mean number of steps."""

    def scores(coefficients: Any) -> tuple[Any, Any]:
        term, z0 = model.driven_by(coefficients)
        sol = diffrax.diffeqsolve(term, solver, 0.0, 1.0, 0.02, z0, stepsize_controller=controller)
        return model.head(sol.ys[-1]), sol.stats["num_steps"]

    predicted, steps = jax.vmap(scores)(coefficients[:360])
    return (predicted.argmax(1) == labels[:360]).mean(), steps.mean()


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
