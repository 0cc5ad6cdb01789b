"""The cost of a point heuristic beside one evaluation: products with the Jacobian, and derivatives by order.

    python benchmarks/heuristic_cost.py [--fast] [--backend torch|jax] [--json FILE]

An iteration is the density of a heuristic at one point and its gradient by the parameters. That of `KineticEnergy`, one
evaluation, alternates with each of the others in one process on one thread; the figure is the median of the paired
ratios of processor time with its 95% interval. Field and batch are those of overhead.py. Beside our derivatives along
the solution stand the other ways: in torch forward mode nested, in JAX directional derivatives nested and
`jax.experimental.jet`.
"""

import argparse
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lrnde
import lrnde_core
from lrnde_benchmarks._paired_times import Iteration, paired_ratios
from lrnde_benchmarks._statistics import in_words
from overhead import SIZE, jax_field, torch_field

ORDERS = (2, 3, 4, 5, 6)
HEURISTICS: dict[str, lrnde_core.AbstractPointHeuristic] = {
    "JacobianNorm, vjp, gaussian": lrnde.JacobianNorm(),
    "JacobianNorm, vjp, rademacher": lrnde.JacobianNorm("rademacher"),
    "JacobianNorm, jvp, gaussian": lrnde.JacobianNorm(mode="jvp"),
    **{f"TaylorDerivative({order})": lrnde.TaylorDerivative(order) for order in ORDERS},
}
REFERENCE = lrnde.KineticEnergy()


def torch_iterations() -> tuple[Iteration, dict[str, Iteration]]:
    """The iteration of the reference, and the others by name."""
    import torch

    from lrnde_torch import ExplicitProblem

    torch.manual_seed(0)
    torch.set_num_threads(1)

    field, t, y = torch_field(SIZE.width), torch.tensor(0.3), torch.randn(SIZE)
    problem = ExplicitProblem(
        field=field,
        user_field=field,
        tableau=lrnde_core.ExplicitTableau((), (1.0,), (0.0,), None),
        rtol=None,
        atol=None,
        error_norm=torch.linalg.vector_norm,
        dtype=y.dtype,
        device=y.device,
        starts_after_t0=False,
        ends_before_t1=False,
    )

    def iteration(loss: Callable[[], Any]) -> Iteration:
        def iterate() -> None:
            field.zero_grad()
            loss().backward()

        return iterate

    def forward_mode(function: Any, t: Any, y: Any, velocity: Any) -> Any:
        return torch.func.jvp(function, (t, y), (torch.ones_like(t), velocity))[1]

    others = {
        name: iteration(functools.partial(_density, heuristic, problem, t, y)) for name, heuristic in HEURISTICS.items()
    }
    for order in ORDERS:
        nested = functools.partial(_nested, forward_mode, field, order, t, y)
        others[f"order {order}, forward mode nested"] = iteration(lambda nested=nested: nested().square().mean())
    return iteration(functools.partial(_density, REFERENCE, problem, t, y)), others


def jax_iterations() -> tuple[Iteration, dict[str, Iteration]]:
    """The same for JAX."""
    import diffrax
    import jax
    import jax.numpy as jnp
    from jax.experimental.jet import jet

    from lrnde_diffrax._problem import DiffraxProblem

    field, weights, y = jax_field(SIZE)
    t = jnp.asarray(0.3)

    def iteration(loss: Callable[[Any, Any, Any], Any]) -> Iteration:
        gradient = jax.jit(jax.grad(loss))
        return lambda: jax.block_until_ready(gradient(weights, t, y))

    def density(heuristic: lrnde_core.AbstractPointHeuristic, weights: Any, t: Any, y: Any) -> Any:
        problem = DiffraxProblem(
            terms=diffrax.ODETerm(field),  # pyright: ignore[reportArgumentType]
            args=weights,
            solver=None,
            rtol=None,
            atol=None,
            error_norm=jnp.linalg.norm,
            structure=jax.tree.structure(y),
            tableau=None,
            is_doubled=False,
            advances_by_halves=False,
            noise_labels=(),
        )
        return _density(heuristic, problem, t, y)

    def directional(function: Any, t: Any, y: Any, velocity: Any) -> Any:
        return jax.jvp(function, (t, y), (jnp.ones_like(t), velocity))[1]

    def by_jet(order: int, weights: Any, t: Any, y: Any) -> Any:
        slopes = [field(t, y, weights)]
        for degree in range(1, order):
            time = [jnp.ones_like(t), *[jnp.zeros_like(t)] * (degree - 1)]
            _, series = jet(lambda t, y: field(t, y, weights), (t, y), (time, slopes))
            slopes = [*slopes, series[-1]]
        return jnp.mean(slopes[-1] ** 2)

    def by_nesting(order: int, weights: Any, t: Any, y: Any) -> Any:
        return jnp.mean(_nested(directional, lambda t, y: field(t, y, weights), order, t, y) ** 2)

    others = {name: iteration(functools.partial(density, heuristic)) for name, heuristic in HEURISTICS.items()}
    for order in ORDERS:
        others[f"order {order}, directional derivatives nested"] = iteration(functools.partial(by_nesting, order))
        others[f"order {order}, jet"] = iteration(functools.partial(by_jet, order))
    return iteration(functools.partial(density, REFERENCE)), others


def _density(
    heuristic: lrnde_core.AbstractPointHeuristic, problem: lrnde_core.AbstractLocalProblem, t: Any, y: Any
) -> Any:
    local = lrnde_core.LocalState(
        problem, t, 1.0, (y,), carry=None, fraction=None, error_order=1.0, stability_interval=None, probe_seed=7
    )
    return heuristic.density(local, t, (y,))


def _nested(directional: Any, field: Any, order: int, t: Any, y: Any) -> Any:
    """The derivative of this order by nested directional derivatives."""
    velocity = field(t, y)
    if order == 1:
        return velocity
    return directional(functools.partial(_nested, directional, field, order - 1), t, y, velocity)


def main() -> None:
    """Print the table; write it to a file if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="fewer repetitions")
    parser.add_argument("--backend", choices=["torch", "jax"], help="only this one")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for backend, make in (("torch", torch_iterations), ("jax", jax_iterations)):
        if options.backend not in (None, backend):
            continue
        reference, others = make()
        for name, other in others.items():
            (ratio,), seconds = paired_ratios(reference, [other], 1.0 if options.fast else 6.0)
            rows.append({"backend": backend, "name": name, "ratio": ratio._asdict(), "reference_ms": 1e3 * seconds})
            print(f"{backend:6} {name:44} {in_words(ratio, 2)} evaluations of {1e3 * seconds:.2f} ms", flush=True)
    if options.json:
        lrnde_core.write_text(options.json, json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
