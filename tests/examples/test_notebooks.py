"""The notebooks run as they stand there, and are kept without what they printed."""

import json
from pathlib import Path

import pytest

from tests import readers_code

_NOTEBOOKS = sorted((Path(__file__).parents[2] / "examples").glob("*.ipynb"))
assert _NOTEBOOKS


@pytest.mark.parametrize("path", _NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, whole: bool) -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    cells = [cell for cell in json.loads(path.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)
    try:
        readers_code.run(["".join(cell["source"]) for cell in cells], path.name, whole=whole)
        assert pyplot.get_fignums()
    finally:
        pyplot.close("all")
