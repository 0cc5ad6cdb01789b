"""Tests of the intervals over seeds."""

import pytest

from lrnde_benchmarks._statistics import mean, student_interval


def test_interval_of_three_values_is_that_of_student() -> None:
    # t(0.975, 2) = 4.302653; standard error of (1, 2, 3) is 1 / sqrt(3).
    interval = student_interval([1.0, 2.0, 3.0])
    assert interval.mean == 2.0
    assert interval.low == pytest.approx(2.0 - 4.302653 / 3**0.5, rel=1e-6)
    assert interval.high == pytest.approx(2.0 + 4.302653 / 3**0.5, rel=1e-6)


def test_one_value_has_no_interval() -> None:
    assert student_interval([0.5]) == (0.5, None, None)


def test_equal_values_have_an_interval_of_no_width() -> None:
    assert student_interval([0.5, 0.5]) == (0.5, 0.5, 0.5)


def test_mean_is_exact_where_summing_in_order_is_not() -> None:
    assert mean([1e16, 1.0, -1e16, 1.0]) == 0.5
