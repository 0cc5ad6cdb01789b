"""A plugin of pytest that checks the shapes and dtypes in the core's annotations: `pytest -p tests.shapes tests/core`.

`make test-core` checks them: there nothing is compiled, and the arrays are of a library that has no quirks.
"""

from collections.abc import Callable
from typing import Any, get_args

import jaxtyping
from beartype import BeartypeConf, beartype

# Not those of draws and weights, which are called with Python numbers in many thousands of steps.
MODULES = (
    *("_arrays", "_explicit", "_heuristics", "_local", "_penalty", "_plans", "_point_heuristics", "_problem"),
    *("_recording", "_regularize", "_report", "_resolution"),
)

_checked = beartype(conf=BeartypeConf(is_pep484_tower=True))


def typechecker(function: Callable[..., Any]) -> Callable[..., Any]:
    """Check the arguments and results of functions of arrays.

    What other functions are given is a user's, and the library refuses it in its own words.
    """
    return _checked(function) if any(map(_is_of_arrays, function.__annotations__.values())) else function


def _is_of_arrays(hint: Any) -> bool:
    is_array = isinstance(hint, type) and issubclass(hint, jaxtyping.AbstractArray)
    return is_array or any(map(_is_of_arrays, get_args(hint)))


jaxtyping.install_import_hook([f"lrnde_core.{name}" for name in MODULES], f"{__name__}.typechecker")
