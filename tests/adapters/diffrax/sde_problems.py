"""Stochastic equations along paths in closed form, and what a numpy step needs of them."""

from typing import Any, final

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np

import lrnde

PID = diffrax.PIDController(rtol=5e-2, atol=2e-2)
SOLVE = lrnde.regularize(diffrax.diffeqsolve, heuristic=lrnde.ErrorEstimate())
Y0 = np.asarray([0.7, -0.4])
SCALE = 0.8
# Compiles in half the time that the default adjoint takes; for tests that are not about adjoints.
DIRECT: dict[str, Any] = {"adjoint": diffrax.DirectAdjoint(), "max_steps": 16}


@final
class Waves(diffrax.AbstractBrownianPath[Any]):
    """W(t) = sum_k a_k sin(w_k t) / sqrt(w_k) with w_k = 2^k: rough, with a space-time Levy area in closed form."""

    amplitudes: jax.Array
    levy_area: Any = eqx.field(static=True, default=diffrax.SpaceTimeLevyArea)
    t0: Any = -np.inf
    t1: Any = np.inf

    def evaluate(self, t0: Any, t1: Any = None, left: bool = True, use_levy: bool = False) -> Any:
        if t1 is None:
            return waves(jnp, self.amplitudes, t0)[0]
        w, area = increment(jnp, self.amplitudes, t0, t1)
        return diffrax.SpaceTimeLevyArea(dt=t1 - t0, W=w, H=area) if use_levy else w


@final
class RoughPath(diffrax.AbstractPath[Any]):
    """The same, without telling diffrax that it is noise."""

    amplitudes: jax.Array
    t0: Any = -np.inf
    t1: Any = np.inf

    def evaluate(self, t0: Any, t1: Any = None, left: bool = True) -> Any:
        return increment(jnp, self.amplitudes, t0, t1)[0]


def waves(xp: Any, amplitudes: Any, t: Any) -> tuple[Any, Any]:
    """The path at a time, and its integral."""
    frequency = 2.0 ** xp.arange(1.0, len(amplitudes) + 1.0)
    last = xp.moveaxis(amplitudes, 0, -1)
    return last @ (xp.sin(frequency * t) / xp.sqrt(frequency)), -last @ (xp.cos(frequency * t) / frequency**1.5)


def increment(xp: Any, amplitudes: Any, t0: Any, t1: Any) -> tuple[Any, Any]:
    """The increment between two times, and its space-time Levy area."""
    (first, first_integral), (last, last_integral) = waves(xp, amplitudes, t0), waves(xp, amplitudes, t1)
    w = last - first
    size = t1 - t0
    safe = xp.where(size == 0, 1.0, size)
    return w, xp.where(size == 0, 0.0, (last_integral - first_integral) / safe - first - 0.5 * w)


def amplitudes(dim: int) -> np.ndarray:
    return 1.3 * np.random.default_rng(3).standard_normal((7, dim))


def drift(t: Any, y: Any, scale: Any) -> Any:
    return jnp.sin(3 * t) - scale * y


def diagonal(t: Any, y: Any, scale: Any) -> Any:
    return lx.DiagonalLinearOperator(scale * jnp.cos(y + t))


def additive(t: Any, y: Any, scale: Any) -> Any:
    return lx.DiagonalLinearOperator(scale * jnp.stack([1 + t, 0.5 - t]))


def general(t: Any, y: Any, scale: Any) -> Any:
    return scale * jnp.stack([jnp.cos(y), jnp.full_like(y, 0.3), y[::-1]], axis=-1)


NOISE = {"diagonal": (diagonal, 2), "additive": (additive, 2), "general": (general, 3)}


def terms(kind: str, path: Any = None) -> Any:
    diffusion, dim = NOISE[kind]
    path = Waves(jnp.asarray(amplitudes(dim))) if path is None else path
    return diffrax.MultiTerm(diffrax.ODETerm(drift), diffrax.ControlTerm(diffusion, path))


def tree(dim: int, key: Any = None, levy_area: Any = diffrax.BrownianIncrement, tol: float = 1e-4) -> Any:
    key = jax.random.key(5) if key is None else key
    return diffrax.VirtualBrownianTree(0.0, 1.0, tol, (dim,), key, levy_area=levy_area)


def solve(function: Any, equation: Any, solver: Any, scale: Any = SCALE, span: Any = (0.0, 1.0), **options: Any) -> Any:
    dt0 = 0.05 if span[1] >= span[0] else -0.05
    options = {"stepsize_controller": PID, **options}
    return function(equation, solver, *span, options.pop("dt0", dt0), jnp.asarray(Y0), scale, **options)


def error_ratio(y: Any, y1: Any, error: Any, rtol: float = 5e-2, atol: float = 2e-2) -> Any:
    return np.sqrt(np.mean((error / (atol + rtol * np.maximum(abs(y), abs(y1)))) ** 2))
