"""Hold a neural ODE at a target number of evaluations with diffrax: the weight adapts itself.

python examples/diffrax_digits.py [--iterations N] [--target EVALUATIONS]
"""

import argparse
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import optax
from sklearn.datasets import load_digits

import lrnde

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--iterations", type=int, default=300)
parser.add_argument("--target", type=float, default=25.0)
options = parser.parse_args()

images, labels = load_digits(return_X_y=True)
images, labels = jnp.asarray(images / 16, jnp.float32), jnp.asarray(labels, jnp.int32)

solve = lrnde.regularize(diffrax.diffeqsolve)
schedule = lrnde.NFETarget(options.target)
optimizer = optax.adam(1e-3)
controller = diffrax.PIDController(rtol=1e-5, atol=1e-5)


def field(t: Any, y: Any, weights: Any) -> Any:
    """dy/dt of a batch of images, shape (batch, 64)."""
    return jnp.tanh(y @ weights["in"] + t * weights["time"]) @ weights["out"]


term = diffrax.ODETerm(field)


def loss(weights: Any, batch: Any, penalty_weight: Any, key: Any) -> Any:
    """Cross entropy plus the weighted penalty, and the report."""
    x, y = batch
    solution, report = solve(
        term, diffrax.Tsit5(), 0.0, 1.0, 0.2, x, weights, stepsize_controller=controller, max_steps=256, key=key
    )
    scores = solution.ys[-1] @ weights["head"]
    entropy = optax.softmax_cross_entropy_with_integer_labels(scores, y).mean()
    return entropy + penalty_weight * report.penalty, report


@jax.jit
def iterate(weights: Any, optimizer_state: Any, weight_state: Any, key: Any) -> Any:
    """One training iteration; the weight follows the report."""
    chosen = jax.random.choice(key, len(images), (128,))
    penalty_weight = schedule.value(weight_state)
    gradient, report = jax.grad(loss, has_aux=True)(weights, (images[chosen], labels[chosen]), penalty_weight, key)
    updates, optimizer_state = optimizer.update(gradient, optimizer_state)
    return optax.apply_updates(weights, updates), optimizer_state, schedule.update(weight_state, report), report


keys = jax.random.split(jax.random.key(0), 4)
sizes = {"in": (64, 100), "time": (1, 100), "out": (100, 64), "head": (64, 10)}
weights = {name: 0.1 * jax.random.normal(key, size) for key, (name, size) in zip(keys, sizes.items(), strict=True)}
state, weight_state = optimizer.init(weights), schedule.init()
for i in range(options.iterations):
    weights, state, weight_state, report = iterate(weights, state, weight_state, jax.random.key(i))
    if (i + 1) % 50 == 0:
        schedule.check(weight_state)
        print(f"iteration {i + 1}: {report.nfe} evaluations, weight {float(schedule.value(weight_state)):.4f}")
