"""Tests of the spirals that a latent ODE is fitted to, and of its error."""

import numpy as np
import pytest

from lrnde_benchmarks._tasks._latent_ode import (
    LATENT_ODE,
    NOISE,
    NUM_READ,
    NUM_SPIRALS,
    READ_UNTIL,
    TIMES,
    LatentODE,
    make_spirals,
)


def test_spirals_turn_and_shrink() -> None:
    points = make_spirals().points @ [1.0, 1.0j]
    radius, angle = np.abs(points), np.unwrap(np.angle(points))
    damping, speed = -np.log(radius[:, -1] / radius[:, 0]), angle[:, -1] - angle[:, 0]
    assert np.all((damping >= 0.5) & (damping <= 1.5))
    assert np.all((speed >= 6) & (speed <= 10))
    assert points == pytest.approx(points[:, :1] * np.exp((1.0j * speed - damping)[:, None] * TIMES))


def test_each_spiral_is_measured_at_times_of_its_own_with_noise() -> None:
    spirals = make_spirals()
    is_measured = spirals.mask[..., 0] == 1
    assert np.all(is_measured[:, TIMES < READ_UNTIL].sum(1) == NUM_READ)
    assert np.all(is_measured[:, TIMES >= READ_UNTIL].sum(1) == NUM_READ // 2)
    assert len(np.unique(is_measured, axis=0)) == NUM_SPIRALS
    noise = (spirals.measured - spirals.points)[is_measured]
    assert noise.mean(0) == pytest.approx(0, abs=5 * NOISE / len(noise) ** 0.5)
    assert noise.std(0) == pytest.approx(NOISE, rel=0.03)


def test_measurements_are_read_backward_with_the_times_between_them() -> None:
    spirals = make_spirals()
    for index in (0, 17, 999):
        places = np.flatnonzero(spirals.mask[index, :, 0])[:NUM_READ][::-1]
        assert np.array_equal(spirals.read[index, :, :2], spirals.measured[index, places])
        # From the end of the time that is read.
        assert READ_UNTIL - np.cumsum(spirals.read[index, :, 2]) == pytest.approx(TIMES[places])


def test_the_loss_is_that_of_measurements_and_the_score_that_of_exact_points() -> None:
    problem, hyperparameters = LatentODE(), LATENT_ODE.hyperparameters
    data = problem.load(hyperparameters, seed=0)
    batch = data.train_batches[0]
    measured = data.targets[batch, :, 2:4].swapaxes(0, 1)
    is_measured = data.targets[batch, :, 4:].swapaxes(0, 1)
    outputs = measured + np.array([0.3, 0.5]) + 100.0 * (1 - is_measured)
    assert problem.loss(None, outputs, data.targets, batch) == pytest.approx((0.3**2 + 0.5**2) / 2)  # pyright: ignore[reportArgumentType]
    exact = [data.targets[each, :, :2].swapaxes(0, 1) + 0.5 for each in data.test_batches]
    # What fills up the last batch is not scored.
    exact[-1][:, data.num_tested % hyperparameters.batch :] += 100.0
    assert problem.score(exact, data, hyperparameters) == pytest.approx(0.5)
