"""Training iterations leave nothing behind: `benchmarks/endurance.py` in short."""

import importlib.util
import itertools
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torchsde")
pytest.importorskip("diffrax")
_SCRIPT = Path(__file__).parents[2] / "benchmarks" / "endurance.py"
_NUM_WARMING, _NUM_ITERATIONS = 10, 40
_CASES = [
    "torchdiffeq, odeint, compiled field",
    "torchdiffeq, odeint_adjoint",
    "torchdiffeq, odeint, on a plan",
    "torchsde, sdeint",
    "diffrax, jit, on a plan",
]


def _load() -> Any:
    spec = importlib.util.spec_from_file_location("endurance", _SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["endurance"] = module
    spec.loader.exec_module(module)
    return module


_endurance = _load()


# Where Dynamo looks at what it is given, as in tests/adapters/torchdiffeq/test_compiled_models.py.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts what Linux shows of a process")
@pytest.mark.parametrize("name", _CASES)
def test_a_training_leaves_nothing_behind(name: str) -> None:
    training, counts = _endurance.CASES[name].make(), list[dict[str, int]]()
    for num_iterations in (_NUM_WARMING, _NUM_ITERATIONS, _NUM_ITERATIONS):
        for _ in range(num_iterations):
            training.iterate()
        counts.append(_endurance.counted(training))
    # What grows with every iteration does so in both rounds; a cache may be filled in one of them.
    added = {
        kind: min(after[kind] - before[kind] for before, after in itertools.pairwise(counts)) for kind in counts[0]
    }
    # A plan may change at a check, which has a program of its own.
    programs = added.pop("programs")
    assert programs == 0 or "on a plan" in name
    assert (added["files"], added["threads"]) == (0, 0)
    # Less than one for each iteration.
    assert max(added["arrays"], added["objects"]) < _NUM_ITERATIONS, added


def test_growth_is_what_a_training_added_after_its_first_count() -> None:
    counts = [{"memory": 900, "files": 3}] + [{"memory": 1000 + 50 * place, "files": 4 + place} for place in range(9)]
    assert _endurance.growth(counts, period=10) == {"memory": 5.0, "files": 9}
