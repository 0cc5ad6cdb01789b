"""Training iterations of small stochastic equations under torchsde and diffrax: bare, wrapped, and by hand."""

from typing import Any

import lrnde
from lrnde_benchmarks._paired_times import Iteration

WIDTH, HIDDEN = 32, 64
HEURISTIC = lrnde.PredictedSteps(rtol=1e-3, atol=1e-3)


def torch_equation(method: str, batch: int) -> tuple[Any, Any]:
    """An equation with diagonal noise for a method of torchsde, and an initial state."""
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(1)

    class Equation(torch.nn.Module):
        noise_type = "diagonal"
        sde_type = "ito" if method == "srk" else "stratonovich"

        def __init__(self) -> None:
            super().__init__()
            self.inner = torch.nn.Linear(WIDTH, HIDDEN)
            self.outer = torch.nn.Linear(HIDDEN, WIDTH)
            self.noise = torch.nn.Linear(WIDTH, WIDTH)

        def f(self, t: Any, y: Any) -> Any:
            del t
            return self.outer(torch.tanh(self.inner(y)))

        def g(self, t: Any, y: Any) -> Any:
            del t
            return 0.1 * self.noise(y)

    return Equation(), torch.randn(batch, WIDTH)


def torch_arguments(y0: Any, end: float, settings: dict[str, Any]) -> dict[str, Any]:
    """Arguments of a solve from 0 to `end`, with a Brownian motion that nobody has asked yet."""
    import torchsde

    area = "space-time" if settings["method"] == "srk" else "none"
    motion = torchsde.BrownianInterval(0.0, end, tuple(y0.shape), entropy=1, levy_area_approximation=area)
    return {"y0": y0, "ts": [0.0, end], "bm": motion, **settings}


def torch_iterations(
    entry: str, equation: Any, y0: Any, end: float, settings: dict[str, Any]
) -> tuple[Iteration, Iteration]:
    """A bare and a wrapped iteration of torchsde, which returns a report."""
    import torchsde

    solve: Any = getattr(torchsde, entry)
    wrapped_solve: Any = lrnde.regularize(solve, heuristic=HEURISTIC)

    def bare() -> None:
        equation.zero_grad()
        solve(equation, **torch_arguments(y0, end, settings))[-1].square().mean().backward()

    def wrapped() -> lrnde.Report:
        equation.zero_grad()
        ys, report = wrapped_solve(equation, **torch_arguments(y0, end, settings))
        (ys[-1].square().mean() + 0.1 * report.penalty).backward()
        return report

    return bare, wrapped


def torch_by_hand(entry: str, equation: Any, y0: Any, end: float, settings: dict[str, Any]) -> Iteration:
    """An iteration with a local step written by hand: from the initial state, of the first size, of known increments.

    No recorder, rounding floor or guard: what the evaluations of a local step and their backward pass cost.
    """
    import torchsde

    solve: Any = getattr(torchsde, entry)
    step, size = {"heun": _heun, "srk": _srk}[settings["method"]], settings["dt"]
    motion = torchsde.BrownianInterval(0.0, size, tuple(y0.shape), entropy=2, levy_area_approximation="space-time")
    increments = [motion(*times, return_U=True) for times in ((0.0, size), (0.0, 0.5 * size), (0.5 * size, size))]

    def by_hand() -> None:
        equation.zero_grad()
        ys = solve(equation, **torch_arguments(y0, end, settings))
        penalty = _penalty_by_hand(step, equation, y0, size, increments)
        (ys[-1].square().mean() + 0.1 * penalty).backward()

    return by_hand


def _penalty_by_hand(step: Any, equation: Any, y: Any, h: float, increments: Any) -> Any:
    """`HEURISTIC` of one step of size `h` from `y`, along (increment, space-time area) of whole and halves."""
    import torch

    f, g = equation.f, equation.g
    start = f(None, y), g(None, y)
    whole, first, second = increments
    full = step(f, g, start, y, h, *whole)
    middle = step(f, g, start, y, 0.5 * h, *first)
    halved = step(f, g, (f(None, middle), g(None, middle)), middle, 0.5 * h, *second)
    error = (halved - full) / (1e-3 + 1e-3 * torch.maximum(y.abs(), halved.abs()))
    return error.square().mean().sqrt() ** (1 / 1.5) / h


