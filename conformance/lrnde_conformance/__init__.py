"""The conformance suite: whether an adapter keeps the laws of docs/protocol.md.

    verdict = run_checks("torchdiffeq")

The author of an adapter writes an `AbstractDriver`, which turns the suite's problems into calls of the solver.
Importing this package imports numpy and no other array library; `TorchBackend` and `JaxBackend` are imported when
first used.
"""

from typing import TYPE_CHECKING, Any

from lrnde_conformance._backends._backend import AbstractBackend
from lrnde_conformance._checks import ALL as CHECKS
from lrnde_conformance._checks._check import Check
from lrnde_conformance._driver import AbstractDriver, Task
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._failure import CheckNotApplicable, CheckSkipped, ConformanceFailure
from lrnde_conformance._method import Method
from lrnde_conformance._oracles._schemes import SCHEMES
from lrnde_conformance._oracles._sde_schemes import SDE_SCHEMES
from lrnde_conformance._results import CheckResult, Outcome, Verdict
from lrnde_conformance._runner import run_check, run_checks

if TYPE_CHECKING:
    from lrnde_conformance._backends._jax_backend import JaxBackend
    from lrnde_conformance._backends._numpy_backend import NumpyBackend
    from lrnde_conformance._backends._torch_backend import TorchBackend
    from lrnde_conformance._doors._python import check_adapter, parametrize_with_checks
    from lrnde_conformance._reference._adapter import ReferenceAdapter
    from lrnde_conformance._reference._conformance import ReferenceDriver

__all__ = [
    "CHECKS",
    "SCHEMES",
    "SDE_SCHEMES",
    "AbstractBackend",
    "AbstractDriver",
    "Check",
    "CheckNotApplicable",
    "CheckResult",
    "CheckSkipped",
    "ConformanceFailure",
    "JaxBackend",
    "Method",
    "NumpyBackend",
    "Outcome",
    "ReferenceAdapter",
    "ReferenceDriver",
    "Subject",
    "Task",
    "TorchBackend",
    "Verdict",
    "check_adapter",
    "parametrize_with_checks",
    "run_check",
    "run_checks",
]

_LAZY = {
    "JaxBackend": "_backends._jax_backend",
    "NumpyBackend": "_backends._numpy_backend",
    "ReferenceAdapter": "_reference._adapter",
    "ReferenceDriver": "_reference._conformance",
    "TorchBackend": "_backends._torch_backend",
    "check_adapter": "_doors._python",
    "parametrize_with_checks": "_doors._python",
}


def __getattr__(name: str) -> Any:
    """Import a backend when it is first asked for."""
    if name not in _LAZY:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
