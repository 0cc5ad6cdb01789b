"""Warning about tolerances that a dtype can not resolve."""

import warnings

from lrnde_core._errors import ResolutionWarning

# The error estimate of a step is itself a sum of a handful of roundings of the state.
_ROUNDINGS = 4.0


def warn_if_unresolved(rtol: float, atol: float, eps: float, dtype_name: str, stacklevel: int) -> None:
    """Issue a `ResolutionWarning` if `rtol + atol` is below 4 roundings of a state of size 1.

    - `rtol`, `atol`: tolerances as numbers; the largest, where they differ between elements.
    - `eps`: the spacing of the state's dtype at 1, and `dtype_name` its name.
    - `stacklevel`: as in `warnings.warn`, counted from the caller of this function.
    """
    if rtol + atol < _ROUNDINGS * eps:
        warnings.warn(
            f"`rtol={rtol:.3g}` and `atol={atol:.3g}` are below what {dtype_name} resolves (about "
            f"{_ROUNDINGS * eps:.1e} together for a state of size 1): most error estimates are mere rounding, and "
            "steps whose estimate is below its rounding floor get penalty 0. Loosen the tolerances or solve in a wider "
            f"dtype than {dtype_name}.",
            ResolutionWarning,
            stacklevel=stacklevel + 1,
        )
