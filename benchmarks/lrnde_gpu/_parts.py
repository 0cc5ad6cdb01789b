"""The parts of a run, in order, and how long each may take."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, final

from lrnde_gpu._place import ROOT

_COMMAND = ("-m", "lrnde_cli")
_GRAPH_TEST = "tests/adapters/torchdiffeq/test_freeze.py"


@final
class Part(NamedTuple):
    """One question, answered by a separate process.

    - `arguments`: of Python. `limit`: seconds; the last part has what the others left over. `expected`: what its output
      must hold, beside an exit code of 0.
    """

    name: str
    arguments: tuple[str, ...]
    limit: float
    expected: str = ""


def make_parts(out: Path, device: str, data: Path, *, is_small: bool) -> Sequence[Part]:
    """All parts, each writing its figures to a file NAME.json of `out`.

    - `device`: `"cuda"` or `"cpu"`. `data`: the folder of MNIST. `is_small`: to see that everything works.
    """

    def part(name: str, limit: float, *arguments: str, expected: str = "") -> Part:
        # Small sizes are tried where the machine may be busy with other work.
        seconds = 300.0 if is_small else limit
        return Part(name, (*arguments, "--json", str(out / f"{name}.json")), seconds, expected)

    on = ("--device", device)
    suite = ("conformance", "--fast", *(("-k", "identity") if is_small else ()), *on)
    overhead = _script("overhead", "--fast", "--time-only", *on)
    # Eager steps are many launches, and to compile takes long, so of each only what can be had in the time.
    eager = ("--steps", "7", *(("--heuristic", "Predicted") if is_small else ()))
    compiled = ("--steps", *(("7",) if is_small else ("7", "30")), "--heuristic", "at=")
    frozen = _script("frozen_speed", "--fast", "--seeds", "1", *on)
    # Without a GPU there is no graph to capture; the test beside it shows that the part works.
    graph = "cuda_graph" if device == "cuda" else "nothing_is_read_from_the_device"
    mnist = ("-m", "lrnde_gpu.mnist", *(("--small",) if is_small else ("--data", str(data))), *on)
    return (
        part("here", 30, "-m", "lrnde_gpu.here", *on),
        part("conformance-torchdiffeq", 50, *_COMMAND, *suite, "torchdiffeq"),
        part("conformance-torchsde", 35, *_COMMAND, *suite, "torchsde"),
        part("conformance-diffrax", 70, *_COMMAND, *suite, "diffrax"),
        Part("graph", ("-m", "pytest", "-q", str(ROOT / _GRAPH_TEST), "-k", graph), 25, expected="1 passed"),
        part("overhead-torchdiffeq", 30, *overhead, "--backend", "torchdiffeq", *eager),
        part("overhead-diffrax", 60, *overhead, "--backend", "diffrax", *compiled),
        part("frozen-torchdiffeq", 70, *frozen, "--backend", "torchdiffeq"),
        part("frozen-diffrax", 60, *frozen, "--backend", "diffrax"),
        part("mnist", 110, *mnist),
    )


def _script(name: str, *arguments: str) -> tuple[str, ...]:
    return (str(ROOT / "benchmarks" / f"{name}.py"), *arguments)
