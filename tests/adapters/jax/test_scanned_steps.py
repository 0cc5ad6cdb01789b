"""Fixed steps in a loop: those of `follow_steps`, in a program that does not grow with their number."""

from collections.abc import Generator, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrnde_core import (
    FIXED_METHODS,
    AbstractOfSteps,
    AbstractStages,
    FixedSteps,
    Leaves,
    StepTaken,
    follow_steps,
    guard_signals,
    outputs_inside,
)
from lrnde_jax import add_increments, scan_steps

_ENDS = (0.25, 0.4, 1.0)
_Y0 = np.array([[0.4, -1.0], [0.2, 0.9], [2.0, 0.1]])


@pytest.fixture(autouse=True, scope="module")
def double_precision() -> Generator[None]:
    with jax.enable_x64(True):
        yield


def _field(t: Any, y: Any) -> Any:
    return y * (0.5 - 0.3 * y) + t * t


class _Stages(eqx.Module, AbstractStages):  # pyright: ignore[reportGeneralTypeIssues]
    def increment(self, t: Any, h: Any, abscissa: float, y: Leaves) -> Leaves:
        return (h * _field(t + abscissa * h, y[0]),)

    def combine(self, y: Leaves, weights: tuple[float, ...], increments: list[Leaves]) -> Leaves:
        return add_increments(y, weights, increments)


def _taken(
    method: str, ends: Sequence[float], y0: Any, *, is_scanned: bool
) -> tuple[FixedSteps, AbstractOfSteps[StepTaken]]:
    steps = FixedSteps(method, tuple(ends))
    stages, interval = _Stages(), (jnp.asarray(0.3), jnp.asarray(-0.9))
    if is_scanned:
        return steps, scan_steps(stages, steps, *interval, (y0,))
    return steps, follow_steps(stages, steps, *interval, (y0,), needs_last=True)


def _read(method: str, y0: Any, *, is_scanned: bool) -> Any:
    """All that is read of steps."""
    steps, taken = _taken(method, _ENDS, y0, is_scanned=is_scanned)
    tableau = steps.tableau
    marks = taken.map(lambda step, number: step.t * 0 + number < 2.5, (1.0, 2.0, 3.0))
    counts = taken.map(lambda step, index, start: (index * 1, start * step.h), (1, 2, 3), (0.5, 0.6, 0.7))
    return (
        list(taken),
        taken[-1].y1,
        outputs_inside(steps, taken, jnp.asarray([0.0, 0.1, 0.3, 0.4, 0.9, 1.0]), jnp),
        guard_signals(tableau, taken, is_batched=True),
        taken.last_of(marks, lambda mark, new, old: jax.tree.map(lambda a, b: jnp.where(mark, a, b), new, old)),
        [tuple(map(jnp.asarray, each)) for each in counts],
        list(taken.with_last(taken[0])),
    )


@pytest.mark.parametrize("method", sorted(FIXED_METHODS))
def test_scanned_steps_are_those_that_python_takes(method: str) -> None:
    found, expected = (_read(method, jnp.asarray(_Y0), is_scanned=is_scanned) for is_scanned in (True, False))
    jax.tree.map(lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14), found, expected)


def test_so_is_their_gradient() -> None:
    def loss(y0: Any, *, is_scanned: bool) -> Any:
        steps, taken = _taken("rk4", _ENDS, y0, is_scanned=is_scanned)
        (inside,) = outputs_inside(steps, taken, jnp.asarray([0.1, 0.3, 0.9]), jnp)
        return (inside**2).sum() + guard_signals(steps.tableau, taken, is_batched=True).error_estimate.sum()

    found, expected = (
        jax.grad(lambda y0, flag=is_scanned: loss(y0, is_scanned=flag))(jnp.asarray(_Y0))
        for is_scanned in (True, False)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_their_program_does_not_grow() -> None:
    def num_operations(num_steps: int) -> int:
        def loss(y0: Any) -> Any:
            ends = [(index + 1) / num_steps for index in range(num_steps)]
            steps, taken = _taken("rk4", ends, y0, is_scanned=True)
            (inside,) = outputs_inside(steps, taken, jnp.linspace(0, 1, 5), jnp)
            return (inside**2).sum()

        return jax.jit(jax.grad(loss)).lower(jnp.asarray(_Y0)).as_text().count(" = ")

    # Unrolled steps of it have over a hundred each; only the search for the steps of outputs goes on.
    assert num_operations(40) - num_operations(8) < 32 * 20
