"""Tests of writing files of results."""

from pathlib import Path

import pytest

from lrnde_benchmarks._files import write_json


def test_the_folder_is_made(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "report.json"
    write_json(path, {"value": 1})
    assert path.read_text() == '{\n  "value": 1\n}\n'


def test_what_json_does_not_have_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_json(path, {"value": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"value": float("nan")})
    assert path.read_text() == '{\n  "value": 1\n}\n'
    assert list(tmp_path.iterdir()) == [path]
