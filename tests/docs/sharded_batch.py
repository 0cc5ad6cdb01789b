"""The JAX code of the page about several devices, on two of them; prints what its test compares, as JSON."""

import collections
import json
import re
import sys
from pathlib import Path
from typing import Any

import diffrax
import jax
import jax.numpy as jnp

import lrnde
import lrnde_jax

_PAGE = Path(__file__).parents[2] / "docs" / "devices.md"
_COLLECTIVE = r" (all-gather|all-reduce|all-to-all|collective-permute|collective-broadcast|reduce-scatter)(?:-start)?\("


def _collectives(step: Any, *args: Any) -> dict[str, int]:
    """How often the compiled program communicates, by the kind of operation."""
    return dict(collections.Counter(re.findall(_COLLECTIVE, step.lower(*args).compile().as_text())))


def main() -> None:
    *_, sharded, mapped, weighted = re.findall(
        r"^```python\n(.*?)^```$", _PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    params, key = jnp.eye(3) / 2, jax.random.key(0)
    x = jnp.sin(jnp.linspace(-2.0, 2.0, 24).reshape(8, 3)) * jnp.repeat(jnp.array([[1.0], [3.0]]), 4, 0)
    controller = diffrax.PIDController(rtol=1e-5, atol=1e-5)
    term, solver = diffrax.ODETerm(lambda t, y, params: jnp.tanh(y @ params)), diffrax.Tsit5()
    solve = lrnde.regularize(diffrax.diffeqsolve)
    namespace: dict[str, Any] = {"jax": jax, "term": term, "solver": solver, "controller": controller}
    namespace |= {"solve": solve, "params": params, "x": x, "key": key}
    exec(sharded, namespace)

    def bare_loss(params: Any, x: Any, key: Any) -> Any:
        del key
        sol = diffrax.diffeqsolve(term, solver, 0.0, 1.0, 0.1, x, params, stepsize_controller=controller, throw=False)
        return (sol.ys[-1] ** 2).mean()

    on_two = jax.device_put(params, namespace["whole"]), jax.device_put(x, namespace["shards"]), key
    step = namespace["step"]
    (_, alone), gradient = step(params, x, key)

    def part_loss(params: Any, x: Any, key: Any) -> Any:
        sol, report = solve(
            term, solver, 0.0, 1.0, 0.1, x, params, stepsize_controller=controller, key=key, throw=False,
            adjoint=diffrax.DirectAdjoint(), max_steps=16,
        )  # fmt: skip
        return (sol.ys[-1] ** 2).mean() + 0.3 * report.penalty, report

    # What `part_step` is to average, one part after the other on one device.
    part_step = jax.jit(jax.value_and_grad(part_loss, has_aux=True))
    parts = [part_step(params, x[4 * each : 4 * each + 4], jax.random.fold_in(key, each)) for each in range(2)]
    found = {
        "sharded": [namespace["report"].penalty, namespace["gradient"], namespace["report"].nfe],
        "alone": [alone.penalty, gradient, alone.nfe],
        "collectives": _collectives(step, *on_two),
        "bare collectives": _collectives(jax.jit(jax.value_and_grad(bare_loss)), *on_two),
    }
    namespace["part_loss"] = part_loss
    exec(mapped, namespace)
    found |= {
        "mapped": [namespace["penalty"], namespace["gradient"], namespace["nfe"]],
        "parts": [
            sum(report.penalty for (_, report), _ in parts) / 2,
            sum(each for _, each in parts) / 2,
            [report.nfe for (_, report), _ in parts],
        ],
        "mapped collectives": _collectives(namespace["step"], params, x, key),
    }

    def task_loss(params: Any, x: Any, key: Any) -> Any:
        loss, report = part_loss(params, x, key)
        return loss - 0.3 * report.penalty, report

    def joint_loss(params: Any, x: Any, key: Any) -> Any:
        """That of both parts, on one device."""
        parts = [task_loss(params, x[4 * each : 4 * each + 4], jax.random.fold_in(key, each)) for each in range(2)]
        return sum(loss for loss, _ in parts) / 2, [report._replace(penalty=report.penalty / 2) for _, report in parts]

    weight = lrnde.GradientRatio()
    joint_step, state = jax.jit(lrnde_jax.value_and_grad(joint_loss, weight)), weight.init(like=x)
    for _ in range(2):
        _, gradient, state = joint_step(params, state, x, key)
    namespace |= {"lrnde": lrnde, "lrnde_jax": lrnde_jax, "task_loss": task_loss}
    exec(weighted, namespace)
    # Only from the second iteration on the penalty has a weight.
    _, weighted_gradient, weighted_state = namespace["step"](params, namespace["state"], x, key)
    found |= {"weighted": [weighted_gradient, *weighted_state], "jointly weighted": [gradient, *state]}
    sys.stdout.write(json.dumps(jax.tree.map(lambda each: jnp.asarray(each).tolist(), found)))


if __name__ == "__main__":
    main()
