"""A target that is held: simulated training, targets out of reach, several solves at once."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from lrnde_core import InputError, InputTypeError, NFETarget, NFETargetState, TargetWarning
from tests.weights import report_of

_HOLDING = 1


class _Model:
    """A solve whose cost follows the weight late, in whole steps of 6 evaluations, and scatters."""

    def __init__(self, *, hardest: float = 44.0, cheapest: float = 14.0, scatter: float = 0.5, seed: int = 0) -> None:
        self._hardest = hardest
        self._cheapest = cheapest
        self._scatter = scatter
        self._random = np.random.default_rng(seed)
        self._cost = hardest

    def step(self, strength: float) -> int:
        """One iteration under a penalty; halfway at a `strength` of 1."""
        goal = max(self._hardest / (1 + strength), self._cheapest)
        self._cost += (goal - self._cost) / 30
        steps = (self._cost - 2) / 6 + self._scatter * self._random.normal() - 0.5
        return 2 + 6 * max(1, math.ceil(steps))


def _train(model: _Model, weight: NFETarget, needed: float, num_iterations: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights and costs; `needed` is the weight of strength 1."""
    state, weights, costs = weight.init(like=0.0), [], []
    for _ in range(num_iterations):
        weights.append(weight.value(state))
        costs.append(model.step(weights[-1] / needed))
        state = weight.update(state, report_of(costs[-1]))
    return np.array(weights), np.array(costs)


def _ascended(cost: Callable[[float], int], target: float, initial: float) -> float:
    """Iterations that plain ascent by the documented formula takes to the target."""
    value, count = initial, 0
    while cost(value) > target:
        value *= math.exp(0.05 * min((cost(value) - target) / target, 1))
        count += 1
    return count


@pytest.mark.parametrize("needed", [1e-2, 1.0, 100.0])
@pytest.mark.parametrize("scatter", [0.0, 0.5, 1.0])
def test_targets_are_found_and_held(needed: float, scatter: float) -> None:
    weights, costs = _train(_Model(scatter=scatter), NFETarget(26), needed, 1000)
    assert abs(np.mean(costs[500:]) - 26) < 2
    assert max(weights) < 10 * needed


def test_a_low_start_is_not_slow() -> None:
    """A cost little above the target pulls little in plain ascent."""

    def settled(strength: float) -> int:
        return 2 + 6 * math.ceil(24 / (1 + strength) / 6)

    assert _ascended(settled, 20, 1e-3) > 350
    _, costs = _train(_Model(hardest=26, scatter=0.0), NFETarget(20), 1.0, 300)
    assert abs(np.mean(costs[200:]) - 20) <= 2


@pytest.mark.parametrize("scatter", [0.0, 0.5, 1.0])
def test_a_target_out_of_reach_does_not_wind_up(scatter: float) -> None:
    """The cost is as low as can be at a strength of 2.1."""
    with pytest.warns(TargetWarning, match=r"`NFETarget\(8\)` is out of reach: the solve costs 1\d(\.\d)? evaluations"):
        weights, costs = _train(_Model(scatter=scatter), NFETarget(8), 1.0, 1500)
    assert max(weights) < 40
    assert np.mean(weights[500:]) < 10
    assert np.mean(costs[500:]) < 20


def test_a_cost_that_never_answers_ends_at_the_first_weight() -> None:
    weight = NFETarget(20)
    states = [weight.init(like=0.0)]

    def train() -> None:
        for _ in range(1000):
            states.append(weight.update(states[-1], report_of(44)))

    with pytest.warns(TargetWarning, match="costs 44 evaluations on average") as caught:
        train()
    values = list(map(weight.value, states))
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert np.mean(np.array(values) > 1) < 0.1
    assert values[-1] <= 4e-3
    with pytest.warns(TargetWarning, match="costs 44"):
        weight.check(states[-1])


def test_a_target_that_is_held_is_not_warned_about() -> None:
    weight, state = NFETarget(30), NFETarget(30).init(like=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(500):
            state = weight.update(state, report_of(30))
        weight.check(state)
    assert weight.value(state) == 1e-3


@hypothesis.given(st.lists(st.integers(0, 10_000), max_size=200), st.floats(0.01, 1.0))
def test_any_costs_leave_the_weight_within_its_bounds(costs: list[int], gain: float) -> None:
    weight = NFETarget(50, initial=0.1, gain=gain, minimum=1e-3, maximum=10.0)
    state = weight.init(like=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TargetWarning)
        for cost in costs:
            before, state = state, weight.update(state, report_of(cost))
            assert 1e-3 <= state.value <= 10.0
            assert state.value <= before.value * math.exp(2 * gain) * (1 + 1e-12)
            assert all(map(math.isfinite, state))


@hypothesis.given(st.integers(0, 100), st.floats(0.01, 1.0))
def test_a_weight_that_holds_follows_the_formula(cost: int, gain: float) -> None:
    weight = NFETarget(50, initial=0.1, gain=gain)
    state = NFETargetState(0.1, 100, 50.0, 1.0, _HOLDING, 40, 0.1, 50.0, 0)
    expected = 0.1 * math.exp(gain * min(max((cost - 50) / 50, -1), 1))
    assert weight.update(state, report_of(cost)).value == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("target", [3, 4, 6])
def test_a_model_that_resists_is_held(target: int) -> None:
    """Training pulls the difficulty up, the penalty pulls it down in proportion to its weight; steps are whole."""
    weight, difficulty, costs = NFETarget(target, measure="num_steps"), 7.0, []
    state = weight.init(like=0.0)
    for _ in range(3000):
        costs.append(math.ceil(difficulty))
        difficulty = max(1.0, difficulty + 0.02 * (8.0 - difficulty) - 0.02 * weight.value(state) * difficulty)
        state = weight.update(state, report_of(costs[-1]))
    assert abs(np.mean(costs[1000:]) - target) < 0.5
    assert 1e-6 < weight.value(state) < 1e3


def test_several_solves_count_by_their_mean(xp: Any) -> None:
    weight = NFETarget(30)
    state = weight.init(like=0.0)
    for several in (report_of(xp.asarray([[20, 30, 70]])), [report_of(20), report_of(30), report_of(70)]):
        assert weight.update(state, several) == weight.update(state, report_of(40))
        assert isinstance(weight.update(state, several).value, float)


@pytest.mark.parametrize(
    ("reports", "error", "message"),
    [
        ([], InputError, r"`NFETarget.update` was given an empty list of reports\. Pass at least one"),
        ((), InputError, "an empty tuple of reports"),
        ({}, InputTypeError, r"or a list of reports, not \{\}"),
        (44, InputTypeError, "takes the `Report` of a solve, or a list of reports, not 44"),
        ([report_of(44), "report"], InputTypeError, "or a list of reports"),
        ([report_of(44), report_of(None)], InputError, r'`nfe` is None.*use `measure="num_steps"`'),
    ],
)
def test_what_is_no_report_is_refused(reports: Any, error: type[Exception], message: str) -> None:
    weight = NFETarget(30)
    with pytest.raises(error, match=message):
        weight.update(weight.init(like=0.0), reports)


def test_hidden_steps_are_refused() -> None:
    weight = NFETarget(30, measure="num_steps")
    with pytest.raises(InputError, match=r'`num_steps` is None.*use `measure="nfe"`'):
        weight.update(weight.init(), report_of(None))
