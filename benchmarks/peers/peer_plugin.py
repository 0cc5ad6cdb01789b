"""A pytest plugin that records what a library's own tests give, with its solves wrapped or as they are.

Loaded by `compare.py` with `-p peer_plugin`, before the tests are imported, so that they find the wrapped functions.
Environment: `PEER_LIBRARY`, `PEER_WRAPPED` ("1" or "0"), `PEER_RECORD` (a file of JSON lines that it appends to).
"""

import functools
import importlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lrnde

ENTRY_POINTS = {
    "torchdiffeq": ("odeint", "odeint_adjoint", "odeint_event"),
    "torchsde": ("sdeint", "sdeint_adjoint"),
    "diffrax": ("diffeqsolve",),
}
_record = Path(os.environ["PEER_RECORD"])


def pytest_configure(config: pytest.Config) -> None:
    """Put the wrapped functions in the place of the library's."""
    del config
    if os.environ["PEER_WRAPPED"] == "1":
        library = importlib.import_module(os.environ["PEER_LIBRARY"])
        for name in ENTRY_POINTS[library.__name__]:
            setattr(library, name, _discarding(getattr(library, name), _draws(library.__name__)))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """One line for each phase of a test, and for each of its subtests."""
    if os.environ.get("PYTEST_XDIST_WORKER") is None:
        subtest = str(getattr(report, "context", "") or "")
        _write({"test": report.nodeid, "subtest": subtest, "when": report.when, "outcome": report.outcome})


def _discarding(solve: Callable[..., Any], draws: Callable[[], dict[str, Any]]) -> Callable[..., Any]:
    """`solve`, whose calls compute the default penalty and discard it; where lrnde refuses, the bare call."""
    wrapped = lrnde.regularize(solve)

    @functools.wraps(solve)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            result, _ = wrapped(*args, **draws(), **kwargs)
        except lrnde.LrndeError as error:
            _write({"call": solve.__name__, "refused": _reason(error)})
            return solve(*args, **kwargs)
        except Exception as error:
            _write({"call": solve.__name__, "raised": type(error).__name__})
            raise
        _write({"call": solve.__name__})
        return result

    return call


def _draws(library: str) -> Callable[[], dict[str, Any]]:
    """The arguments of a call's draw: never from a random state that a test sets."""
    if library == "diffrax":
        import jax

        return lambda: {"key": jax.random.key(0)}
    import torch

    generator = torch.Generator().manual_seed(0)
    return lambda: {"generator": generator}


def _reason(error: Exception) -> str:
    """The message without what varies from call to call, so that refusals can be counted."""
    first_line = str(error).splitlines()[0]
    return f"{type(error).__name__}: {re.sub(r'0x[0-9a-f]+|[-+]?[0-9][-+.0-9e]*', '#', first_line)}"[:300]


def _write(line: dict[str, Any]) -> None:
    with _record.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
