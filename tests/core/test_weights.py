"""Weights over training: closed forms, bounds, transformations, and a target that is held."""

import math
from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from lrnde_core import AbstractWeight, Constant, ExponentialDecay, InputError, NFETarget, Report


def _report(nfe: Any) -> Report:
    return Report(0.0, nfe, 0, nfe, nfe, 0, None)


def _values(weight: AbstractWeight, costs: list[int]) -> list[float]:
    state, values = weight.init(like=0.0), []
    for cost in costs:
        values.append(weight.value(state))
        state = weight.update(state, _report(cost))
    return values


def test_constant_stays() -> None:
    assert _values(Constant(0.3), [10, 20, 30]) == [0.3, 0.3, 0.3]


@hypothesis.given(st.floats(1e-6, 1e3), st.floats(1e-6, 1e3), st.integers(1, 40))
def test_exponential_decay_is_geometric_then_constant(initial: float, final: float, num_iterations: int) -> None:
    values = _values(ExponentialDecay(initial, final, num_iterations), [0] * (num_iterations + 3))
    expected = initial * (final / initial) ** (
        np.minimum(np.arange(num_iterations + 3), num_iterations) / num_iterations
    )
    assert values == pytest.approx(expected.tolist(), rel=1e-9)


def test_hidden_evaluations_are_refused_by_nfe_target() -> None:
    weight = NFETarget(30)
    with pytest.raises(InputError, match=r'`nfe` is None.*use `measure="num_steps"`'):
        weight.update(weight.init(), _report(None))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constant(-1.0), "finite and at least 0"),
        (lambda: Constant(math.nan), "finite and at least 0"),
        (lambda: ExponentialDecay(0.0, 1.0, 5), r"above 0; use `Constant\(0.0\)`"),
        (lambda: ExponentialDecay(1.0, 0.1, 0), "at least 1 is needed"),
        (lambda: NFETarget(0), "finite and above 0"),
        (lambda: NFETarget(10, measure="time"), 'must be "nfe" or "num_steps"'),
        (lambda: NFETarget(10, initial=1e4), "minimum <= initial <= maximum"),
        (lambda: NFETarget(10, gain=0.0), "above 0 and at most 1"),
    ],
)
def test_bad_settings_are_refused(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_weights_are_values() -> None:
    assert NFETarget(30) == NFETarget(30)
    assert hash(Constant(1.0)) == hash(Constant(1.0))
    assert Constant(1.0) != Constant(2.0)
