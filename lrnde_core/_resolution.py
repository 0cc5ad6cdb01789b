"""Warning about tolerances that the state's dtype can not resolve."""

import warnings

from lrnde_core._errors import ResolutionWarning


def warn_if_unresolved(rtol: float, atol: float, eps: float, dtype_name: str, stacklevel: int) -> None:
    """Warn if a state of size 1 is rounded more coarsely than its tolerance: rtol + atol below 4 eps.

    `eps`: spacing of the dtype's numbers at 1. `stacklevel`: as for `warnings.warn`, from this function's caller.
    """
    if rtol + atol >= 4 * eps:
        return
    warnings.warn(
        f"The tolerances rtol={rtol:g}, atol={atol:g} are below what {dtype_name} resolves ({eps:.1e} at 1), so the local "
        "error estimate is mostly rounding; where it does not rise above its rounding floor the penalty is exactly 0. "
        "Use larger tolerances or a wider dtype.",
        ResolutionWarning,
        stacklevel=stacklevel + 1,
    )
