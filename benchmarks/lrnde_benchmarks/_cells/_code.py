"""The code that a cell is computed by: a digest of the modules that decide its result.

Counted are, of lrnde's own modules, the adapter, the training loop of its backend, the problem of the task, `_cell`,
and whatever these import at the top of a module, and so on; the whole core is among that. Not counted are comments,
docstrings and layout, what draws, tabulates or reads options, and `_methods`, since settings are in a cell's identity
by value. A heuristic, sampler or weight whose class is not lrnde's own counts by the module that defines it.
"""

import ast
import dataclasses
import functools
import hashlib
import importlib.util
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, final

from lrnde_benchmarks._backends._make_trainer import TRAINING_LOOPS
from lrnde_benchmarks._settings import Setting
from lrnde_benchmarks._tasks._task import AbstractProblem
from lrnde_core import REGISTRY, AbstractHeuristic, AbstractSampler, AbstractWeight

_OWN = "lrnde_"
_BENCHMARKS = "lrnde_benchmarks"
# Of these packages; classes that users know name the first as their module.
_COUNTED = frozenset({"lrnde", "lrnde_core", _BENCHMARKS})
_BY_VALUE = frozenset({f"{_BENCHMARKS}._methods"})


@final
class Commit(NamedTuple):
    """The commit that was checked out, and whether files that git knows were changed since."""

    head: str
    is_dirty: bool


def code_digest(adapter: str, problem: AbstractProblem) -> str:
    """Of the modules that decide what an adapter makes of a problem. Imports nothing."""
    digest = hashlib.sha256()
    for name, content in sorted(deciding_modules(adapter, problem).items()):
        digest.update(f"{name} {content}\n".encode())
    return digest.hexdigest()


def deciding_modules(adapter: str, problem: AbstractProblem) -> dict[str, str]:
    """The digest of each of these modules by its name."""
    target = REGISTRY.spec(adapter).target.partition(":")[0]
    waiting = [target, *TRAINING_LOOPS[adapter], f"{_BENCHMARKS}._cells._cell", type(problem).__module__]
    found: dict[str, str] = {}
    while waiting:
        name = waiting.pop()
        if name.startswith(_OWN) and name not in found and name not in _BY_VALUE:
            found[name], imported = _read(name)
            waiting += imported
    return found


def own_code(settings: Iterable[Setting]) -> dict[str, str | None]:
    """The digest of each module that defines a part of these settings and is not counted anyway, by its name.

    `None` for one without a file.
    """
    names = {type(part).__module__ for setting in settings for part in _parts(setting)}
    found: dict[str, str | None] = {}
    for name in sorted(names):
        if name.partition(".")[0] not in _COUNTED or name in _BY_VALUE:
            file = getattr(sys.modules.get(name), "__file__", None)
            found[name] = None if file is None else normalized_digest(ast.parse(Path(file).read_text(encoding="utf-8")))
    return found


def _parts(value: Any) -> Iterator[object]:
    """The dataclasses within a value, itself included."""
    if dataclasses.is_dataclass(value):
        yield value
        for field in dataclasses.fields(value):
            yield from _parts(getattr(value, field.name))
    elif isinstance(value, tuple):
        for each in value:
            yield from _parts(each)
    elif isinstance(value, AbstractHeuristic | AbstractSampler | AbstractWeight):
        yield value


def current_commit() -> Commit | None:
    """What is checked out, if this module runs from a git checkout; for information."""
    own = Path(__file__)
    try:
        _git(own.parent, "ls-files", "--error-unmatch", own.name)
        head = _git(own.parent, "rev-parse", "HEAD").strip()
        changes = _git(own.parent, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return Commit(head, bool(changes.strip()))


def _git(folder: Path, *args: str) -> str:
    return subprocess.run(["git", *args], cwd=folder, capture_output=True, text=True, check=True).stdout


@functools.cache
def _read(name: str) -> tuple[str, tuple[str, ...]]:
    """The digest of a module and the modules that it imports."""
    path = _path(name)
    assert path is not None, name
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = tuple(_imports(tree))
    return normalized_digest(tree), imported


def normalized_digest(tree: ast.Module) -> str:
    """Of what a module does: comments and layout are not in the tree, docstrings are taken out of it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [each for each in node.body if not _is_text(each)]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _is_text(node: ast.stmt) -> bool:
    """Whether a statement is a mere string: a docstring, or the description of a constant."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            submodules = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (each if _path(each) is not None else node.module for each in submodules)


@functools.cache
def _path(name: str) -> Path | None:
    """The file of a module of ours; `None` where there is none of this name, or it is not ours."""
    top, *inner = name.split(".")
    spec = importlib.util.find_spec(top) if top.startswith(_OWN) else None
    if spec is None or spec.origin is None:
        return None
    place = Path(spec.origin).parent.joinpath(*inner)
    return next((path for path in (place / "__init__.py", place.with_suffix(".py")) if path.is_file()), None)
