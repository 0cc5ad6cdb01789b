"""Bounds on rounding against exact arithmetic: they hold in any order of sums, and are not far from what happens."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from lrnde_conformance import Method
from lrnde_conformance._oracles._oracle import StepPoint, complex_step_gradient, oracle
from lrnde_conformance._oracles._rounded_slopes import Sloped
from lrnde_conformance._oracles._rounding import Rounded
from lrnde_conformance._oracles._tolerances import SHARE, cost_gradient_tolerance, cost_tolerance, rounding_of_gradient
from lrnde_conformance._problems import network, of_method

_EPSILON = float(np.finfo(np.float32).eps)


def test_a_sum_is_bounded_in_any_order_of_its_terms() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        terms = (rng.normal(size=20) * 10.0 ** rng.integers(-3, 4, 20)).astype(np.float32)
        exact = float(sum(map(Fraction, terms.tolist())))
        bounded: Any = sum(Rounded(term, 0.0, _EPSILON) for term in terms)
        assert bounded.value == pytest.approx(exact, rel=1e-10)
        for order in (np.arange(20), np.argsort(terms), np.argsort(-np.abs(terms)), rng.permutation(20)):
            total = np.float32(0)
            for term in terms[order]:
                total += term
            assert abs(float(total) - exact) <= bounded.bound
        # No more than one rounding of all moduli for each addition, and one for the 0 that Python starts with.
        assert bounded.bound <= 20 * _EPSILON * np.abs(terms.astype(float)).sum()


def _ratio(a: Any, b: Any, c: Any) -> Any:
    """A quotient of differences that cancel, as a stiffness estimate is."""
    return np.sqrt(np.mean((a @ b - c) ** 2)) / np.sqrt(np.mean((np.tanh(c) - np.sin(c)) ** 2)) ** 0.5


def test_a_formula_in_float32_stays_within_its_bound() -> None:
    rng = np.random.default_rng(1)
    ratios: list[float] = []
    for _ in range(100):
        a, b = rng.normal(size=(3, 4)).astype(np.float32), rng.normal(size=(4, 3)).astype(np.float32)
        c = (a @ b * (1 + 1e-3 * rng.normal(size=(3, 3)))).astype(np.float32)
        exact = _ratio(*(value.astype(float) for value in (a, b, c)))
        bound = _ratio(*(Rounded(value, 0.0, _EPSILON) for value in (a, b, c))).bound
        ratios.append(abs(float(_ratio(a, b, c)) - exact) / bound)
    assert max(ratios) <= 1
    # A worst case, and yet no wild one.
    assert max(ratios) > 0.01


def test_slopes_are_derivatives() -> None:
    rng = np.random.default_rng(2)
    a, b, c = rng.normal(size=(3, 4)), rng.normal(size=(4, 3)), rng.normal(size=(3, 3))
    expected = complex_step_gradient(lambda moved: _ratio(moved["a"], b, c), {"a": a})["a"]
    epsilon = float(np.finfo(float).eps)
    for index in np.ndindex(a.shape):
        along = np.zeros(a.shape)
        along[index] = 1.0
        moved = Sloped(Rounded.once(a, epsilon), Rounded(along, 0.0, epsilon))
        slope = _ratio(moved, Rounded.once(b, epsilon), Rounded.once(c, epsilon)).slope
        assert abs(slope.value - expected[index]) <= SHARE * slope.bound
        assert slope.bound < 1e-11


@pytest.mark.parametrize("cost", ["error", "predicted", "stiffness", "taylor"])
def test_a_tolerance_is_that_of_what_cancels(cost: str) -> None:
    method = Method("tsit5", "tsit5")
    reference = oracle(network(), method, 1e-5, 1e-5)
    assert reference is not None
    long, short = (StepPoint(0.3, h, network().y0, 0.5) for h in (0.3, 0.01))
    relative = [cost_tolerance(reference, cost, point) / float(reference.cost(cost, point)) for point in (long, short)]
    gradients = [
        cost_gradient_tolerance(reference, cost, point)
        / max(float(np.max(np.abs(value))) for value in reference.gradient(cost, point).values())
        for point in (long, short)
    ]
    assert 0 < relative[0] < 1e-7
    # The error falls with the fifth power of the size and its rounding hardly; a point has nothing that cancels.
    assert (relative[1] > 10 * relative[0]) == (cost != "taylor")
    assert (gradients[1] > 10 * gradients[0]) == (cost != "taylor")
    assert all(gradient < 1e3 * tolerance for gradient, tolerance in zip(gradients, relative, strict=True))


def test_what_the_floor_may_mask_may_be_zero() -> None:
    method = Method("dopri5", "dopri5")
    reference = oracle(network(), method, 1e-5, 1e-5)
    assert reference is not None
    point = StepPoint(0.3, 1e-4, network().y0)
    assert reference.may_be_masked("error", point, float(np.finfo(float).eps))
    assert cost_tolerance(reference, "error", point) >= float(reference.cost("error", point)) > 0
    assert cost_gradient_tolerance(reference, "error", point) == np.inf
    assert not reference.may_be_masked("error", StepPoint(0.3, 0.2, network().y0), float(np.finfo(float).eps))


def test_what_does_not_depend_on_a_parameter_has_no_rounding_in_its_slope() -> None:
    problem = of_method(Method("heun", "heun-stratonovich", calculus="stratonovich", noise="diagonal"))
    assert rounding_of_gradient(lambda p: np.sum(p.y0), problem, variables=["rate"]) == 0.0
