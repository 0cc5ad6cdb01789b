"""A wrapped solve in this process, in one that forks from it, and in one that starts anew."""

import json
import multiprocessing
import sys
from typing import Any


def by_torch(solve: Any) -> list[float]:
    """A solve with its penalty, and their gradients."""
    import torch

    class Field(torch.nn.Linear):
        def forward(self, t: Any, y: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            del t
            return torch.tanh(super().forward(y))

    torch.manual_seed(0)
    field = Field(2, 2)
    ys, report = solve(field, torch.ones(3, 2), torch.tensor([0.0, 1.0]), draw=[0.4])
    (ys[-1].square().mean() + report.penalty).backward()
    tensors = [ys[-1], report.penalty, *(each.grad for each in field.parameters())]
    return [each for tensor in tensors for each in tensor.ravel().tolist()]


def by_jax(solve: Any) -> list[float]:
    """The same."""
    import diffrax
    import jax
    import jax.numpy as jnp

    def loss(matrix: Any) -> Any:
        term = diffrax.ODETerm(lambda _, y, matrix: jnp.tanh(y @ matrix))
        sol, report = solve(
            *(term, diffrax.Heun(), 0.0, 1.0, 0.5, jnp.ones((3, 2)), matrix),
            adjoint=diffrax.DirectAdjoint(),
            max_steps=4,
            draw=jnp.asarray([0.4]),
        )
        return (sol.ys**2).mean() + report.penalty, (sol.ys, report.penalty)

    slopes, values = jax.jit(jax.grad(loss, has_aux=True))(jnp.asarray([[0.5, -0.2], [0.3, 0.1]]))
    return [each for array in (*values, slopes) for each in array.ravel().tolist()]


def main(library: str) -> None:
    """Print what each process came to."""
    import lrnde

    if library == "torch":
        import torchdiffeq

        function, native, kinds = by_torch, torchdiffeq.odeint_adjoint, ("fork", "spawn")
    else:
        import diffrax

        # JAX has threads, which a fork leaves behind; it warns.
        function, native, kinds = by_jax, diffrax.diffeqsolve, ("spawn",)
    solve = lrnde.regularize(native)
    found = {"here": function(solve)}
    for kind in kinds:
        with multiprocessing.get_context(kind).Pool(1) as pool:
            found[kind] = pool.apply(function, (solve,))
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    # Under the name by which other processes find it.
    from tests.adapters import processes

    processes.main(sys.argv[1])
