"""Which callables a path names: functions, and methods of classes bound to an object."""

import copy
import functools
import pickle
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from lrnde_conformance._reference._solver import integrate
from lrnde_core import (
    AdapterNotFoundError,
    AdapterSpec,
    ErrorEstimate,
    InputError,
    InputTypeError,
    PluginError,
    hookimpl,
    regularize,
)
from lrnde_core._claims import import_path, is_named, resolve_imported
from lrnde_core._registry import Registry
from tests.core.toy import INTEGRATE, TARGET

_ERROR = ErrorEstimate(1e-4, 1e-6)
_TIMES = (0.0, 0.5, 0.75, 2.0)
_Y0 = np.array([1.0, -0.5])
_SOLVE = f"{__name__}:Solver.solve"


class Solver:
    """A solver that is an object, as in torchode: what a user calls is its method."""

    def __init__(self, method: str) -> None:
        self.method = method

    def solve(self, field: Callable[[Any, Any], Any], y0: Any, times: Sequence[float]) -> Any:
        return integrate(field, y0, times, method=self.method)

    @classmethod
    def solve_with_defaults(cls, field: Callable[[Any, Any], Any], y0: Any, times: Sequence[float]) -> Any:
        return cls("dopri5").solve(field, y0, times)

    @staticmethod
    def solve_alone(field: Callable[[Any, Any], Any], y0: Any, times: Sequence[float]) -> Any:
        return integrate(field, y0, times)


class Inheriting(Solver):
    """Has the same method."""


class Overriding(Solver):
    """Has another method, which nobody claims."""

    def solve(self, field: Callable[[Any, Any], Any], y0: Any, times: Sequence[float]) -> Any:
        return super().solve(field, y0, times)


class Borrowing:
    """Has the same functions for methods, and is no solver."""

    solve = Solver.solve
    integrate = integrate


def _field(t: Any, y: Any) -> Any:
    return t - 1.5 * np.sin(y)


def _claim(registry: Registry, name: str, *solves: str) -> None:
    class Plugin:
        @hookimpl
        def lrnde_register_adapters(self, register: Callable[[AdapterSpec], None]) -> None:
            register(AdapterSpec(name, TARGET, solves, (), "numpy", (2, 0)))

    registry.register(Plugin())


@pytest.mark.parametrize(
    ("solve", "path", "expected"),
    [
        (integrate, INTEGRATE, True),
        (_field, INTEGRATE, False),
        (Solver("dopri5").solve, _SOLVE, True),
        (Inheriting("dopri5").solve, _SOLVE, True),
        (Inheriting("dopri5").solve, f"{__name__}:Inheriting.solve", True),
        (Solver("dopri5").solve, f"{__name__}:Inheriting.solve", False),
        (Overriding("dopri5").solve, _SOLVE, False),
        (Borrowing().solve, _SOLVE, False),  # pyright: ignore[reportAttributeAccessIssue]
        (Borrowing().integrate, INTEGRATE, False),  # pyright: ignore[reportAttributeAccessIssue]
        (Solver.solve, _SOLVE, False),  # it waits for the object
        (Solver.solve_with_defaults, f"{__name__}:Solver.solve_with_defaults", True),
        (Inheriting.solve_with_defaults, f"{__name__}:Solver.solve_with_defaults", True),
        (Solver.solve_alone, f"{__name__}:Solver.solve_alone", True),
        (Solver("dopri5").solve_alone, f"{__name__}:Solver.solve_alone", True),
        (Solver("dopri5").solve, f"{__name__}:Solver.missing", False),
        (Solver("dopri5").solve, f"{__name__}:Missing.solve", False),
        (integrate, "no_such_module:integrate", False),
    ],
)
def test_a_path_names_a_function_or_a_method_with_its_object(solve: Any, path: str, expected: bool) -> None:
    assert is_named(solve, path) is expected


def test_a_path_names_a_method_of_a_module_of_equinox(monkeypatch: pytest.MonkeyPatch) -> None:
    """equinox has its own type of bound method."""

    class Module(pytest.importorskip("equinox").Module):
        solve = Solver.solve

    monkeypatch.setattr(sys.modules[__name__], "Module", Module, raising=False)
    assert is_named(Module().solve, f"{__name__}:Module.solve")
    assert not is_named(Module().solve, _SOLVE)


