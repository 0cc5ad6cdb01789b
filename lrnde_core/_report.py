"""The reports of regularized calls, and their collection from calls deep inside somebody else's code."""

import contextlib
import contextvars
import functools
import operator
from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple, NoReturn, final

from lrnde_core._arrays import Count, OfSamples, Scalar, array_namespace
from lrnde_core._errors import InputError, InputTypeError, described
from lrnde_core._report_values import Entry, largest, scalar_entries, shown_fields


@final
class Sample(NamedTuple):
    """The local steps that the penalty evaluated, each field of shape `(num_samples, *step_batch)`.

    `step_batch` is `()` if a batch shares its steps.

    - `t`: time at the start of the local step. `h`: its size, negative if the solve runs backward, clipped to the
      end of the solve; 0 if the solve took no step. Both in the user's time.
    - `weight`: the factor of the cost; 0 if the solve took no step or failed, or the cost is not finite.
    - `error_ratio`: error ratio of the local step, dimensionless. `stiffness`: stiffness estimate, 1 / time. `None`
      if the heuristic did not need them.
    - `solver_error_ratio`: the number that the solver itself compared with 1 at that step, if it scales errors
      differently from the protocol (torchsde); else `None`.

    None of these carries gradient. In torch, `t`, `h` and `weight` of shared steps are float64 on the CPU, whatever the
    device of the state: solvers choose such steps in Python.
    """

    t: OfSamples
    h: OfSamples
    weight: OfSamples
    error_ratio: OfSamples | None
    stiffness: OfSamples | None
    solver_error_ratio: OfSamples | None = None

    def __repr__(self) -> str:
        return shown_fields(self)


@final
class Report(NamedTuple):
    """The penalty of one solve, and the cost of the solve. A named tuple, hence a pytree.

    - `penalty`: scalar array of the state's real dtype, to add to the loss with a weight; of a vmapped report, one for
      each solve: add their mean.
    - `nfe`: vector-field evaluations of the forward solve alone; drift plus diffusion for a stochastic equation;
      `None` if the library hides them.
    - `nfe_extra`: evaluations that the penalty added; `None` if the library hides them.
    - `num_steps`, `num_accepted`, `num_rejected`: attempted, accepted and rejected steps. `int` in torch, int32 in JAX;
      `None` if the library does not show its steps.
    - `sample`: the steps that the penalty evaluated; `None` with `penalize=False`, and with `AllSteps` or `Integral`
      on diffrax, which adds up the costs as it solves.
    - `nfe_diffusion`: the evaluations of the diffusion, which are part of `nfe`; `None` for an ordinary equation.
    - `num_forced`: accepted steps with an error ratio above 1, forced by a minimum step size; `None` if the library
      never forces steps or does not show it.
    - `num_unresolved`: samples (steps, if the sampler looks at every step) whose estimates are all exactly 0, because
      they were at or below their rounding floor or the method is exact for this field. Such samples train nothing.
      `int` in torch, int32 in JAX; `None` if the heuristic estimates nothing, and with `penalize=False`.
    - `nfe_backward`: evaluations, counted like `nfe`, that the backward pass of a continuous adjoint has made so far:
      a `BackwardCount`, 0 until `backward()` runs, and the sum over its runs; read it with `int(...)`. `None` if the
      backward pass only differentiates the evaluations of the forward solve, or if the library does not show it (JAX).
    - `step_error`: for fixed steps of a plan (`CheckedSteps`), their own estimate of the largest error of a sample,
      relative to the norm of its final state, without gradient; `None` for the adaptive solve.
    - `plan`: in torch, the `CheckedPlan` by which the call was solved; `None` elsewhere, and without `CheckedSteps`.
    """

    penalty: Scalar
    nfe: Count | None
    nfe_extra: Count | None
    num_steps: Count | None
    num_accepted: Count | None
    num_rejected: Count | None
    sample: Sample | None
    nfe_diffusion: Count | None = None
    num_forced: Count | None = None
    num_unresolved: Count | None = None
    nfe_backward: Count | None = None
    step_error: Scalar | None = None
    plan: Any = None  # of a module that imports this one

    def as_dict(self, prefix: str = "") -> dict[str, Entry]:
        """The numbers of this report by name, to log: a flat dictionary of scalars, without gradient in torch.

            wandb.log(report.as_dict("train/"))
            self.log_dict(report.as_dict())       # in a `LightningModule`

        - `prefix`: in front of every name.

        The names are those of the fields: `penalty`, `nfe`, `nfe_extra`, `nfe_diffusion`, `nfe_backward`, `num_steps`,
        `num_accepted`, `num_rejected`, `num_forced`, `num_unresolved` and `step_error`. Then there are
        `sample_error_ratio` and `sample_stiffness`, means over the samples, and those of `CheckedPlan.as_dict` after
        `plan_`. What is `None` is left out, so that all reports of one training have the same names, but for those that
        its plan or `penalize=False` changes.

        Values are Python numbers or scalar arrays of the backend, which are not waited for: it works under `jit` and
        `vmap`. An entry for several solves, as in a vectorised report or if samples take their own steps, is their
        mean; `step_error` their largest. `nfe_backward` is the count so far, so call this after `backward()`.
        """
        entries = {
            name: getattr(self, name)
            for name in (
                *("penalty", "nfe", "nfe_extra", "nfe_diffusion", "nfe_backward"),
                *("num_steps", "num_accepted", "num_rejected", "num_forced", "num_unresolved"),
            )
        }
        entries["step_error"] = largest(self.step_error)
        if self.sample is not None:
            entries["sample_error_ratio"] = self.sample.error_ratio
            entries["sample_stiffness"] = self.sample.stiffness
        of_plan: dict[str, Entry] = {} if self.plan is None else self.plan.as_dict(f"{prefix}plan_")
        return scalar_entries(prefix, entries.items()) | of_plan

    def __repr__(self) -> str:
        return shown_fields(self)


