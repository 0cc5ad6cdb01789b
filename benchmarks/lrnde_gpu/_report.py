"""The report: report.json and a short report.md, written anew after every part."""

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lrnde_gpu._running import PartResult

_LINES = 16


def write_report(out: Path, settings: dict[str, Any], outcomes: Sequence[PartResult], *, is_complete: bool) -> None:
    """Write both files, each in one step, into a folder that exists."""
    content = {
        **settings,
        "is_complete": is_complete,
        "passed": is_complete and all(each.outcome == "passed" for each in outcomes),
        "parts": [each._asdict() for each in outcomes],
    }
    write_text(out / "report.json", json.dumps(content, indent=2) + "\n")
    write_text(out / "report.md", as_markdown(content))


def as_markdown(content: dict[str, Any]) -> str:
    """The verdicts in a table, then the last lines of each part."""
    lines = [
        "# On a GPU",
        "",
        f"`make gpu` on `{content['device']}`{', small sizes' if content['is_small'] else ''}: "
        f"{'all parts passed' if content['passed'] else 'not all parts passed'}.",
        "",
        "| part | outcome | seconds |",
        "| --- | --- | --- |",
        *(f"| {part['name']} | {part['outcome']} | {part['seconds']:.0f} |" for part in content["parts"]),
    ]
    for part in content["parts"]:
        lines += ["", f"## {part['name']}", "", "```", *part["tail"][-_LINES:], "```"]
    return "\n".join(lines) + "\n"


def write_text(path: Path, text: str) -> None:
    """Write a file in one step."""
    # `lrnde_core.write_text` does the same, but nothing may be installed here that its package imports.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    Path(name).chmod(0o644)
    Path(name).replace(path)