def _heun(f: Any, g: Any, start: tuple[Any, Any], y: Any, h: float, w: Any, _: Any) -> Any:
    """One step of torchsde's Heun, where drift and diffusion at its start are given."""
    drift, noise = start[0], start[1] * w
    predictor = y + h * drift + noise
    return y + 0.5 * (h * (drift + f(None, predictor)) + noise + g(None, predictor) * w)


def _srk(f: Any, g: Any, start: tuple[Any, Any], y: Any, h: float, w: Any, u: Any) -> Any:
    """One step of torchsde's SRK (Roessler's SRID2) without its fourth drift, which has no weight."""
    f1, g1 = start
    root, area = h**0.5, u / h
    i11, i111 = (w * w - h) / (2 * root), (w**3 - 3 * h * w) / (6 * h)
    g2 = g(None, y + 0.25 * h * f1 - 0.5 * root * g1)
    f2 = f(None, y + h * f1)
    f3 = f(None, y + 0.25 * h * (f1 + f2) + (g1 + 0.5 * g2) * area)
    g3 = g(None, y + h * f1 + root * g1)
    g4 = g(None, y + 0.25 * h * f3 + root * (2 * g1 - g2 + 0.5 * g3))
    noise = g1 * (-w + i11 + 2 * area - 2 * i111) + g2 * (4 / 3 * (w - i11 - area) + 5 / 3 * i111)
    noise = noise + g3 * (2 / 3 * (w - area - i111) + i11 / 3) + g4 * i111
    return y + h * (f1 / 6 + f2 / 6 + 2 / 3 * f3) + noise


def jax_problem(batch: int) -> tuple[Any, Any, Any]:
    """The same equation for diffrax: terms, an initial state, and weights."""
    import diffrax
    import jax
    import jax.numpy as jnp
    import lineax

    keys = jax.random.split(jax.random.key(0), 4)
    weights = (
        0.2 * jax.random.normal(keys[0], (WIDTH, HIDDEN)),
        0.2 * jax.random.normal(keys[1], (HIDDEN, WIDTH)),
        0.02 * jax.random.normal(keys[2], (WIDTH, WIDTH)),
    )
    y0 = jax.random.normal(keys[3], (batch, WIDTH))
    motion = diffrax.VirtualBrownianTree(0.0, 1.0, tol=2**-12, shape=(batch, WIDTH), key=jax.random.key(1))
    terms = diffrax.MultiTerm(
        diffrax.ODETerm(lambda _, y, w: jnp.tanh(y @ w[0]) @ w[1]),
        diffrax.ControlTerm(lambda _, y, w: lineax.DiagonalLinearOperator(y @ w[2]), motion),
    )
    return terms, y0, weights


def jax_functions(terms: Any, y0: Any, solver: Any, num_steps: int, settings: dict[str, Any]) -> tuple[Any, Any]:
    """Jitted bare and wrapped gradients of diffrax with respect to weights; `settings` of `diffeqsolve`."""
    import diffrax
    import jax
    import jax.numpy as jnp

    bare_solve: Any = diffrax.diffeqsolve
    wrapped_solve: Any = lrnde.regularize(diffrax.diffeqsolve, heuristic=HEURISTIC)

    def bare_loss(weights: Any, draw: Any) -> Any:
        del draw
        solution = bare_solve(terms, solver, 0.0, 1.0, 1 / num_steps, y0, weights, **settings)
        return jnp.mean(jnp.square(solution.ys)), solution.stats

    def wrapped_loss(weights: Any, draw: Any) -> Any:
        solution, report = wrapped_solve(terms, solver, 0.0, 1.0, 1 / num_steps, y0, weights, draw=draw, **settings)
        return jnp.mean(jnp.square(solution.ys)) + 0.1 * report.penalty, report

    return jax.jit(jax.grad(bare_loss, has_aux=True)), jax.jit(jax.grad(wrapped_loss, has_aux=True))
