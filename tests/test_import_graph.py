"""The imports of all our packages, function bodies included: no circle, and between packages one way."""

import ast
import graphlib
from collections.abc import Iterator, Mapping, Set
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1]
_FOLDERS = ("", "adapters", "conformance", "benchmarks", "examples/lrnde-torchode", "examples/lrnde-jax-odeint")
_PACKAGES = {
    place.parent.name: place.parent for folder in _FOLDERS for place in sorted((_ROOT / folder).glob("*/__init__.py"))
}

_TORCH, _JAX = {"lrnde_core", "lrnde_torch"}, {"lrnde_core", "lrnde_jax"}
_ALLOWED: Mapping[str, Set[str]] = {
    "lrnde_core": set(),
    "lrnde": {"lrnde_core"},
    "lrnde_conformance": {"lrnde_core"},
    "lrnde_pytest": {"lrnde_conformance"},
    "lrnde_torch": {"lrnde_core"},
    "lrnde_jax": {"lrnde_core"},
    "lrnde_torchdiffeq": _TORCH,
    "lrnde_torchsde": _TORCH,
    "lrnde_torchode": _TORCH,
    "lrnde_diffrax": _JAX,
    "lrnde_jax_odeint": _JAX,
    "lrnde_taylor": _TORCH | _JAX,
    "lrnde_lightning": {"lrnde_core"},
    "lrnde_benchmarks": {"lrnde", "lrnde_core", "lrnde_torch", "lrnde_jax", "lrnde_conformance", "lrnde_taylor"},
    "lrnde_gpu": {"lrnde", "lrnde_core", "lrnde_benchmarks"},
    "lrnde_cli": {"lrnde_core", "lrnde_conformance", "lrnde_benchmarks"},
}
# One module of an adapter puts it to the suite; `python -m lrnde` is the command.
_ADAPTERS = (
    *("lrnde_torchdiffeq", "lrnde_torchsde", "lrnde_torchode"),
    *("lrnde_diffrax", "lrnde_jax_odeint", "lrnde_taylor"),
)
_ALLOWED_MODULE = {**{f"{name}._conformance": "lrnde_conformance" for name in _ADAPTERS}, "lrnde.__main__": "lrnde_cli"}


def _modules(package: str) -> dict[str, Path]:
    """The files of a package by the names of their modules."""
    folder = _PACKAGES[package]
    names = {path: (package, *path.relative_to(folder).with_suffix("").parts) for path in folder.rglob("*.py")}
    return {".".join(name).removesuffix(".__init__"): path for path, name in names.items()}


_MODULES = {name: path for package in _PACKAGES for name, path in _modules(package).items()}


def _imports(path: Path) -> Iterator[str]:
    """The modules of ours that a file imports anywhere: at its top, in functions, for its annotations."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in _MODULES)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            for name in (f"{node.module}.{alias.name}" for alias in node.names):
                if name in _MODULES:
                    yield name
                elif node.module in _MODULES:
                    yield node.module


_ARROWS = {name: set(_imports(path)) - {name} for name, path in _MODULES.items()}


def _circle(arrows: Mapping[str, Set[str]]) -> list[str]:
    """The nodes of a circle in order; none where there is no circle."""
    try:
        graphlib.TopologicalSorter(arrows).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


def _top(name: str) -> str:
    return name.partition(".")[0]


def test_circles_are_found() -> None:
    assert _circle({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert set(_circle({"a": {"b"}, "b": {"c"}, "c": {"b"}})) == {"b", "c"}


def test_imports_inside_functions_and_of_modules_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text("import lrnde_core\ndef f():\n    from lrnde_cli import _main, main\n    import json\n")
    assert set(_imports(path)) == {"lrnde_core", "lrnde_cli._main", "lrnde_cli"}


@pytest.mark.parametrize("package", _PACKAGES)
def test_no_module_of_a_package_is_in_a_circle(package: str) -> None:
    assert not _circle({name: arrows for name, arrows in _ARROWS.items() if _top(name) == package})


@pytest.mark.parametrize("package", _PACKAGES)
def test_no_room_of_a_package_is_in_a_circle(package: str) -> None:
    """A room is a folder, or a module beside folders."""
    arrows: dict[str, set[str]] = {}
    for name, imported in _ARROWS.items():
        if _top(name) == package:
            room = name.split(".")[:2]
            others = {tuple(each.split(".")[:2]) for each in imported if _top(each) == package}
            arrows.setdefault(".".join(room), set()).update(".".join(each) for each in others - {tuple(room)})
    assert not _circle(arrows)


@pytest.mark.parametrize("package", _PACKAGES)
def test_arrows_between_packages_point_one_way(package: str) -> None:
    for name, imported in _ARROWS.items():
        if _top(name) == package:
            allowed = {package, *_ALLOWED[package], _ALLOWED_MODULE.get(name)}
            refused = sorted(each for each in imported if _top(each) not in allowed)
            assert not refused, f"{name} imports {', '.join(refused)}"
