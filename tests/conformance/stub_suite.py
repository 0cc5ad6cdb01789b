"""A suite of seven checks that take no time, and two adapters that solve nothing: for the tests of the doors.

As a plugin of pytest (`-p tests.conformance.stub_suite`) it puts them in place of the real ones.
"""

import abc
import contextlib
import warnings
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar, final

import pytest

from lrnde_conformance import AbstractBackend, AbstractDriver, Check, CheckSkipped, ConformanceFailure, Method, Subject
from lrnde_conformance._checks._check import check
from lrnde_conformance._checks._interface import CONTRACT
from lrnde_core import ADAPTER_API, AbstractAdapter, AdapterSpec, Capabilities, Capability, hookimpl

_Class = TypeVar("_Class", bound=type)

CLEAN = "tests.conformance.stub_suite:CleanDriver"
FAULTY = "tests.conformance.stub_suite:FaultyDriver"
OUTCOMES = {
    "interface.contract": "passed",
    "identity.solution-one": "passed",
    "identity.solution-two": "passed",
    "penalty.value": "failed",
    "gradient.value": "failed",
    "counts.nfe": "expected failure",
    "counts.rejected": "unexpected pass",
    "shape.jit": "skipped",
    "shape.vmap": "skipped",
}
"""What the checks find in the faulty one, by id. In the clean one all pass but those that are skipped."""


def _unused(*args: Any, **kwargs: Any) -> Any:
    raise NotImplementedError


def _filled(made: _Class) -> _Class:
    """A class with something in place of each member that it lacks."""
    for name in getattr(made, "__abstractmethods__", ()):
        setattr(made, name, _unused)
    return abc.update_abstractmethods(made)


@check(CONTRACT, law=0)
def contract(subject: Subject, case: str) -> None:
    """The stub can be driven."""


@check("identity.solution", law=1, cases=lambda _: ("one", "two"))
def identity(subject: Subject, case: str) -> None:
    """Warns, which is no fault whatever filters pytest was given."""
    warnings.warn("made up", UserWarning, stacklevel=1)


@check("penalty.value", law=3, hint="divide by two")
def penalty(subject: Subject, case: str) -> None:
    """The faulty one is off by a factor of two."""
    if subject.name == "faulty":
        raise ConformanceFailure("The penalty is off.", got=2.0, expected=1.0, tolerance="1e-8", cause="made up")


@check("gradient.value", law=4, is_slow=True)
def gradient(subject: Subject, case: str) -> None:
    """The faulty one raises."""
    if subject.name == "faulty":
        raise ZeroDivisionError("division by zero")


@check("counts.nfe", law=11)
def counts(subject: Subject, case: str) -> None:
    """The faulty one is expected to fail."""
    if subject.name == "faulty":
        raise ConformanceFailure("The count is off.")


@check("counts.rejected", law=11, tier="optional")
def rejected(subject: Subject, case: str) -> None:
    """The faulty one is expected to fail, and does not."""


@check("shape.jit", law=13, tier="optional", needs=(Capability.JIT,))
def jit(subject: Subject, case: str) -> None:
    """Declared unsupported."""


@check("shape.vmap", law=13, tier="optional")
def vmap(subject: Subject, case: str) -> None:
    """Does not apply."""
    raise CheckSkipped("nothing to map over")


CHECKS: tuple[Check, ...] = (contract, identity, penalty, gradient, counts, rejected, jit, vmap)


@_filled
class StubBackend(AbstractBackend):
    """No arrays at all, and nothing that the suite comes to need of a library."""

    name: ClassVar[str] = "stub"
    random_states_are_global: ClassVar[bool] = False
    arrays_are_mutable: ClassVar[bool] = False

    def __init__(self, device: str) -> None:
        self.device = device

    def array(self, values: Any, dtype: str) -> Any:
        if self.device != "cpu":
            raise RuntimeError(f"no {self.device} in a stub\nand more lines")
        return values

    def to_numpy(self, value: Any) -> Any:
        return value

    def preserved(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def versions(self) -> Mapping[str, str]:
        return {"stub": "0"}


@final
class CleanAdapter(AbstractAdapter):
    """Solves nothing."""

    capabilities = Capabilities.declare({Capability.JIT: "A stub has no compiler."})
    random_argument = "seed"
    bind = draw = check_draw = evaluate = zero_penalty = _unused


@final
class FaultyAdapter(AbstractAdapter):
    """Solves nothing, and has no CUDA."""

    capabilities = Capabilities.declare({Capability.JIT: "none", Capability.CUDA: "A stub has no device."})
    random_argument = "seed"
    bind = draw = check_draw = evaluate = zero_penalty = _unused


class Plugin:
    """Registers both."""

    @hookimpl
    def lrnde_register_adapters(self, register: Callable[[AdapterSpec], None]) -> None:
        for name in ("clean", "faulty"):
            target = f"tests.conformance.stub_suite:{name.title()}Adapter"
            driver = f"tests.conformance.stub_suite:{name.title()}Driver"
            register(AdapterSpec(name, target, ("math:fsum",), (), "made-up", ADAPTER_API, driver=driver))


_PLUGIN = Plugin()


@final
class CleanDriver(AbstractDriver):
    """Drives the clean one."""

    adapter: ClassVar[str] = "clean"
    plugin: ClassVar[Any] = _PLUGIN
    methods: ClassVar[tuple[Method, ...]] = (Method("one", None),)
    native = call = states = _unused

    @property
    def backend(self) -> StubBackend:
        return StubBackend(self.device)  # pyright: ignore[reportAbstractUsage]


@final
class FaultyDriver(AbstractDriver):
    """Drives the faulty one."""

    adapter: ClassVar[str] = "faulty"
    plugin: ClassVar[Any] = _PLUGIN
    methods: ClassVar[tuple[Method, ...]] = (Method("one", None),)
    native = call = states = _unused
    expected_failures: ClassVar[Mapping[str, str]] = {
        "counts.nfe": "the library hides one call",
        "counts.rejected": "the library hides them",
    }

    @property
    def backend(self) -> StubBackend:
        return StubBackend(self.device)  # pyright: ignore[reportAbstractUsage]


def install(monkeypatch: pytest.MonkeyPatch, checks: tuple[Check, ...] = CHECKS) -> None:
    """Put the stub's checks in place of the suite's."""
    for module in ("_runner", "_doors._planned", "_doors._command"):
        monkeypatch.setattr(f"lrnde_conformance.{module}.ALL", checks)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Install them for a run of pytest."""
    patch = pytest.MonkeyPatch()
    install(patch)
    config.add_cleanup(patch.undo)
