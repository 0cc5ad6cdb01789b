"""Files in folders that are made for them, which a reader finds whole or not at all."""

import json
from pathlib import Path
from typing import Any

import lrnde_core


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file in one step, replacing what was there. Makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lrnde_core.write_bytes(path, content)


def write_json(path: Path, value: Any) -> None:
    """Write JSON in one step. Raises `ValueError` for NaN and infinities, which JSON does not have."""
    write_bytes(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())
