"""Tests of the latent ODE on intensive care records, from small archives in the challenge's format."""

import dataclasses
import io
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

import lrnde
from lrnde_benchmarks._backends._make_trainer import make_trainer
from lrnde_benchmarks._settings import Penalty, Setting
from lrnde_benchmarks._tasks._challenge import VARIABLES, load_records
from lrnde_benchmarks._tasks._physionet import PHYSIONET
from lrnde_benchmarks._tasks._record_ode import RecordODE, divergence_weights, masked_error
from tests.benchmarks.operations import NUMPY

HEADER = "Time,Parameter,Value"
ADMITTED = ["00:00,RecordID,1", "00:00,Age,54", "00:00,Gender,0", "00:00,Height,-1", "00:00,ICUType,4"]


def write_archive(path: Path, records: Mapping[str, list[str]]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, lines in records.items():
            content = "\n".join([HEADER, *ADMITTED, *lines, ""]).encode()
            member = tarfile.TarInfo(f"{path.name.split('.')[0]}/{name}.txt")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def write_random(folder: Path, count: int) -> None:
    generator = np.random.default_rng(0)
    for part in ("set-a", "set-b"):
        records = {
            str(number): [
                f"{hour:02}:{minute:02},{name},{value:.3f}"
                for hour, minute in zip(generator.integers(0, 48, 20), generator.integers(0, 60, 20), strict=True)
                for name, value in (("HR", 80 + 9 * np.sin(hour / 8 + number)), ("Temp", 37 + np.cos(hour / 5)))
            ]
            for number in range(count)
        }
        write_archive(folder / f"{part}.tar.gz", records)


@pytest.fixture
def archives(tmp_path: Path) -> Path:
    write_random(tmp_path, 20)
    return tmp_path


def test_records_are_hourly_means_in_shares_of_the_largest_value(tmp_path: Path) -> None:
    # Out of order in the archive; 00:30 and 01:30 round to the even hour.
    first = ["00:30,HR,60", "01:29,HR,80", "01:00,HR,100", "48:00,Temp,37"]
    write_archive(tmp_path / "set-a.tar.gz", {"2": ["01:30,HR,120"], "1": first})
    write_archive(tmp_path / "set-b.tar.gz", {"0": ["05:00,Temp,40", "05:00,Lactate,0"]})
    records = load_records(tmp_path, None)
    rate, temperature = VARIABLES.index("HR"), VARIABLES.index("Temp")
    assert records.values.shape == records.mask.shape == (3, 49, 37)
    assert np.argwhere(records.mask).tolist() == [
        *([0, 0, rate], [0, 1, rate], [0, 48, temperature], [1, 2, rate]),
        *([2, 5, VARIABLES.index("Lactate")], [2, 5, temperature]),
    ]
    assert records.values[0, :3, rate] == pytest.approx([0, 30 / 120, 0])
    assert records.values[1, 2, rate] == pytest.approx(60 / 120)
    assert records.values[2, 5, temperature] == pytest.approx(3 / 40)
    assert np.array_equal(load_records(tmp_path, 1).mask, records.mask[:1])


def test_missing_archives_are_said_with_where_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(lrnde.InputError, match=r"has no set-a\.tar\.gz.*set-b\.tar\.gz.*https://physionet\.org"):
        load_records(tmp_path, 5)
    with pytest.raises(lrnde.InputError, match=r"--data DIR.*https://physionet\.org"):
        PHYSIONET.problem.load(PHYSIONET.fast, seed=0)


@pytest.mark.parametrize(
    ("lines", "words"),
    [(["00:00,HR"], "not enough values"), (["49:00,HR,1"], "out of bounds"), (["0,HR,1"], "not enough values")],
)
def test_damaged_records_are_named(lines: list[str], words: str, tmp_path: Path) -> None:
    write_archive(tmp_path / "set-a.tar.gz", {"1": lines})
    with pytest.raises(lrnde.InputError, match=rf"set-a/1\.txt in .* is not a record of the challenge.*{words}"):
        load_records(tmp_path, 1)


@pytest.mark.parametrize("content", [b"no archive", b""], ids=["text", "empty"])
def test_a_damaged_archive_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "set-a.tar.gz").write_bytes(content)
    with pytest.raises(lrnde.InputError, match=r"set-a\.tar\.gz is not a whole tar archive.*get it anew"):
        load_records(tmp_path, 1)


