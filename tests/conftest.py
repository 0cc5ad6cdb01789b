"""Settings of all tests."""

import gc
import os
import sys
from collections.abc import Generator

import pytest

from tests.commands import Command, Printed

# JAX as its strictest users have it, read when it is first imported: a promotion of dtypes or of ranks that nobody
# wrote raises. Here rather than in a fixture, so that it also holds in the processes that tests start.
os.environ["JAX_NUMPY_DTYPE_PROMOTION"] = "strict"
os.environ["JAX_NUMPY_RANK_PROMOTION"] = "raise"

# Tracing makes many objects and little garbage. Python looks for cycles every 700 objects, a twentieth to a twelfth of
# the time that the tests take; the end of each file drops the cycles anyway.
gc.set_threshold(20_000, 20, 20)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--whole", action="store_true", help="train in examples and pages as long as they say")


@pytest.fixture
def whole(request: pytest.FixtureRequest) -> bool:
    """Whether the trainings of examples and pages are run as they stand there, rather than cut short."""
    return bool(request.config.getoption("--whole"))


def pytest_collection_finish() -> None:
    """Leave what the libraries made when they were imported out of every later search for cycles."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def programs_dropped() -> Generator[None]:
    """Drop the compiled programs of a file when it is done: together they would take gigabytes."""
    yield
    for module, drop in (("jax", "clear_caches"), ("torch._dynamo", "reset")):
        if module in sys.modules:
            getattr(sys.modules[module], drop)()
    gc.collect()


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin as a new process does: nothing has been said yet, and no calls are counted."""
    from lrnde_core import _said_once

    monkeypatch.setattr(_said_once, "_RUNS", {})


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`lrnde` in this process."""
    from lrnde_cli import main

    def run(*args: str) -> Printed:
        monkeypatch.setattr(sys, "argv", ["lrnde", *args])
        with pytest.raises(SystemExit) as exit_info:
            main()
        code = exit_info.value.code
        return Printed(code if isinstance(code, int) else 0, *capsys.readouterr())

    return run
