"""Tests of the normalizing flows against closed forms, solved by scipy."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm
from scipy.stats import multivariate_normal, norm

from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._tasks._by_name import TASKS
from lrnde_benchmarks._tasks._density import DENSITY, DENSITY_TABULAR, DensityFlow
from lrnde_benchmarks._tasks._flow_data import NUM_SAMPLES, SampleName, load_samples
from tests.benchmarks.operations import NUMPY

HYPERPARAMETERS = Hyperparameters(hidden=7)
Weights = Mapping[str, Any]


def log_likelihood(problem: DensityFlow, weights: Weights, x: Any) -> Any:
    y0 = problem.initial_state(NUMPY, weights, x)

    def velocity(t: float, y: Any) -> Any:
        return problem.drift(NUMPY, weights, t, y.reshape(y0.shape)).reshape(-1)

    solution = solve_ivp(velocity, (0.0, 1.0), y0.reshape(-1), rtol=1e-10, atol=1e-10)
    ys = np.stack([y0, solution.y[:, -1].reshape(y0.shape)])
    return problem.outputs(NUMPY, weights, ys)


@pytest.mark.parametrize("samples", ["moons", "tabular"])
def test_the_trace_is_that_of_the_jacobian(samples: SampleName) -> None:
    problem = DensityFlow(samples)
    weights = problem.initial_weights(HYPERPARAMETERS, seed=0)
    z = np.random.default_rng(1).normal(size=(5, problem.dimension))
    y = np.concatenate([z, np.zeros((5, 1))], -1)
    drift = problem.drift(NUMPY, weights, 0.3, y)
    step = 1e-6
    trace = np.zeros(5)
    for component in range(problem.dimension):
        shift = step * np.eye(problem.dimension + 1)[component]
        ahead, behind = (problem.drift(NUMPY, weights, 0.3, y + sign * shift) for sign in (1, -1))
        trace += (ahead - behind)[:, component] / (2 * step)
    assert drift[:, -1] == pytest.approx(trace, abs=1e-9)
    # The integral does not act back on the field.
    assert np.array_equal(drift, problem.drift(NUMPY, weights, 0.3, y + np.eye(problem.dimension + 1)[-1]))


def test_a_linear_field_makes_a_gaussian() -> None:
    # tanh is linear near 0, so these weights make f(z) = z A up to terms of order 1e-8.
    problem, size = DensityFlow("moons"), 1e-4
    matrix = np.array([[0.4, -0.7], [0.2, -0.9]])
    shape = problem.initial_weights(dataclasses.replace(HYPERPARAMETERS, hidden=2), seed=0)
    weights = {name: np.zeros_like(value) for name, value in shape.items()}
    weights["first_weight"] = size * np.eye(2)
    weights["second_weight"] = np.eye(2)
    weights["third_weight"] = matrix / size
    x = np.random.default_rng(0).normal(size=(20, 2))
    # z(1) = x exp(A) is standard normal, so x is normal of covariance (exp(A) exp(A)^T)^-1.
    flow = expm(matrix)
    expected = multivariate_normal(np.zeros(2), np.linalg.inv(flow @ flow.T)).logpdf(x)
    assert log_likelihood(problem, weights, x) == pytest.approx(expected, abs=1e-6)


def test_the_density_of_any_flow_integrates_to_one() -> None:
    problem = DensityFlow("moons")
    weights = problem.initial_weights(dataclasses.replace(HYPERPARAMETERS, hidden=16), seed=3)
    axis = np.linspace(-8.0, 8.0, 121)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    mass = np.exp(log_likelihood(problem, weights, grid)).sum() * (axis[1] - axis[0]) ** 2
    assert mass == pytest.approx(1.0, abs=1e-4)


def test_a_field_of_zero_leaves_the_standard_normal_density() -> None:
    problem = DensityFlow("tabular")
    shape = problem.initial_weights(HYPERPARAMETERS, seed=0)
    weights = {name: np.zeros_like(value) for name, value in shape.items()}
    x = np.random.default_rng(0).normal(size=(4, problem.dimension))
    assert log_likelihood(problem, weights, x) == pytest.approx(norm.logpdf(x).sum(-1))


def test_the_score_leaves_out_what_fills_up_the_last_batch() -> None:
    problem = DensityFlow("tabular")
    data = problem.load(dataclasses.replace(DENSITY_TABULAR.hyperparameters, batch=50), seed=0)
    assert data.num_tested == 114
    assert data.test_batches.shape == (3, 50)
    outputs = [np.full(50, -1.0), np.full(50, -2.0), np.concatenate([np.full(14, -3.0), np.full(36, 99.0)])]
    expected = (50 * 1.0 + 50 * 2.0 + 14 * 3.0) / 114
    assert problem.score(outputs, data, DENSITY.hyperparameters) == pytest.approx(expected)


@pytest.mark.parametrize(("name", "shape"), [("moons", 2), ("gaussians", 2), ("tabular", 6)])
def test_samples_are_standardised_and_repeatable(name: SampleName, shape: int) -> None:
    samples = load_samples(name)
    assert samples.shape == (569 if name == "tabular" else NUM_SAMPLES, shape)
    assert samples.mean(0) == pytest.approx(0, abs=1e-12)
    assert samples.std(0) == pytest.approx(1)
    assert np.isfinite(samples).all()
    assert np.array_equal(samples, load_samples(name))


@pytest.mark.parametrize("name", [name for name in TASKS if name.startswith("density")])
def test_train_and_test_share_no_sample(name: str) -> None:
    task = TASKS[name]
    data = task.problem.load(task.hyperparameters, seed=1)
    held_out = set(data.test_batches.flatten())
    assert len(held_out) == data.num_tested
    assert not held_out & set(data.train_batches.flatten())
