"""Two processes with half of the batch each train as one with the whole batch does."""

import functools
import re
from pathlib import Path

import pytest
import torch

from tests.adapters.torchdiffeq.data_parallel import (
    Found,
    by_fixed_steps,
    find,
    gradients,
    halves,
    kinetic_gradients,
    weights,
)
from tests.adapters.torchdiffeq.problems import Perceptron

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available(), reason="torch is built without distributed training"
)
# Of a few hundred sums and products, taken in another order.
_ROUNDING = 1e3 * torch.finfo(torch.float64).eps
_close = functools.partial(torch.testing.assert_close, rtol=_ROUNDING, atol=_ROUNDING)
_SOLVES = ("odeint", "odeint_adjoint")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Found]:
    folder = tmp_path_factory.mktemp("processes")
    torch.multiprocessing.spawn(find, (str(folder),), nprocs=2)  # pyright: ignore[reportPrivateImportUsage]
    return [torch.load(Path(folder, f"{rank}.pt")) for rank in (0, 1)]


@pytest.mark.parametrize("name", _SOLVES)
def test_with_one_draw_the_gradient_is_that_of_the_joint_batch(found: list[Found], name: str) -> None:
    model, x = by_fixed_steps()[name], torch.cat(tuple(halves()))
    alone = gradients(model, model, x, draw=[0.3])
    for each in found:
        _close(each["gradients"][name], alone)


@pytest.mark.parametrize("name", _SOLVES)
def test_the_gradient_ratio_is_that_of_the_joint_batch(found: list[Found], name: str) -> None:
    model, x = by_fixed_steps()[name], torch.cat(tuple(halves()))
    assert found[0]["weights"][name] == found[1]["weights"][name]
    _close(found[0]["weights"][name], weights(model, model, x))


def test_a_sharded_field_has_the_gradient_of_the_whole_one(found: list[Found]) -> None:
    field = Perceptron()
    kinetic_gradients(field, torch.cat(tuple(halves())))
    for each in found:
        _close(each["sharded"], [parameter.grad for parameter in field.parameters()])


def test_a_weight_refuses_to_measure_sharded_parameters(found: list[Found]) -> None:
    for each in found:
        sharded, replaced = each["refusals"]
        assert re.search(r"3 of the 3 parameters are sharded .*`DTensor`.* Use `Constant`, ", sharded)
        assert re.search("depends on none of the 3 parameters .* `fully_shard`, for one, replaces them", replaced)


def test_the_page_gives_all_processes_one_model_and_weight_and_each_its_draw(found: list[Found]) -> None:
    first, second = (each["page"] for each in found)
    assert all(map(torch.equal, first["parameters"], second["parameters"]))
    assert first["time"] != second["time"]
    assert first["ratio"] == second["ratio"]
    assert first["ratio"]["num_measured"] == 2
    assert first["target"] == second["target"]
    assert first["target"]["average"] == (first["nfe"] + second["nfe"]) / 2
    assert first["nfe"] != second["nfe"]
