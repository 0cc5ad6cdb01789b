"""Tests of the trajectories that neural ODEs are fitted to, and of the fit's error."""

import dataclasses

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from lrnde_benchmarks._tasks._data import Fold
from lrnde_benchmarks._tasks._dynamics import (
    DYNAMICS,
    NUM_TIMES,
    NUM_TRAJECTORIES,
    SYSTEMS,
    FittedDynamics,
    SystemName,
    make_trajectories,
    velocity,
)

NAMES = list(SYSTEMS)


@pytest.mark.parametrize("name", NAMES)
def test_trajectories_are_those_of_another_method(name: SystemName) -> None:
    trajectories, system = make_trajectories(name), SYSTEMS[name]
    states = trajectories.states * trajectories.scale + trajectories.mean
    assert states.shape == (NUM_TIMES, NUM_TRAJECTORIES, 2)
    times = np.linspace(0.0, system.duration, NUM_TIMES)
    for index in (0, 17, 499):
        solution = solve_ivp(
            lambda _t, y: velocity(name, y),
            (0.0, system.duration),
            states[0, index],
            method="LSODA",
            t_eval=times,
            rtol=1e-11,
            atol=1e-11,
        )
        assert states[:, index] == pytest.approx(solution.y.T, abs=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_starts_fill_the_box_and_data_are_standardised(name: SystemName) -> None:
    trajectories, system = make_trajectories(name), SYSTEMS[name]
    starts = trajectories.states[0] * trajectories.scale + trajectories.mean
    assert np.all((starts >= system.low) & (starts <= system.high))
    width = np.subtract(system.high, system.low)
    assert starts.min(0) == pytest.approx(np.asarray(system.low), abs=0.02 * width.max())
    assert trajectories.states.mean((0, 1)) == pytest.approx(0, abs=1e-12)
    assert trajectories.states.std((0, 1)) == pytest.approx(1)


def test_velocities_are_those_of_the_named_systems() -> None:
    # The Brusselator x' = a + x^2 v - (b + 1) x, v' = b x - x^2 v rests at (a, b / a), here a = 1 and b = 2.5.
    assert velocity("Brusselator", np.array([1.0, 2.5])) == pytest.approx(0)
    assert velocity("Brusselator", np.array([2.0, 1.0])) == pytest.approx([1 + 4 - 7, 5 - 4])
    assert velocity("van der Pol", np.array([2.0, 3.0])) == pytest.approx([3, (1 - 4) * 3 - 2])


def test_the_score_is_the_error_of_the_held_out_trajectories() -> None:
    problem = FittedDynamics("van der Pol")
    hyperparameters = dataclasses.replace(DYNAMICS.hyperparameters, batch=60)
    data = problem.load(hyperparameters, seed=0)
    assert data.num_tested == 100
    assert data.test_batches.shape == (2, 60)
    outputs = [data.targets[:, batch] + 0.5 for batch in data.test_batches]
    assert problem.score(outputs, data, hyperparameters) == pytest.approx(0.5)
    # Twenty rows only fill up the second batch.
    outputs[1][:, 40:] += 100.0
    assert problem.score(outputs, data, hyperparameters) == pytest.approx(0.5)


def test_held_out_trajectories_are_not_trained_on() -> None:
    problem = FittedDynamics("Brusselator")
    for fold in (None, Fold(0, 2, 5)):
        data = problem.load(DYNAMICS.hyperparameters, 3, fold)
        assert data.num_tested == 100
        assert not set(data.test_batches.flatten()) & set(data.train_batches.flatten())
