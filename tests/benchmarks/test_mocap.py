"""Tests of the latent SDE on motion capture, from a small file of the same form."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lrnde
from lrnde_benchmarks._backends._make_trainer import make_trainer
from lrnde_benchmarks._cells import _ladder
from lrnde_benchmarks._cells._cell import run_cell
from lrnde_benchmarks._cells._ladder import FixedRung, Ladder, Levers
from lrnde_benchmarks._cells._store import Store
from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._settings import Setting
from lrnde_benchmarks._study import Study
from lrnde_benchmarks._tasks._latent_sde import LatentSDE
from lrnde_benchmarks._tasks._mocap import MOCAP
from lrnde_benchmarks._tasks._motion import load_motion
from tests.benchmarks.operations import NUMPY

SMALL = dataclasses.replace(MOCAP.fast, steps=6, batch=4, paths=2, hidden=5, tolerance=3e-2, dtype="float64")


def write(folder: Path, **changes: Any) -> None:
    """Walks whose angles are sines, of a size that is the same at every frame of a walk's period."""
    phases = np.arange(6)[:, None, None] + np.arange(50) / 7
    walks = 5 * np.sin(0.06 * np.arange(300)[:, None] + phases)
    np.savez(folder / "mocap35.npz", **{"x_train": walks[:3], "x_val": walks[3:4], "x_test": walks[4:], **changes})


@pytest.fixture
def problem(tmp_path: Path) -> LatentSDE:
    write(tmp_path)
    return LatentSDE(tmp_path)


def weights_of(problem: LatentSDE, hyperparameters: Hyperparameters = SMALL) -> dict[str, Any]:
    return {name: np.asarray(value) for name, value in problem.initial_weights(hyperparameters, seed=1).items()}


def test_walks_begin_at_several_frames_and_say_what_there_is_of_them(problem: LatentSDE) -> None:
    assert problem.folder is not None
    motion = load_motion(problem.folder)
    data = problem.load(SMALL, seed=0)
    assert data.targets.shape == (3 * 11 + 1 + 2, 300, 51)
    assert data.targets[:3, :, :50] == pytest.approx(motion.train, rel=1e-6)
    # The second start is frame 10; what is missing at the end is masked.
    assert data.targets[3:6, :290, :50] == pytest.approx(motion.train[:, 10:], rel=1e-6)
    assert data.targets[3:6, :, 50].sum(1).tolist() == [290] * 3
    assert data.targets[-2:, :, :50] == pytest.approx(motion.test, rel=1e-6)
    assert data.inputs[4].reshape(3, 50) * 6 == pytest.approx(motion.train[1, 10:13], rel=1e-6)
    assert data.targets[-3, :, :50] == pytest.approx(motion.validation[0], rel=1e-6)
    assert data.test_batches.tolist() == [[34, 35, 34, 35]]
    assert data.validation_batches is not None
    assert data.validation_batches.tolist() == [[33, 33]]
    assert data.train_batches.max() < 33


def test_the_score_is_that_of_unseen_frames_by_the_mean_over_paths(problem: LatentSDE) -> None:
    data = problem.load(SMALL, seed=0)
    walks = data.targets[-2:, :, :50].swapaxes(0, 1)
    outputs = np.concatenate([walks + 1.0, walks + 3.0], axis=1)
    outputs[:3] += 100.0
    assert problem.score([outputs], data, SMALL) == pytest.approx(4.0)


def test_paths_diverge_by_the_drifts_over_the_noise(problem: LatentSDE) -> None:
    """The further channel by Girsanov's formula, from networks written anew; what prediction solves is without it."""
    weights = weights_of(problem)

    def network(name: str, y: Any) -> Any:
        inner = np.log1p(np.exp(y @ weights[f"{name}_inner_weight"] + weights[f"{name}_inner_bias"]))
        return inner @ weights[f"{name}_outer_weight"] + weights[f"{name}_outer_bias"]

    y = np.random.default_rng(0).standard_normal((2, 10))
    z, drift, noise = y[:, :6], problem.drift(NUMPY, weights, 0.3, y), problem.diffusion(NUMPY, weights, 0.3, y)
    assert drift[:, :6] == pytest.approx(29.9 * network("posterior", y[:, :9]))
    assert 0.02 * 29.9**0.5 < noise[:, :6].min() < noise[:, :6].max() < 1.02 * 29.9**0.5
    ratio = (drift[:, :6] - 29.9 * network("prior", z)) / noise[:, :6]
    assert drift[:, 9] == pytest.approx(0.5 * (ratio**2).sum(1))
    for term in (drift[:, 6:9], noise[:, 6:]):
        assert not term.any()
    shorter = y[:, :9]
    assert problem.drift(NUMPY, weights, 0.3, shorter) == pytest.approx(drift[:, :9])
    assert problem.diffusion(NUMPY, weights, 0.3, shorter) == pytest.approx(noise[:, :9])


