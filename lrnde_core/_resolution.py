"""Estimates that are only rounding: their count, and warnings about them and about tolerances that cause them."""

from collections.abc import Callable, Hashable

from array_api_compat import is_jax_array

from lrnde_core._arrays import Count, Scalar, Tolerance, array_namespace, num_true
from lrnde_core._errors import ResolutionWarning
from lrnde_core._report import Sample
from lrnde_core._said_once import end_run, is_due
from lrnde_core._wrapping import warn_at_call

# The error estimate of a step is itself the sum of a few roundings of the state.
_ROUNDINGS = 4.0

# One sample may hit a step that the end of the solve has cut short; this many in a row are no accident.
_CALLS_IN_A_ROW = 3


def warn_if_unresolved(rtol: float, atol: float, eps: float, dtype_name: str) -> None:
    """Issue a `ResolutionWarning` if `rtol + atol` is below 4 roundings of a state of size 1.

    - `rtol`, `atol`: tolerances as numbers; the largest, if they differ between elements.
    - `eps`: the spacing of the state's dtype at 1, and `dtype_name` its name.
    """
    if _is_below_resolution(rtol, atol, eps):
        warn_at_call(
            f"`rtol={rtol:.3g}` and `atol={atol:.3g}` are below what {dtype_name} resolves (about "
            f"{least_tolerance(eps):.1e} together for a state of size 1): most error estimates are only rounding, and "
            "steps whose estimate is below its rounding floor get penalty 0. Loosen the tolerances or solve in a wider "
            f"dtype than {dtype_name}.",
            ResolutionWarning,
        )


def count_unresolved(sample: Sample) -> Count | None:
    """The number of samples whose estimates are all exactly 0, which is the value of an estimate that is only rounding.

    `None` if nothing was estimated. `int`, or an int32 JAX array.
    """
    estimates = [each for each in (sample.error_ratio, sample.stiffness) if each is not None]
    if not estimates:
        return None
    is_unresolved = estimates[0] == 0
    for estimate in estimates[1:]:
        is_unresolved = is_unresolved & (estimate == 0)
    # A weight of 0 means that there was no step, or no finite one.
    is_counted = is_unresolved & (sample.weight != 0)
    xp = array_namespace(is_counted)
    if is_jax_array(is_counted):
        return xp.astype(num_true(is_counted), xp.int32)
    # Read together: each value that Python reads from an accelerator waits again.
    return sum(xp.reshape(is_counted, (-1,)).tolist())


def warn_once_if_all_unresolved(
    solve: Hashable,
    num_unresolved: Count,
    num_samples: Callable[[], Count],
    tolerances: tuple[Tolerance | None, Tolerance | None],
    penalty: Scalar,
    *,
    is_systematic: bool,
) -> None:
    """Issue a `ResolutionWarning` if all samples of several calls in a row are unresolved, once for each `solve`.

    - `num_unresolved`, `num_samples()`: counts with known values. `penalty`: the call's, in the state's dtype.
    - `tolerances`: rtol and atol of the solve. If they are the cause, `warn_if_unresolved` has already said more.
    - `is_systematic`: whether one call is enough, because it looked at every step or steps are always that small.
    """
    # As Python numbers: arrays of a count may differ in dtype.
    if int(num_unresolved) == 0 or int(num_unresolved) < int(num_samples()):
        end_run(solve)
        return
    rtol, atol = tolerances
    if isinstance(rtol, int | float) and isinstance(atol, int | float):
        xp = array_namespace(penalty)
        if _is_below_resolution(rtol, atol, xp.finfo(penalty.dtype).eps):
            return
    if not is_due(solve, after=1 if is_systematic else _CALLS_IN_A_ROW):
        return
    warn_at_call(
        "All estimates in this penalty are at or below their rounding floor, so they count as exactly 0 "
        "and train nothing: the local error is too small for the dtype at these tolerances and this step "
        '(with `local_start="sample"` an automatic one, which is small), or the method is exact for this field. Solve '
        'in float64, loosen the tolerances, or penalise what needs no estimate: `TaylorDerivative(2, at="step")`, the '
        "default. `report.num_unresolved` counts such samples; this is said once.",
        ResolutionWarning,
    )


def least_tolerance(eps: float) -> float:
    """The least tolerance, relative to the state, that is more than rounding; `eps` as in `warn_if_unresolved`."""
    return _ROUNDINGS * eps


def _is_below_resolution(rtol: float, atol: float, eps: float) -> bool:
    return rtol + atol < least_tolerance(eps)
