"""Test of how `benchmarks/frozen_bound.py` judges what it counts."""

import importlib.util
import math
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("scipy")
SCRIPT = Path(__file__).parents[2] / "benchmarks" / "frozen_bound.py"


def load() -> Any:
    spec = importlib.util.spec_from_file_location("frozen_bound", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_counts_are_judged_by_the_ranks_of_exchangeable_samples() -> None:
    # Each model: the largest of 3 held back errors, and 2 fresh ones. Of 5 ranks, equally likely, that largest one has
    # exactly j of the fresh above it in C(4 - j, 2) of the C(5, 3) = 10 placements: 6, 3 and 1.
    share = [0.6, 0.3, 0.1]
    expected = [math.fsum(share[a] * share[k - a] for a in range(3) if 0 <= k - a < 3) for k in range(5)]
    rows = [{"share_beyond": 0.25, "num_held_back": 3, "num_fresh": 2, "num_beyond": count} for count in (1, 2)]
    found = load().summed_up("max", rows)
    assert found["promised"] == 0.25
    assert found["found"] == 0.75
    assert found["p_value"] == pytest.approx(expected[3] + expected[4])
    assert (found["low"], found["high"]) == (0.0, 0.75)
