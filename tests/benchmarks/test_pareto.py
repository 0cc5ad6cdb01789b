"""Tests of the Pareto front, against brute force."""

import itertools

import numpy as np
import pytest

from lrnde_benchmarks._reports._pareto import Point, pareto_front


def is_beaten(point: Point, by: Point, *, is_higher_better: bool) -> bool:
    sign = -1 if is_higher_better else 1
    return by != point and by[0] <= point[0] and sign * by[1] <= sign * point[1]


@pytest.mark.parametrize("is_higher_better", [True, False])
@pytest.mark.parametrize("num_values", [3, 1000])
def test_the_front_is_that_of_brute_force(is_higher_better: bool, num_values: int) -> None:
    generator = np.random.default_rng(0)
    for size in (1, 2, 7, 40):
        for _ in range(20):
            # Few values make ties of cost, of quality and of both.
            points = [tuple(map(float, point)) for point in generator.integers(0, num_values, (size, 2))]
            expected = [
                point
                for point in points
                if not any(is_beaten(point, other, is_higher_better=is_higher_better) for other in points)
            ]
            assert pareto_front(points, is_higher_better=is_higher_better) == sorted(
                expected, key=lambda point: point[0]
            )


def test_the_front_does_not_depend_on_the_order() -> None:
    points = [(1.0, 5.0), (2.0, 7.0), (2.0, 6.0), (3.0, 7.0)]
    for order in itertools.permutations(points):
        assert pareto_front(order, is_higher_better=True) == [(1.0, 5.0), (2.0, 7.0)]
