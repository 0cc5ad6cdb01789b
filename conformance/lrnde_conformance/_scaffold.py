"""The skeleton of an adapter for a solver that nobody has connected yet: `lrnde new-adapter`."""

import importlib.metadata
import importlib.resources
import importlib.util
import keyword
import re
import string
from collections.abc import Mapping, Sequence
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import lrnde_core
from lrnde_core import InputError

_FOLDERS = {"tests": ("test_conformance.py",), ".": ("README.md", "pyproject.toml")}
"""Where files go that do not belong to the package."""

_BACKENDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "torch": ("TorchBackend(self.device)", ("torch>=2.11",)),
    "jax": ("JaxBackend(self.device)", ("jax>=0.8", "equinox>=0.13.1")),
    "numpy": ("NumpyBackend()", ("numpy>=1.26",)),
}
"""The suite's backend, as a driver makes it, and what it and the helpers of lrnde for it require."""

_RECORDED = "a recorder offers each accepted step to `plan.keep_steps(duration)`"
_RECORDINGS = {
    "torch": _RECORDED,
    "jax": "a recorder in the loop asks `plan.sampler.keep` about each accepted step",
    "numpy": _RECORDED,
}
"""How a solver of a backend records its steps."""


def write_adapter(
    name: str,
    *,
    backend: str = "torch",
    solve: str | None = None,
    requires: Sequence[str] = (),
    install: str | None = None,
    parent: Path = Path(),
) -> Path:
    """Write the skeleton of an adapter into a new folder and return the folder, `parent / "lrnde-NAME"`.

    - `name`: of the adapter, and of the solver library as Python imports it unless `solve` says otherwise.
    - `backend`: whose arrays the solver takes: `"torch"`, `"jax"` or `"numpy"`.
    - `solve`: the call to be claimed, `"package.module:function"` or `"package.module:Class.method"`; `"NAME:solve"` by
      default.
    - `requires`: the solver's distributions, as pip takes them (`"jax>=0.8"`); by default the one that the module
      of `solve` was installed from. A name on the package index is never guessed: it may be somebody else's.
    - `install`: the argument of `pip install` that installs the solver; the names in `requires` by default.

    Raises `InputError` for a name that cannot be one or is taken, an unknown backend, a call of another form, a
    requirement that pip would not take or that has to be given, and a folder that exists or cannot be written.
    """
    _check_name(name)
    if backend not in _BACKENDS:
        raise InputError(f"`--backend {backend}`: must be one of {', '.join(_BACKENDS)}.")
    solve = f"{name}:solve" if solve is None else solve
    if not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", solve):
        raise InputError(
            f'`--solve {solve}`: must be of the form "package.module:function" or "package.module:Class.method".'
        )
    solver = [_requirement(text) for text in requires] or [_installed(re.split("[.:]", solve)[0])]
    install = " ".join(requirement.name for requirement in solver) if install is None else install
    folder = parent / f"lrnde-{name.replace('_', '-')}"
    values = _values(name, backend, solve, solver, install, folder.name)
    try:
        folder.mkdir(parents=True)
        for path, text in _files(backend, values).items():
            target = folder / path
            target.parent.mkdir(exist_ok=True)
            target.write_text(text, encoding="utf-8")
    except FileExistsError as error:
        raise InputError(f"`{folder}` exists already. Remove it, or choose another place with `--parent`.") from error
    except OSError as error:
        raise InputError(f"`{folder}` cannot be written: {error.strerror}.") from error
    return folder


def _check_name(name: str) -> None:
    if not _is_name(name):
        suggestion = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
        hint = f" Did you mean `{suggestion}`?" if _is_name(suggestion) else ""
        raise InputError(
            f"`{name}` cannot be the name of an adapter; it must be a Python name in lower case, as the solver's "
            f"library is imported.{hint}"
        )
    if importlib.util.find_spec(f"lrnde_{name}") is not None:
        raise InputError(f"The package `lrnde_{name}` exists already. Choose another name.")
    try:
        lrnde_core.REGISTRY.spec(name)
    except lrnde_core.AdapterNotFoundError:
        return
    raise InputError(
        f"There is an adapter `{name}` already. Choose another name; `lrnde adapters` lists those that are."
    )


def _is_name(name: str) -> bool:
    return bool(re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name)) and not keyword.iskeyword(name)


def _requirement(text: str) -> Requirement:
    try:
        return Requirement(text)
    except InvalidRequirement as error:
        raise InputError(
            f"`--requires '{text}'`: must be a requirement as pip takes it, such as 'jax>=0.8'."
        ) from error


def _installed(module: str) -> Requirement:
    """The distribution that a module was installed from, at the least in the version that is installed."""
    names = sorted(set(importlib.metadata.packages_distributions().get(module, ()))) or _named_like(module)
    if len(names) == 1:
        version = Version(importlib.metadata.version(names[0])).base_version
        return Requirement(f"{canonicalize_name(names[0])}>={version}")
    found = f"comes from several distributions ({', '.join(names)})" if names else "was installed by no distribution"
    raise InputError(
        f"`{module}` {found} in this environment. Install the solver, or give `--requires`, as pip takes it: "
        "--requires 'jax>=0.8'."
    )


def _named_like(module: str) -> list[str]:
    """The distribution with the name of the module: an editable installation does not list its modules."""
    try:
        return [importlib.metadata.distribution(module).name]
    except importlib.metadata.PackageNotFoundError:
        return []


def _values(
    name: str, backend: str, solve: str, solver: Sequence[Requirement], install: str, distribution: str
) -> dict[str, str]:
    """What the templates ask for."""
    made, requirements = _BACKENDS[backend]
    given = {canonicalize_name(requirement.name) for requirement in solver}
    arrays = [text for text in requirements if canonicalize_name(Requirement(text).name) not in given]
    quoted = [f'"{requirement}"' for requirement in (*solver, *arrays)]
    imported = sorted(["AbstractBackend", "AbstractDriver", "Method", "Task", made.partition("(")[0]])
    return {
        "name": name,
        "title": "".join(part.capitalize() for part in name.split("_")),
        "package": f"lrnde_{name}",
        "distribution": distribution,
        "solve": solve,
        "install": install,
        "backend": made,
        "recording": _RECORDINGS[backend],
        "driver_imports": ", ".join(imported),
        "requires": ", ".join(quoted) + ("," if len(quoted) == 1 else ""),
        "dependencies": ", ".join(['"lrnde"', *quoted]),
        "api_version": ", ".join(map(str, lrnde_core.ADAPTER_API)),
    }


def _files(backend: str, values: Mapping[str, str]) -> dict[Path, str]:
    """The text of each file by its path in the folder."""
    files: dict[Path, str] = {}
    for kind in ("common", backend):
        for template in (importlib.resources.files("lrnde_conformance") / "scaffold" / kind).iterdir():
            file = template.name.removesuffix(".template")
            place = next((place for place, names in _FOLDERS.items() if file in names), values["package"])
            files[Path(place) / file] = string.Template(template.read_text(encoding="utf-8")).substitute(values)
    return files
