"""Tests of averages and their intervals."""

import math

import numpy as np
import pytest

from lrnde_benchmarks._statistics import difference_interval, in_words, ratio_interval, repeated_ratio


def test_interval_of_three_differences_is_that_of_student() -> None:
    # Mean 2, standard error 1 / sqrt(3), t(0.975, 2) = 4.302653.
    interval = difference_interval([1.0, 2.0, 3.0])
    assert interval.mean == 2.0
    assert interval.low == pytest.approx(2.0 - 4.302653 / 3**0.5, rel=1e-6)
    assert interval.high == pytest.approx(2.0 + 4.302653 / 3**0.5, rel=1e-6)
    assert interval.is_resolved


def test_equal_differences_have_an_interval_of_no_width() -> None:
    assert difference_interval([0.5, 0.5]) == (0.5, 0.5, 0.5, True)


def test_interval_of_ratios_is_that_of_their_logarithms() -> None:
    # Logarithms of base 2 are 1, 2, 3: mean 2, reach 4.302653 / sqrt(3).
    interval = ratio_interval([2.0, 4.0, 8.0])
    reach = 2 ** (4.302653 / 3**0.5)
    assert interval == (pytest.approx(4.0), pytest.approx(4.0 / reach, rel=1e-6), pytest.approx(4.0 * reach), False)


@pytest.mark.parametrize(
    ("ratios", "is_resolved"),
    [
        ([0.55, 0.65, 0.75], True),  # 0.64 [0.44, 0.95]
        ([0.8, 1.0, 1.1], False),  # 0.96 [0.64, 1.43]: on either side of 1
        ([0.95, 1.0, 1.05], True),  # 1.00 [0.88, 1.13]: no difference to speak of
        ([8.0, 13.0, 18.0], False),  # 12.3 [4.4, 34.4]: on one side of 1, of any size
    ],
)
def test_a_ratio_is_resolved_where_its_side_or_its_size_is_known(ratios: list[float], is_resolved: bool) -> None:
    assert ratio_interval(ratios).is_resolved == is_resolved


def test_inverse_ratios_have_the_inverse_interval() -> None:
    ratios = [1.1, 1.3, 1.2]
    interval, inverse = ratio_interval(ratios), ratio_interval([1 / ratio for ratio in ratios])
    assert inverse.low is not None
    assert inverse.high is not None
    assert interval[:3] == pytest.approx((1 / inverse.mean, 1 / inverse.high, 1 / inverse.low))
    assert interval.is_resolved


@pytest.mark.parametrize("ratios", [[30.0, 10.0, 1.0], [1e-3, 1e3], [1e-300, 1e300]])
def test_no_end_of_a_ratios_interval_is_negative_and_noise_is_said(ratios: list[float]) -> None:
    interval = ratio_interval(ratios)
    assert interval.low is not None
    assert interval.high is not None
    assert 0 < interval.low < interval.mean < interval.high < math.inf
    assert not interval.is_resolved
    assert in_words(interval).endswith("], not resolved")


def test_one_seed_has_no_interval_and_resolves_nothing() -> None:
    assert difference_interval([0.5]) == ratio_interval([0.5]) == (0.5, None, None, False)
    assert in_words(ratio_interval([0.5])) == "0.500, not resolved"


def test_a_ratio_of_zero_has_no_logarithm() -> None:
    assert ratio_interval([0.5, 0.0]) == (0.0, None, None, False)


def test_a_few_disturbed_repeats_move_neither_the_median_nor_its_interval() -> None:
    calm = [1.0 + 0.001 * place for place in range(40)]
    disturbed = [*calm[:36], 50.0, 60.0, 70.0, 80.0]
    assert repeated_ratio(disturbed) == repeated_ratio(calm)
    assert in_words(repeated_ratio(calm)) == "1.019 [1.013, 1.026]"


def test_the_interval_of_repeats_covers_the_median_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    found = [repeated_ratio(generator.lognormal(0.0, 1.0, 25).tolist()) for _ in range(1000)]
    covered = sum(each.low is not None and each.high is not None and each.low <= 1.0 <= each.high for each in found)
    # At least 95%: order statistics cannot do less; 0.93 is three standard deviations of the count below.
    assert 930 <= covered < 1000


def test_too_few_repeats_have_no_interval() -> None:
    assert repeated_ratio([1.0, 1.1, 1.2, 1.3, 1.4]) == (1.2, None, None, False)
