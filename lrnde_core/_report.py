"""Reports of regularized calls, and gathering those of calls deep inside somebody else's code."""

import contextlib
import contextvars
from collections.abc import Callable, Generator
from typing import Any, NamedTuple, final


@final
class Sample(NamedTuple):
    """Where the penalty looked, each of shape `(num_samples, *step_batch)`.

    `step_batch` is `()` where a batch shares its steps.

    - `t`: time at the start of the local step. `h`: its size, negative where the solve runs backward, clipped to the
      end of the solve; 0 if the solve took no step. Both in the user's time.
    - `weight`: what the cost was multiplied by; 0 if the solve took no step or failed, or the cost is not finite.
    - `error_ratio`: error ratio of the local step, dimensionless. `stiffness`: stiffness estimate, 1 / time. `None`
      where the heuristic did not need them.
    - `solver_error_ratio`: what the solver itself compared with 1 at that step, where it scales errors otherwise than
      the protocol does (torchsde); else `None`.

    None of these carries gradient. In torch, `t`, `h` and `weight` of shared steps are float64 on the CPU, whatever the
    device of the state: solvers choose such steps in Python.
    """

    t: Any
    h: Any
    weight: Any
    error_ratio: Any
    stiffness: Any
    solver_error_ratio: Any = None


@final
class Report(NamedTuple):
    """The penalty of one solve, and what the solve cost. A named tuple, hence a pytree.

    - `penalty`: scalar array of the state's real dtype, to be added to the loss with a weight.
    - `nfe`: vector-field evaluations of the forward solve alone, for a stochastic equation of drift plus diffusion;
      `None` where the library hides them.
    - `nfe_extra`: evaluations that the penalty added; `None` where the library hides them.
    - `num_steps`, `num_accepted`, `num_rejected`: attempted, accepted and rejected steps. `int` in torch, int32 in JAX;
      `None` where the library does not show its steps.
    - `sample`: where the penalty looked; `None` with `penalize=False`, and with `AllSteps` or `Integral` on diffrax,
      which adds the costs up as it solves.
    - `nfe_diffusion`: how many of `nfe` were evaluations of the diffusion; `None` for an ordinary equation.
    - `num_forced`: accepted steps with an error ratio above 1, which a smallest step size forced; `None` where the
      library never does that or does not show it.
    - `num_unresolved`: samples (steps, where every step is looked at) whose every estimate is exactly 0, because it was
      at or below its rounding floor or the method is exact for this field; they train nothing. `int` in torch, int32
      in JAX; `None` where the heuristic estimates nothing, and with `penalize=False`.
    - `nfe_backward`: evaluations, counted as `nfe` is, that the backward pass of a continuous adjoint has made so far:
      a `BackwardCount`, 0 until `backward()` runs, and all of its runs together; read it with `int(...)`. `None` where
      the backward pass evaluates nothing anew but differentiates the evaluations of the forward solve, and where the
      library does not tell (JAX).
    """

    penalty: Any
    nfe: Any
    nfe_extra: Any
    num_steps: Any
    num_accepted: Any
    num_rejected: Any
    sample: Sample | None
    nfe_diffusion: Any = None
    num_forced: Any = None
    num_unresolved: Any = None
    nfe_backward: Any = None


_REPORTS: contextvars.ContextVar[list[Report] | None] = contextvars.ContextVar("lrnde_reports", default=None)
_COMPANIONS: list[Callable[[], contextlib.AbstractContextManager[object]]] = []


@contextlib.contextmanager
def collect() -> Generator[list[Report]]:
    """Within the block, wrapped calls return the bare result and add their report to the list that the block is given.

    Blocks nest (the innermost collects) and are local to the thread or task.

    In torch the calls of a block that are given no `generator=` and no `draw=` draw from a generator which the state of
    the global one seeds where the block begins; that is advanced by one number, where the block ends. So what is
    checkpointed inside (`use_reentrant=False`) finds the random state that it had, wherever its backward pass runs.
    """
    reports: list[Report] = []
    with contextlib.ExitStack() as companions:
        for companion in _COMPANIONS:
            companions.enter_context(companion())
        token = _REPORTS.set(reports)
        try:
            yield reports
        finally:
            _REPORTS.reset(token)


def accompany_collect(companion: Callable[[], contextlib.AbstractContextManager[object]]) -> None:
    """Have every `collect` block entered together with a context that `companion` makes."""
    _COMPANIONS.append(companion)


def active_reports() -> list[Report] | None:
    """The list of the innermost `collect` block, or `None` outside of any."""
    return _REPORTS.get()


def is_collecting() -> bool:
    """Whether a `collect` block gathers reports here."""
    return _REPORTS.get() is not None
