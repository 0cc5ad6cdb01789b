"""The JAX code of the page about several devices computes on two what one does, and gathers nothing."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

# Of a few hundred sums and products, taken in another order.
_ROUNDING = 1e3 * float(np.finfo(np.float64).eps)
_close = functools.partial(np.testing.assert_allclose, rtol=_ROUNDING, atol=_ROUNDING)


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    pytest.importorskip("diffrax")
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
    done = subprocess.run(
        [sys.executable, "-m", "tests.docs.sharded_batch"],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"XLA_FLAGS": flags, "JAX_ENABLE_X64": "1", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_sharded_batch_gives_the_penalty_gradient_and_counts_of_one_device(found: dict[str, Any]) -> None:
    for two, one in zip(found["sharded"], found["alone"], strict=True):
        _close(two, one)


def test_a_sharded_batch_is_reduced_twice_more_and_never_gathered(found: dict[str, Any]) -> None:
    assert set(found["collectives"]) == set(found["bare collectives"]) == {"all-reduce"}
    assert found["collectives"]["all-reduce"] <= found["bare collectives"]["all-reduce"] + 2


def test_a_mapped_step_averages_what_its_parts_give_and_counts_each_by_itself(found: dict[str, Any]) -> None:
    for two, one in zip(found["mapped"], found["parts"], strict=True):
        _close(two, one)
    assert len(found["mapped"][2]) == 2
    assert set(found["mapped collectives"]) == {"all-reduce"}


def test_devices_with_averaged_gradients_have_the_weight_of_the_joint_batch(found: dict[str, Any]) -> None:
    assert found["jointly weighted"][1] > 0
    for two, one in zip(found["weighted"], found["jointly weighted"], strict=True):
        _close(two, one)