def _refusal(symbol: str) -> Callable[[Report, object], NoReturn]:
    def refuse(report: Report, other: object) -> NoReturn:
        del report, other
        raise InputTypeError(
            f"A `Report` is no operand of `{symbol}`. What a loss takes is its penalty: `report.penalty`, times a "
            "weight."
        )

    return refuse


# As a tuple it would be repeated and concatenated. Set here, so that a type checker goes on rejecting such expressions.
for _name, _symbol in (("add", "+"), ("sub", "-"), ("mul", "*"), ("truediv", "/")):
    for _method in (f"__{_name}__", f"__r{_name}__"):
        setattr(Report, _method, _refusal(_symbol))
# NumPy would make an array of it.
setattr(Report, "__array_ufunc__", None)  # noqa: B010


def summed_penalty(reports: Sequence[Report]) -> Scalar:
    """The sum of the penalties of several solves; that of a vmapped report, which holds several, is their mean."""
    means = [array_namespace(each).mean(each) if each.shape else each for each in (one.penalty for one in reports)]
    return functools.reduce(operator.add, means)


def listed_reports(taker: str, report: Report | Sequence[Report]) -> list[Report]:
    """The reports of one solve or of several, for a function that takes either.

    - `taker`: its name, for the message.

    Raises `InputTypeError` for anything but a report or a list or tuple of reports, and `InputError` for an empty one.
    """
    reports = [report] if isinstance(report, Report) else report
    if not isinstance(reports, list | tuple) or not all(isinstance(each, Report) for each in reports):
        raise InputTypeError(
            f"`{taker}` takes the `Report` of a solve, or a list of reports, not {described(report)}. Pass on what the "
            "regularized call returned beside the solution."
        )
    if not reports:
        raise InputError(
            f"`{taker}` was given an empty {type(reports).__name__} of reports. Pass at least one; a `collect` block "
            "has none if no regularized solve ran in it."
        )
    return list(reports)


def check_penalized(reports: Sequence[Report]) -> None:
    """Raise `InputError` if all reports are known to be of solves with `penalize=False`."""
    if all(_is_bare(each) for each in reports):
        raise InputError(
            "`report` is of a solve with `penalize=False`, so it has no penalty to train by. Solve with the penalty in "
            "training, or differentiate the loss alone."
        )


def _is_bare(report: Report) -> bool:
    has_samples = report.sample is not None or report.num_unresolved is not None
    # Of steps that diffrax adds up, an array.
    return not has_samples and isinstance(report.nfe_extra, int) and report.nfe_extra == 0


_REPORTS: contextvars.ContextVar[list[Report] | None] = contextvars.ContextVar("lrnde_reports", default=None)
_COMPANIONS: list[Callable[[], contextlib.AbstractContextManager[object]]] = []


@contextlib.contextmanager
def collect() -> Generator[list[Report]]:
    """Within the block, wrapped calls return the bare result and add their report to the list that the block yields.

    Blocks nest (the innermost collects) and are local to the thread or task.

    In torch, calls in a block without `generator=` and `draw=` draw from a separate generator. The state of the global
    generator seeds it when the block begins; the global one advances by one number when the block ends. So a function
    checkpointed inside (`use_reentrant=False`) finds its original random state, wherever its backward pass runs.
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


@contextlib.contextmanager
def uncollected() -> Generator[None]:
    """Keep solves that a further evaluation of a field makes within the block out of the `collect` block around it."""
    if _REPORTS.get() is None:
        yield
        return
    token = _REPORTS.set([])
    try:
        yield
    finally:
        _REPORTS.reset(token)


def accompany_collect(companion: Callable[[], contextlib.AbstractContextManager[object]]) -> None:
    """Enter every `collect` block together with a context that `companion` makes."""
    _COMPANIONS.append(companion)


def active_reports() -> list[Report] | None:
    """The list of the innermost `collect` block, or `None` outside any block."""
    return _REPORTS.get()


def is_collecting() -> bool:
    """Whether a `collect` block gathers reports here."""
    return _REPORTS.get() is not None
