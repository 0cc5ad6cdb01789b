"""Drivers of the reference adapter that declare what their solver does not have: some rightly, some not."""

from collections.abc import Callable
from typing import Any

import numpy as np

from lrnde_conformance import ReferenceDriver
from lrnde_conformance._backends._dual import plain
from lrnde_conformance._reference._solver import integrate
from lrnde_conformance._reference._steps import ADAPTIVE

_TRUE = ReferenceDriver()


def self_starting(field: Any, y0: Any, ts: Any, *, method: str, first_step: Any = None, **settings: Any) -> Any:
    """`integrate`, which takes the size of fixed steps alone, and chooses the first of other ones after Hairer."""
    if method in ADAPTIVE:
        first_step = _first_step(field, y0, ts, settings["rtol"], settings["atol"])
    return integrate(field, y0, ts, method=method, first_step=first_step, **settings)


def stubborn(field: Any, y0: Any, ts: Any, *, method: str, first_step: Any = None, **settings: Any) -> Any:
    """The same, but the first step is a share of the solve, however short that is."""
    first_step = 0.03 * abs(float(ts[-1]) - float(ts[0])) if method in ADAPTIVE else first_step
    return integrate(field, y0, ts, method=method, first_step=first_step or 1.0, **settings)


def without_first_step_argument(solve: Callable[..., Any], task: Any, **extra: Any) -> Any:
    """A call without the argument, where there is nothing to pass on."""

    def call(*args: Any, first_step: Any, **kwargs: Any) -> Any:
        return solve(*args, **({} if task.method.is_adaptive else {"first_step": first_step}), **kwargs)

    return _TRUE.call(call, task, **extra)


def though_it_is_given(solve: Callable[..., Any], task: Any, **extra: Any) -> Any:
    """A call that passes on a first step, if there is one."""
    return (_TRUE.call if task.first_step is not None else without_first_step_argument)(solve, task, **extra)


def _first_step(field: Any, y0: Any, ts: Any, rtol: float, atol: float) -> float:
    t, duration, direction = float(ts[0]), abs(float(ts[-1]) - float(ts[0])), np.sign(float(ts[-1]) - float(ts[0]))
    y, scale = plain(y0), atol + rtol * np.abs(plain(y0))
    norm = lambda value: float(np.sqrt(np.mean((value / scale) ** 2)))  # noqa: E731
    slope = plain(field(t, y0))
    size, speed = norm(y), norm(slope)
    probe = min(1e-6 if min(size, speed) < 1e-5 else 0.01 * size / speed, duration)
    if not probe > 0:
        return 1e-6
    later = plain(field(t + direction * probe, y0 + direction * probe * slope))
    return min(100 * probe, (0.01 / max(speed, norm(later - slope) / probe, 1e-15)) ** 0.2)
