"""Making this tree importable, and its adapters discoverable, for a Python that nothing is installed into."""

import importlib.metadata
import os
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GAP_FILLERS = ROOT / "build" / "gpu-site"
"""Where `make gpu-site` puts pure Python packages that may be missing."""

_FOLDERS = ("", "adapters", "conformance", "benchmarks")


def make_environment(folder: Path) -> dict[str, str]:
    """The environment of the parts, with what they import besides in `folder`, a temporary one."""
    write_metadata(folder)
    link_missing(folder, GAP_FILLERS)
    paths = [str(ROOT / name) for name in _FOLDERS] + [str(folder), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        # Plugins of pytest that happen to be there warn, and warnings are errors.
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        # JAX takes most of the memory at once otherwise, and torch finds none.
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    }


def write_metadata(folder: Path) -> None:
    """Write the metadata that an installation would have: by its entry points adapters are found."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    match = re.search(r'__version__ = "(.*)"', (ROOT / "lrnde_core" / "__init__.py").read_text())
    assert match is not None
    name, version = project["name"], match.group(1)
    metadata = folder / f"{name}-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines: list[str] = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{point} = {target}" for point, target in points.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")


def link_missing(folder: Path, fillers: Path) -> None:
    """Link the packages of `fillers`, a folder of installed ones, whose distribution this Python lacks into `folder`.

    What the machine has comes first.
    """
    for distribution in importlib.metadata.distributions(path=[str(fillers)]):
        if _is_here(distribution.metadata["Name"]):
            continue
        for name in {file.parts[0] for file in distribution.files or ()} - {"..", "bin"}:
            if (fillers / name).exists():
                (folder / name).symlink_to((fillers / name).resolve())


def _is_here(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
