"""What the wheel and the source distribution hold, built from a copy of the tracked files."""

import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.message import Message
from email.parser import BytesParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import lrnde
from lrnde_core import REGISTRY

_ROOT = Path(__file__).parents[2]
_PROJECT = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))
_STEM = f"lrnde-{lrnde.__version__}"


@pytest.fixture(scope="module")
def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=_ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.split("\0") if (_ROOT / name).is_file()]


@pytest.fixture(scope="module")
def dist(tracked: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in tracked:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_ROOT / name, source / name)
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", out], cwd=source, capture_output=True, check=True)
    return out


def _metadata(dist: Path) -> Message:
    with zipfile.ZipFile(dist / f"{_STEM}-py3-none-any.whl") as wheel:
        return BytesParser().parsebytes(wheel.read(f"{_STEM}.dist-info/METADATA"))


def test_the_source_distribution_holds_the_tracked_files(dist: Path, tracked: list[str]) -> None:
    with tarfile.open(dist / f"{_STEM}.tar.gz") as archive:
        held = {member.name.removeprefix(f"{_STEM}/") for member in archive if member.isfile()}
    assert held == {*tracked, "PKG-INFO"}


def test_the_wheel_holds_every_file_of_its_packages(dist: Path, tracked: list[str]) -> None:
    packages = _PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    expected = {
        str(Path(name).relative_to(Path(package).parent))
        for package in packages
        for name in tracked
        if name.startswith(f"{package}/")
    }
    with zipfile.ZipFile(dist / f"{_STEM}-py3-none-any.whl") as wheel:
        held = {name for name in wheel.namelist() if not name.startswith(f"{_STEM}.dist-info/")}
    assert held == expected
    assert {f"{Path(package).name}/py.typed" for package in packages} <= held


def test_the_description_on_the_package_index_links_to_no_file(dist: Path) -> None:
    description = _metadata(dist).get_payload()
    assert isinstance(description, str)
    assert "](" not in description
    assert "![" not in description
    assert "odeint = lrnde.regularize(odeint_adjoint)" in description
    assert description.count("\n#") == (_ROOT / "README.md").read_text(encoding="utf-8").count("\n#")


@pytest.mark.parametrize("name", ["diffrax", "taylor", "torchdiffeq", "torchsde"])
def test_the_libraries_of_an_adapter_are_those_of_its_extra(name: str) -> None:
    spec = REGISTRY.spec(name)
    assert list(spec.requires) == _PROJECT["project"]["optional-dependencies"][name]
    assert spec.install == f"lrnde[{name}]"


def test_the_oldest_versions_that_are_tried_are_the_bounds_that_are_declared() -> None:
    lines = (_ROOT / "constraints-oldest.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.lower().replace("_", "-").split("==") for line in lines if not line.startswith("#"))
    extras = _PROJECT["project"]["optional-dependencies"]
    tried = ("torchdiffeq", "torchsde", "diffrax", "taylor", "conformance", "benchmarks", "test-core")
    for text in [*_PROJECT["project"]["dependencies"], *(each for extra in tried for each in extras[extra])]:
        requirement = Requirement(text)
        (bound,) = requirement.specifier
        assert bound.operator == ">="
        assert Version(pinned[requirement.name]) == Version(bound.version) or requirement.name == "torch", requirement
