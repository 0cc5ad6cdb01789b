"""The plan of a training on checked steps, and what keeps it between the calls."""

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any, final

from lrnde_core._arrays import Scalar
from lrnde_core._claims import NativeArguments, NativeKeywords, NativeResult
from lrnde_core._errors import CapabilityError, InputError, described
from lrnde_core._plans._plan import FixedSteps


@final
@dataclasses.dataclass(frozen=True)
class CheckedPlan:
    """The steps that a training takes now, and what their last check found. Hashable.

    - `steps`: `None` for the adaptive solve, as before the first check, after one that failed, and where no fixed
      steps within its cost keep the bound.
    - `error`: of `steps` against the adaptive solution, as measured at the last check on the samples that did not
      choose them; without `steps`, that of the best ones; `None` if nothing could be measured.
    - `error_estimate`: the estimate that these steps made of their error then (`Report.step_error`).
    - `num_iterations`: so far. `checked_at`: the iteration before which the last check was made. `period`: the number
      of iterations from there to the next check.
    - `num_checks`, `num_check_evaluations`: the number of checks so far, and their evaluations of the field, those of
      adaptive solves included and those of backward passes not; the latter `None` if the library hides its own.
    - `native_evaluations`: of the adaptive solve at the last check; `None` if they are hidden.
    - `tried`: all steps that the training has taken, in the order of their first use.
    - `gradient_error`: of the gradient, measured like `error`; `None` where `CheckedSteps` has no bound on it.
    """

    steps: FixedSteps | None = None
    error: float | None = None
    error_estimate: float | None = None
    num_iterations: int = 0
    checked_at: int | None = None
    period: int = 0
    num_checks: int = 0
    num_check_evaluations: int | None = 0
    native_evaluations: float | None = None
    tried: tuple[FixedSteps, ...] = ()
    gradient_error: float | None = None

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> "CheckedPlan":
        """The plan whose fields `dataclasses.asdict` gave, from JSON too. Raises `InputError` for anything else."""
        names = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(fields, Mapping) or set(fields) != names:
            found = sorted(fields) if isinstance(fields, Mapping) else described(fields)
            raise InputError(f"The saved plan has the entries {found}; a `CheckedPlan` has {sorted(names)}.")
        steps, tried = fields["steps"], fields["tried"]
        try:
            return dataclasses.replace(
                cls(**fields),
                steps=None if steps is None else FixedSteps.from_fields(steps),
                tried=tuple(map(FixedSteps.from_fields, tried)),
            )
        except (AttributeError, LookupError, TypeError) as error:
            raise InputError(
                f"The steps of the saved plan cannot be read ({error!r}). Give what `dataclasses.asdict(plan)` gave."
            ) from error

    def as_dict(self, prefix: str = "") -> dict[str, float]:
        """The numbers of this plan by name, to log; `None` is left out.

        They are `num_fixed_steps` (0 for the adaptive solve), `error`, `gradient_error`, `num_checks` and
        `num_check_evaluations`.

        - `prefix`: in front of every name.
        """
        entries = {
            "num_fixed_steps": 0 if self.steps is None else self.steps.num_steps,
            "error": self.error,
            "gradient_error": self.gradient_error,
            "num_checks": self.num_checks,
            "num_check_evaluations": self.num_check_evaluations,
        }
        return {f"{prefix}{name}": value for name, value in entries.items() if value is not None}

    def __str__(self) -> str:
        if self.checked_at is None:
            return "adaptive steps, not checked yet"
        steps = "adaptive steps" if self.steps is None else str(self.steps)
        error = "nothing could be measured" if self.error is None else f"error {self.error:.2g}"
        if self.gradient_error is not None:
            error += f", of the gradient {self.gradient_error:.2g}"
        if self.steps is None and self.error is not None:
            error = f"the best fixed ones have {error}"
        checks = "1 check" if self.num_checks == 1 else f"{self.num_checks} checks"
        return f"{steps}; {error} before iteration {self.checked_at}, {checks}"

    def __repr__(self) -> str:
        return f"<CheckedPlan: {self}>"


class AbstractPlanHolder(abc.ABC):
    """Keeps the plan of one training between its calls, where a call may have a state.

    - `plan`: the plan now.
    """

    plan: CheckedPlan
    # The plan of the calls, in this iteration, that a backward pass may make again; `None` before the first of them.
    _repeatable: CheckedPlan | None = None
    # Whether a backward pass has begun since the last call.
    _is_over: bool = False

    @abc.abstractmethod
    def is_training(self) -> bool:
        """Whether a call now is one of the training: whether it is differentiated."""

    def may_be_repeated(self) -> bool:
        """Whether a backward pass may make the call now again, as that of a checkpoint."""
        return False

    def is_in_backward(self) -> bool:
        """Whether a backward pass makes the call now."""
        return False

    def watch(self, *results: NativeResult) -> None:
        """See to it that `end_iteration` is called when a backward pass reaches one of the results of a call."""
        del results

    @final
    def end_iteration(self) -> None:
        """Let the next call of the training, if no backward pass makes it, begin an iteration."""
        self._is_over = True

    @final
    def may_change(self) -> bool:
        """Whether a call that no backward pass makes may have another plan than the one before it.

        Nothing shows which call a backward pass repeats, so all of one iteration that it may repeat take the same
        steps, and so do the calls between them.
        """
        if self._is_over:
            self._repeatable, self._is_over = None, False
        return self._repeatable is None

    @final
    def take(self, plan: CheckedPlan) -> None:
        """Make the plan of such a call the plan now."""
        self.plan = plan
        if self._repeatable is None and self.may_be_repeated():
            self._repeatable = plan

    @final
    def repeated(self) -> CheckedPlan:
        """The plan by which a call was made that a backward pass makes again."""
        self.end_iteration()
        if self._repeatable is not None and self.may_be_repeated():
            return self._repeatable
        # It is a new call, or was made without gradient, as in a reentrant checkpoint, and went by no plan.
        return dataclasses.replace(self.plan, steps=None)

    @abc.abstractmethod
    def remember(self, step_error: Scalar | None) -> None:
        """Keep `Report.step_error` of this iteration, without waiting for it."""

    @abc.abstractmethod
    def remembered(self) -> float | None:
        """The number that was remembered last, the largest over processes; `None` if there is none."""

    def by_steps(self, solve: Any, steps: FixedSteps, args: NativeArguments, kwargs: NativeKeywords) -> Any:
        """The call of a regularized `solve` by fixed steps, in a form that a compiler can trace."""
        del solve, steps, args, kwargs
        raise CapabilityError(
            "This adapter has no form of a call that compilers can trace; leave `fullgraph=True` out, and "
            "call the wrapped solve."
        )

    @abc.abstractmethod
    def agree(self, value: float) -> float:
        """The largest of a number over the processes that train together. Not a number if that is one of them."""
