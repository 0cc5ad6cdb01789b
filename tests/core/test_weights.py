"""Weights over training: closed forms, bounds, transformations, and a target that is held."""

import itertools
import math
from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from lrnde_core import (
    Constant,
    ExponentialDecay,
    GradientNorms,
    GradientRatio,
    InputError,
    InputTypeError,
    NFETarget,
)
from tests.weights import report_of, values_over


def test_constant_stays() -> None:
    assert values_over(Constant(0.3), [10, 20, 30]) == [0.3, 0.3, 0.3]


@hypothesis.given(st.floats(1e-6, 1e3), st.floats(1e-6, 1e3), st.integers(1, 40))
def test_exponential_decay_is_geometric_then_constant(initial: float, final: float, num_iterations: int) -> None:
    values = values_over(ExponentialDecay(initial, final, num_iterations), [0] * (num_iterations + 3))
    expected = initial * (final / initial) ** (
        np.minimum(np.arange(num_iterations + 3), num_iterations) / num_iterations
    )
    assert values == pytest.approx(expected.tolist(), rel=1e-9)


def test_hidden_evaluations_are_refused_by_nfe_target() -> None:
    weight = NFETarget(30)
    with pytest.raises(InputError, match=r'`nfe` is None.*use `measure="num_steps"`'):
        weight.update(weight.init(), report_of(None))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constant(-1.0), "finite and at least 0"),
        (lambda: Constant(math.nan), "finite and at least 0"),
        (lambda: ExponentialDecay(0.0, 1.0, 5), r"above 0; use `Constant\(0.0\)`"),
        (lambda: ExponentialDecay(1.0, 0.1, 0), "whole number of at least 1"),
        (lambda: NFETarget(0), "finite and above 0"),
        (lambda: NFETarget(10, measure="time"), 'must be "nfe" or "num_steps"'),
        (lambda: NFETarget(10, initial=1e4), "minimum <= initial <= maximum"),
        (lambda: NFETarget(10, gain=0.0), "above 0 and at most 1"),
        (lambda: GradientRatio(0.0), "finite and above 0"),
        (lambda: GradientRatio(math.inf), "finite and above 0"),
        (lambda: GradientRatio(period=0), "whole number of at least 1"),
        (lambda: GradientRatio(period=2.5), r"period=2.5.*a whole number"),  # pyright: ignore[reportArgumentType]
        (lambda: ExponentialDecay(1.0, 0.1, 2.5), "a whole number"),  # pyright: ignore[reportArgumentType]
    ],
)
def test_bad_settings_are_refused(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize("kind", [Constant, GradientRatio, NFETarget, lambda each: ExponentialDecay(1.0, each, 5)])
@pytest.mark.parametrize("given", ["0.1", True, None])
def test_what_is_no_number_is_refused(kind: Any, given: Any) -> None:
    with pytest.raises(InputTypeError, match=rf"`\w+\(\w+=...\)` must be a number, not {given!r}"):
        kind(given)


def _ratios(weight: GradientRatio, norms: list[tuple[float, float]]) -> list[float]:
    """The weight after each measurement."""
    state, values = weight.init(like=0.0), []
    for each in norms:
        while not weight.measures(state):
            state = weight.update(state, report_of(1))
            assert weight.value(state) == values[-1]
        state = weight.update(state, report_of(1), GradientNorms(*each))
        values.append(weight.value(state))
    return values


def test_the_gradient_ratio_measures_at_first_and_then_now_and_again() -> None:
    weight, measured = GradientRatio(period=20), []
    state = weight.init(like=0.0)
    for index in range(61):
        if weight.measures(state):
            measured.append(index)
        state = weight.update(state, report_of(1), GradientNorms(1.0, 1.0))
    assert measured == [*range(10), 20, 40, 60]


def test_the_gradient_ratio_asks_for_the_gradients_that_it_was_not_given() -> None:
    weight = GradientRatio()
    state = weight.init(like=0.0)
    message = r"`GradientRatio\(.*\)` measures gradients in this iteration.*given none.*`WeightHolder.total"
    with pytest.raises(InputError, match=message):
        weight.update(state, report_of(1))
    assert weight.update(state._replace(count=11), report_of(1)).count == 12


@hypothesis.given(st.lists(st.tuples(st.floats(0.5, 2.0), st.floats(0.8, 1.2)), min_size=1, max_size=10))
def test_the_gradient_ratio_is_that_of_the_means(norms: list[tuple[float, float]]) -> None:
    losses, penalties = np.array(norms).T
    expected = 0.3 * np.mean(losses) / np.mean(penalties)
    assert _ratios(GradientRatio(0.3, period=3), norms)[-1] <= expected * (1 + 1e-12)
    # Means in that range do not double from one measurement to the next after the first two.
    if len(norms) > 3 or len(norms) == 1:
        assert _ratios(GradientRatio(0.3, period=3), norms)[-1] == pytest.approx(expected)


@hypothesis.given(
    st.lists(st.tuples(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3)), min_size=1, max_size=30), st.floats(1e-6, 1e6)
)
def test_the_gradient_ratio_has_no_unit(norms: list[tuple[float, float]], scale: float) -> None:
    values = np.array(_ratios(GradientRatio(period=1), norms))
    scaled = _ratios(GradientRatio(period=1), [(scale * loss, penalty) for loss, penalty in norms])
    assert scaled == pytest.approx((scale * values).tolist(), rel=1e-9)


@pytest.mark.parametrize(
    "bad", [(math.nan, 1.0), (1.0, math.nan), (math.inf, 1.0), (1.0, math.inf), (1.0, 0.0), (0, 1)]
)
def test_the_gradient_ratio_skips_what_cannot_be_compared(bad: tuple[float, float]) -> None:
    assert _ratios(GradientRatio(), [(3.0, 2.0), bad, bad]) == [pytest.approx(0.15)] * 3
    assert _ratios(GradientRatio(), [bad, (3.0, 2.0)]) == [0.0, pytest.approx(0.15)]


def test_the_gradient_ratio_at_most_doubles() -> None:
    values = _ratios(GradientRatio(), [(1.0, 1.0), *[(1.0, 1e-9)] * 40])
    assert all(new <= 2 * old for old, new in itertools.pairwise(values))
    assert values[-1] > 20


def test_weights_are_values() -> None:
    assert NFETarget(30) == NFETarget(30)
    assert hash(Constant(1.0)) == hash(Constant(1.0))
    assert Constant(1.0) != Constant(2.0)