def test_paths_lead_to_members_of_classes() -> None:
    assert import_path(_SOLVE) is resolve_imported(_SOLVE) is Solver.solve
    assert import_path("json.decoder:JSONDecoder.decode").__name__ == "decode"
    assert resolve_imported(f"{__name__}:Missing.solve") is None
    with pytest.raises(AttributeError, match="no attribute 'missing'"):
        import_path(f"{__name__}:Solver.missing")


@pytest.mark.parametrize("path", ["solver", "solver:", ":solve", "solver:Solver.", "solver:Solver..solve", "a:b:c"])
def test_a_path_that_can_not_lead_anywhere_is_refused(path: str) -> None:
    with pytest.raises(PluginError, match=r'is not of the form "package.module:name"'):
        _claim(Registry(), "mistaken", path)


@pytest.mark.parametrize("solver_class", [Solver, Inheriting])
def test_a_claimed_method_is_regularized_with_its_object(
    toy_registry: Registry, solver_class: Callable[[str], Solver]
) -> None:
    _claim(toy_registry, "objects", _SOLVE)
    solver = solver_class("dopri5")
    for native in (solver.solve, functools.partial(solver.solve)):
        solve = regularize(native, heuristic=_ERROR)
        assert (solve.solver.adapter_name, solve.solver.path) == ("objects", _SOLVE)
    assert regularize(solver.solve, heuristic=_ERROR).solver.function.__self__ is solver  # pyright: ignore[reportFunctionMemberAccess]


def test_a_claimed_method_of_a_class_that_has_it_from_another_is_named_once(toy_registry: Registry) -> None:
    _claim(toy_registry, "objects", _SOLVE, f"{__name__}:Inheriting.solve")
    assert regularize(Inheriting("dopri5").solve, heuristic=_ERROR).solver.adapter_name == "objects"
    named = regularize(Inheriting("dopri5").solve, heuristic=_ERROR, adapter="objects:Inheriting.solve")
    assert named.solver.path == f"{__name__}:Inheriting.solve"
    with pytest.raises(InputError, match=r"has no `solve`; it has \['Inheriting.solve', 'Solver.solve'\]"):
        regularize(Solver("dopri5").solve, adapter="objects:solve")


def test_a_method_without_its_object_is_refused_in_words(toy_registry: Registry) -> None:
    _claim(toy_registry, "objects", _SOLVE)
    with pytest.raises(AdapterNotFoundError, match=r"`.*Solver.solve` is a method without its object.*`solver.solve`"):
        regularize(Solver.solve, heuristic=_ERROR)
    with pytest.raises(AdapterNotFoundError, match="No adapter claims"):
        regularize(Overriding("dopri5").solve, heuristic=_ERROR)


class CallableSolver(Solver):
    def __call__(self) -> None: ...


@pytest.mark.parametrize(
    "holder", [Solver("dopri5"), CallableSolver("dopri5"), functools.partial(CallableSolver("dopri5"))]
)
def test_the_object_of_a_claimed_method_is_refused_in_words(toy_registry: Registry, holder: Any) -> None:
    _claim(toy_registry, "objects", _SOLVE)
    with pytest.raises(InputTypeError, match=r"not .*, which only has one: regularize its `solve`\.$"):
        regularize(holder, heuristic=_ERROR)


def test_a_regularized_method_is_a_value(toy_registry: Registry) -> None:
    _claim(toy_registry, "objects", _SOLVE)
    solver = Solver("dopri5")
    solve = regularize(solver.solve, heuristic=_ERROR)
    # A method is made anew each time it is asked for; the object is what counts.
    assert regularize(solver.solve, heuristic=_ERROR) == solve == copy.copy(solve)
    assert hash(regularize(solver.solve, heuristic=_ERROR)) == hash(solve)
    assert regularize(Solver("dopri5").solve, heuristic=_ERROR) != solve
    for other in (copy.deepcopy(solve), pickle.loads(pickle.dumps(solve))):
        assert other.solver.function.__self__.method == "dopri5"  # pyright: ignore[reportFunctionMemberAccess]
        assert other.solver.path == _SOLVE