def test_the_divergence_and_the_draw_are_those_of_a_normal_distribution(archives: Path) -> None:
    """The divergence by its definition, as a mean over many draws."""
    problem = RecordODE(archives)
    data = problem.load(PHYSIONET.fast, seed=0)
    weights = {
        name: value.astype(np.float64)
        for name, value in problem.initial_weights(PHYSIONET.hyperparameters, seed=1).items()
    }
    inputs = data.inputs[:1].astype(np.float64)
    noise = np.random.default_rng(0).standard_normal((40_000, 20))
    mean = problem.initial_state(NUMPY, weights, inputs)
    drawn, divergence = problem.drawn_state(NUMPY, weights, inputs, noise)
    deviation = drawn.std(0)
    logarithms = -np.log(deviation) - 0.5 * ((drawn - mean) / deviation) ** 2 + 0.5 * drawn**2
    assert drawn.mean(0) == pytest.approx(mean[0], abs=0.03)
    assert divergence == pytest.approx(logarithms.mean(), rel=0.02)


def test_the_encoder_passes_over_hours_without_measurements(archives: Path) -> None:
    problem = RecordODE(archives)
    weights = problem.initial_weights(PHYSIONET.hyperparameters, seed=0)
    record = problem.load(PHYSIONET.fast, seed=0).inputs[:1].reshape(49, 74)
    is_measured = record[:, 37:].any(-1)
    assert 0 < is_measured.sum() < 49
    packed = np.concatenate([record[is_measured], record[~is_measured]])
    states = [problem.initial_state(NUMPY, weights, each.reshape(1, -1)) for each in (record, packed, record[::-1])]
    assert states[0] == pytest.approx(states[1], rel=1e-6)
    assert np.abs(states[0] - states[2]).max() > 1e-4


def test_errors_are_those_of_measured_values_alone() -> None:
    values, mask = np.zeros((2, 49, 37)), np.zeros((2, 49, 37))
    values[0, 3, 5], mask[0, 3, 5], mask[1, 0, 0] = 2.0, 1.0, 1.0
    outputs = np.full((49, 2, 37), 0.5)
    records = np.concatenate([values, mask], -1)
    assert masked_error(outputs, records) == pytest.approx((1.5**2 + 0.5**2) / 2)


def test_the_divergence_is_charged_for_from_its_start_on() -> None:
    assert divergence_weights(13, 10) == pytest.approx([0.0] * 11 + [0.01, 1 - 0.99**2])


def test_backends_train_the_same_model_with_the_same_draws(archives: Path) -> None:
    problem = RecordODE(archives)
    hyperparameters = dataclasses.replace(PHYSIONET.fast, steps=3, batch=16, divergence_start=0, dtype="float64")
    data = problem.load(hyperparameters, seed=0)

    def scores(adapter: str, weight_decay: float) -> tuple[float, float]:
        setting = Setting("none", weight_decay=weight_decay)
        trainer = make_trainer(adapter, problem, hyperparameters, setting, data, seed=0)
        before = trainer.evaluate().score
        trainer.train(3)
        return before, trainer.evaluate().score

    one, other = (scores(adapter, 5.0) for adapter in PHYSIONET.solvers)
    assert one == pytest.approx(other, rel=1e-5)
    before, without_decay = scores("torchdiffeq", 0.0)
    assert without_decay != pytest.approx(before, rel=1e-3)
    assert without_decay != pytest.approx(one[1], rel=1e-3)


def test_a_running_cost_is_penalised_through_the_whole_solve(archives: Path) -> None:
    problem = RecordODE(archives)
    hyperparameters = dataclasses.replace(PHYSIONET.fast, steps=2, batch=8)
    data = problem.load(hyperparameters, seed=0)
    penalty = Penalty(lrnde.KineticEnergy(), lrnde.Integral())
    setting = Setting("rnode", penalty, lrnde.Constant(1e4))
    trainer = make_trainer("torchdiffeq", problem, hyperparameters, setting, data, seed=0)
    trainer.train(2)
    assert np.isfinite(trainer.evaluate().score)


@pytest.mark.skipif("LRNDE_DATA" not in os.environ, reason="LRNDE_DATA does not name a folder that has physionet2012/")
def test_the_real_archives_have_the_known_share_of_measurements() -> None:
    folder = Path(os.environ["LRNDE_DATA"]) / "physionet2012"
    records = load_records(folder, None)
    assert records.mask.shape == (8000, 49, 37)
    assert int(records.mask.sum(dtype=np.float64)) == 2_876_036