def test_the_loss_is_the_bound_for_each_value(problem: LatentSDE) -> None:
    data = problem.load(SMALL, seed=0)
    batch = np.array([0, 3])
    frames = data.targets[batch, :, :50].swapaxes(0, 1) + 2.0
    outputs = np.concatenate([frames, np.zeros((300, 2, 1))], axis=-1)
    outputs[-1, :, 50] = 15000.0, 45000.0
    assert problem.loss(NUMPY, outputs, data.targets, batch) == pytest.approx(0.5 * 4.0 + 2.0)


def test_every_backend_has_the_same_equation(problem: LatentSDE) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("diffrax")
    import torch

    from lrnde_benchmarks._backends import _diffrax, _torch_solver

    weights = weights_of(problem)
    inputs, noise = problem.load(SMALL, seed=0).inputs[:2].astype(np.float32), np.ones((2, 6), np.float32)
    results: list[list[Any]] = []
    for operations, array in (
        (NUMPY, np.asarray),
        (_torch_solver.OPERATIONS, torch.as_tensor),
        (_diffrax.OPERATIONS, _array),
    ):
        own = {name: array(value.astype(np.float32)) for name, value in weights.items()}
        y0, divergence = problem.drawn_state(operations, own, array(inputs), array(noise))
        terms = [term(operations, own, 0.0, y0) for term in (problem.drift, problem.diffusion)]
        results.append([np.asarray(each) for each in (y0, divergence, *terms)])
    for other in results[1:]:
        for own, expected in zip(other, results[0], strict=True):
            np.testing.assert_allclose(own, expected, rtol=1e-4, atol=1e-6)


def _array(value: Any) -> Any:
    import jax.numpy as jnp

    return jnp.asarray(value)


def test_training_improves_the_prediction(problem: LatentSDE) -> None:
    pytest.importorskip("torchsde")
    trainer = make_trainer("torchsde", problem, SMALL, Setting("none"), problem.load(SMALL, seed=0), seed=0)
    before = trainer.evaluate().score
    trainer.train(6)
    assert trainer.evaluate().score < 0.95 * before


def test_a_trained_cell_climbs_its_ladder(problem: LatentSDE, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = (Setting("none"),)
    study = Study(
        dataclasses.replace(MOCAP, problem=problem), ("torchsde",), (0,), settings, SMALL, 1, is_side_by_side=False
    )
    store = Store(tmp_path / "cells", study, "data", {"torchsde": {}}, {"torchsde": "code"})
    (job,) = study.cells
    store.write(job, run_cell(study, job, lambda _: None))
    few = Levers({"torchsde": ("heun", "euler_heun")}, (1e-2, 1.0), None, (2, 64))
    monkeypatch.setattr(_ladder, "_OF_SDES", few)
    (climbed,) = Ladder(store, job).climb().values()
    assert climbed.adaptive[0].test.nfe > climbed.adaptive[-1].test.nfe
    # Heun's method evaluates drift and diffusion twice a step, Euler and Heun's the drift once. To begin with, torchsde
    # evaluates each once, for their shapes.
    assert [(each.rung, each.test.nfe) for each in climbed.frozen] == [
        (FixedRung("heun", 2), 10),
        (FixedRung("heun", 64), 258),
        (FixedRung("euler_heun", 2), 8),
        (FixedRung("euler_heun", 64), 194),
    ]
    # Many steps come to what the exact solve does, but for the paths, which are others.
    assert climbed.frozen[1].test.score == pytest.approx(climbed.adaptive[0].test.score, rel=0.1)
    assert climbed.frozen[1].validation.score != climbed.frozen[1].test.score
    assert Ladder(store, job).predictor(settings[0], FixedRung("heun", 64)).evaluate() == climbed.frozen[1].test


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"x_val": np.zeros((1, 300, 49))}, r"validation .* shape \(1, 300, 49\)"),
        ({"x_train": np.full((1, 300, 50), np.nan)}, "not finite"),
    ],
)
def test_arrays_of_another_form_are_refused(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    write(tmp_path, **changes)
    with pytest.raises(lrnde.InputError, match=rf"{words}.*\(walks, 300, 50\)"):
        load_motion(tmp_path)


def test_a_missing_or_damaged_file_is_said_with_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(lrnde.InputError, match=r"has no mocap35\.npz.*ODE2VAE"):
        load_motion(tmp_path)
    (tmp_path / "mocap35.npz").write_bytes(b"PK no archive")
    with pytest.raises(lrnde.InputError, match=r"cannot be read.*ODE2VAE"):
        load_motion(tmp_path)
    with pytest.raises(lrnde.InputError, match=r"--data DIR.*mocap35\.npz"):
        MOCAP.problem.load(MOCAP.fast, seed=0)


@pytest.mark.skipif("LRNDE_DATA" not in os.environ, reason="LRNDE_DATA does not name a folder that has mocap35/")
def test_the_real_walks_have_the_known_size() -> None:
    motion = load_motion(Path(os.environ["LRNDE_DATA"]) / "mocap35")
    assert [len(part) for part in motion] == [16, 3, 4]
    assert (motion.test[:, 3:] ** 2).mean() == pytest.approx(33.675, abs=1e-3)
