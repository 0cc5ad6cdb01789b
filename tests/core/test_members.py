"""The steps kept for each member of a batch whose members take their own."""

import functools
from typing import Any

import numpy as np
import pytest

from lrnde_core import AbstractSampler, Draw, KeptStep, KeptSteps, UniformStep, UniformTime

_BATCH = 3
_DRAWS = [Draw(uniform, int(uniform * 2**24)) for uniform in (0.1, 0.55, 0.9)]


def _steps() -> list[tuple[list[bool], list[float], list[float], Any]]:
    """Steps of some members each: who takes one, where it starts, how long it is, and the state there."""
    random, elapsed = np.random.default_rng(0), np.zeros(_BATCH)
    steps: list[tuple[list[bool], list[float], list[float], Any]] = []
    for _ in range(12):
        is_new, size = random.random(_BATCH) < 0.7, random.uniform(0.1, 0.4, _BATCH)
        steps.append((is_new.tolist(), elapsed.tolist(), size.tolist(), random.normal(size=(_BATCH, 2))))
        elapsed = elapsed + np.where(is_new, size, 0.0)
    return steps


@pytest.mark.parametrize("sampler", [UniformTime(), UniformStep()])
@pytest.mark.parametrize("duration", [3.0, None])
def test_each_member_keeps_what_it_would_keep_alone(xp: Any, sampler: AbstractSampler, duration: float | None) -> None:
    reals = functools.partial(xp.asarray, dtype=xp.float64)
    zeros = reals([0.0] * _BATCH)
    nothing = KeptStep(zeros, zeros, (reals([[0.0, 0.0]] * _BATCH),))
    together = KeptSteps(sampler, _DRAWS, duration, nothing)
    alone = [KeptSteps(sampler, _DRAWS, duration) for _ in range(_BATCH)]
    for is_new, elapsed, size, state in _steps():
        together.offer_to_members(xp.asarray(is_new), reals(elapsed), reals(size), (reals(state),))
        for member in range(_BATCH):
            if is_new[member]:
                alone[member].offer(elapsed[member], size[member], state[member].tolist())
    assert np.asarray(together.num_offered).tolist() == [each.num_offered for each in alone]
    for draw, kept in enumerate(together.kept):
        assert kept is not None
        for member, each in enumerate(alone):
            expected = each.kept[draw]
            assert expected is not None
            elapsed, size, state = (np.asarray(each)[member] for each in (kept.elapsed, kept.size, kept.step[0]))
            assert (elapsed, size, state.tolist()) == (expected.elapsed, expected.size, expected.step)
