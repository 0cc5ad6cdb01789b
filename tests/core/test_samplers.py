"""The laws of sampling: which step a draw keeps, where in it, and what weight makes the estimate unbiased."""

import functools
from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from lrnde_core import AbstractSampler, AcceptedStep, Capability, Draw, DrawnStep, InputError, UniformStep, UniformTime
from tests.core.libraries import with_integers

Sizes = list[float]


def _draw(uniform: float) -> Draw:
    return Draw(uniform, int(uniform * 2**24))


def _sample(sampler: AbstractSampler, draw: Draw, sizes: Sizes, *, is_end_known: bool = True) -> tuple[int, DrawnStep]:
    """Index of the kept step and what is known about it after a solve that takes steps of these sizes."""
    duration = float(np.sum(sizes))
    starts = [0.0, *np.cumsum(sizes)[:-1].tolist()]
    kept = 0
    for index, (start, size) in enumerate(zip(starts, sizes, strict=True), start=1):
        if sampler.keep(draw, AcceptedStep(index, start, size, duration if is_end_known else None)):
            kept = index
    drawn = DrawnStep(starts[kept - 1], sizes[kept - 1], sizes[kept - 1], duration, len(sizes), is_end_known)
    return kept, drawn


@hypothesis.given(st.lists(st.integers(1, 12), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_uniform_time_averaged_over_a_grid_of_draws_is_the_sum_over_steps(sizes: list[int], random: Any) -> None:
    # Steps of whole length and one draw a unit of time: the average has no error but rounding.
    costs = [random.uniform(0, 10) for _ in sizes]
    total = 0.0
    for cell in range(sum(sizes)):
        index, drawn = _sample(UniformTime(), _draw((cell + 0.5) / sum(sizes)), [float(size) for size in sizes])
        total += UniformTime().weight(drawn) * costs[index - 1]
    assert total / sum(sizes) == pytest.approx(sum(costs), rel=1e-12)


@hypothesis.given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=12), st.floats(0, 1, exclude_max=True))
def test_uniform_time_finds_the_step_and_place_that_cover_the_drawn_time(sizes: Sizes, uniform: float) -> None:
    index, drawn = _sample(UniformTime(), _draw(uniform), sizes)
    duration = float(np.sum(sizes))
    place = UniformTime().locate(_draw(uniform), drawn)
    assert drawn.elapsed + place * drawn.size == pytest.approx(uniform * duration, abs=1e-12)
    assert -1e-12 <= place <= 1 + 1e-9
    assert index == max(1, np.searchsorted(np.cumsum([0.0, *sizes[:-1]]), uniform * duration, side="right"))


@pytest.mark.parametrize(
    ("sampler", "is_end_known"), [(UniformStep(), True), (UniformTime(), False)], ids=["uniform-step", "event"]
)
def test_reservoirs_are_unbiased(sampler: AbstractSampler, *, is_end_known: bool) -> None:
    random = np.random.default_rng(0)
    sizes, costs = random.uniform(0.1, 1.0, 6).tolist(), random.uniform(0.5, 2.0, 6)
    estimates = []
    for uniform in random.random(20_000):
        index, drawn = _sample(sampler, _draw(uniform), sizes, is_end_known=is_end_known)
        estimates.append(sampler.weight(drawn) * costs[index - 1])
    standard_error = np.std(estimates) / np.sqrt(len(estimates))
    assert abs(np.mean(estimates) - costs.sum()) < 3 * standard_error
    assert 3 * standard_error < 0.03 * costs.sum()


def test_a_step_clipped_by_an_event_is_weighted_by_the_length_it_was_drawn_by() -> None:
    # The last step was taken with length 3 and drawn by it, then clipped to 1: the weight knows only the former.
    drawn = DrawnStep(elapsed=2.0, size=1.0, measure=3.0, duration=5.0, num_accepted=2, is_end_known=False)
    assert UniformTime().weight(drawn) == pytest.approx(5 / 3)
    assert UniformStep().weight(drawn) == 2


@pytest.mark.parametrize("sampler", [UniformTime(weighting="paper"), UniformStep(weighting="paper")])
def test_paper_weighting_is_one(sampler: AbstractSampler) -> None:
    assert sampler.weight(DrawnStep(0.0, 0.5, 0.5, 4.0, 8, is_end_known=True)) == 1


@pytest.mark.parametrize("sampler", [UniformTime(), UniformStep()])
@pytest.mark.parametrize("is_end_known", [True, False])
def test_a_single_step_is_always_kept_with_weight_one(sampler: AbstractSampler, *, is_end_known: bool) -> None:
    for uniform in (0.0, 0.3, 1 - 2**-24):
        index, drawn = _sample(sampler, _draw(uniform), [0.7], is_end_known=is_end_known)
        assert index == 1
        assert sampler.weight(drawn) == 1
        assert 0 <= sampler.locate(_draw(uniform), drawn) < 1


@with_integers
@pytest.mark.parametrize("sampler", [UniformTime(), UniformStep()])
@pytest.mark.parametrize("is_end_known", [True, False])
def test_arrays_of_draws_are_sampled_like_single_ones(
    xp: Any, dtype: str, sampler: AbstractSampler, *, is_end_known: bool
) -> None:
    integers, reals = (functools.partial(xp.asarray, dtype=getattr(xp, each)) for each in (dtype, "float64"))
    duration = 3.0 if is_end_known else None
    drawn = DrawnStep(0.5, 0.25, 0.25, 3.0, 7, is_end_known)
    draws = [_draw(uniform) for uniform in np.random.default_rng(0).random(50)]
    together = Draw(reals([draw.uniform for draw in draws]), integers([draw.bits for draw in draws]))
    for index in range(1, 10):
        step = AcceptedStep(index, 0.1 * index, 0.2, duration)
        step_of_arrays = AcceptedStep(
            integers(index), reals(step.elapsed), reals(step.size), None if duration is None else reals(duration)
        )
        kept = np.broadcast_to(np.asarray(sampler.keep(together, step_of_arrays)), (50,))
        assert kept.tolist() == [sampler.keep(draw, step) for draw in draws]
    places = np.asarray(sampler.locate(together, drawn._replace(size=reals(0.25))))
    np.testing.assert_array_equal(places, [sampler.locate(draw, drawn) for draw in draws])


def test_restarting_needs_its_capability() -> None:
    assert UniformTime().needs == {Capability.UNIFORM_TIME}
    assert UniformStep(local_start="sample").needs == {Capability.UNIFORM_STEP, Capability.RESTARTED_STEP}


def test_samplers_are_values() -> None:
    assert UniformTime() == UniformTime()
    assert hash(UniformTime()) == hash(UniformTime())
    assert UniformTime() != UniformTime(weighting="paper")
    assert UniformTime() != UniformStep()


@pytest.mark.parametrize("sampler", [UniformTime, UniformStep])
def test_unknown_settings_are_refused(sampler: Any) -> None:
    with pytest.raises(InputError, match=r'weighting=\'mean\'.*must be "sum" or "paper"'):
        sampler(weighting="mean")
    with pytest.raises(InputError, match=r'local_start=\'end\'.*must be "step" or "sample"'):
        sampler(local_start="end")
