"""The errors of fixed steps at a check of a training, and the cheapest steps within its bounds."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias, final

from lrnde_core._arrays import Array, Leaves, array_namespace
from lrnde_core._claims import NativeResult
from lrnde_core._plans._errors import RELATIVE, ErrorMeasure, Over, metric_errors, reduced_error, relative, sample_norms
from lrnde_core._plans._plan import FixedSteps

# Of a bound, that cheaper steps may use.
_SPARE = 0.5

SampleMetric: TypeAlias = Callable[[NativeResult, NativeResult], Array | Sequence[float]]
"""A user's error: takes the outputs by fixed steps and the adaptive ones, and returns one number for each sample."""


class Gradient(NamedTuple):
    """The vector-Jacobian product of the outputs of a solve, with a random cotangent.

    - `y0`: with respect to the initial state: arrays of shape `(1, batch, *state)`, without the second axis if the
      state is one sample. Empty if it is not known apart.
    - `parameters`: with respect to the parameters of the field: arrays of any shape. Empty if these are not known.
    """

    y0: Leaves
    parameters: Leaves


class Solved(NamedTuple):
    """One solve of a call that is checked, detached from any graph.

    - `result`: in the form that a `metric` takes. `states`: the outputs after the start: arrays of shape `(times,
      batch, *state)`, without the second axis if the state is one sample. `None` if the solve failed.
    - `num_evaluations`: `None` if they are hidden. `error_estimate`: as in `Report.step_error`.
    - `gradient`: where it is asked for.
    """

    result: NativeResult
    states: Leaves | None
    num_evaluations: float | None
    error_estimate: float | None = None
    gradient: Gradient | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there are no numbers to compare, as of an empty batch."""
        return any(0 in leaf.shape for leaf in self.states or ())

    def is_finite(self, *, is_batched: bool) -> bool:
        """Whether the solve succeeded, and all of its outputs and their gradient are finite."""
        if self.states is None:
            return False
        norms = sample_norms(self.states, is_batched=is_batched)
        if self.gradient is not None:
            norms += [_norm((*self.gradient.y0, *self.gradient.parameters))]
        return all(map(math.isfinite, norms))


SolveBy: TypeAlias = Callable[[FixedSteps | None], Solved]
"""Solves the call that is checked by fixed steps; adaptively for `None`."""


class Halves(NamedTuple):
    """An error of the samples that choose the steps, and of those that judge them."""

    choosing: float
    judging: float

    @property
    def worst(self) -> float:
        return max(self)


class Measured(NamedTuple):
    """Steps with their errors, and their own estimate of them.

    - `gradient_error`: `None` without a bound on it. `share`: the larger of both errors, each over its bound.
    """

    steps: FixedSteps
    error: Halves
    gradient_error: Halves | None
    error_estimate: float | None
    share: float


@final
@dataclasses.dataclass(frozen=True)
class Bounds:
    """The bounds on the errors of fixed steps, and how these are measured. Fields are as in `CheckedSteps`.

    - `measure`: of the outputs, with its scales.
    """

    error: float
    gradient_error: float | None
    over: Over
    measure: ErrorMeasure
    metric: SampleMetric | None
    is_batched: bool

    def cheapest(
        self,
        ladder: Sequence[FixedSteps],
        start: int,
        reference: Solved,
        solve: SolveBy,
        agree: Callable[[float], float],
    ) -> tuple[Measured | None, Measured | None]:
        """The cheapest steps within the bounds, if any, and the best of all that were tried.

        - `ladder`: the steps to choose from, from cheap to dear. `start`: the place of those to try first.
        - `reference`: the adaptive solve. `agree`: as in `CheckedSteps.choose`.
        """
        measured: dict[int, Measured] = {}

        def is_within(place: int, share: float = 1.0) -> bool:
            measured[place] = self._measured(ladder[place], solve(ladder[place]), reference, agree)
            return measured[place].share <= share

        # Errors fall along the ladder, so the search starts where the training is.
        found = None
        if ladder and is_within(start):
            found = start
            # With room to spare, or the training would go back and forth.
            while found > 0 and is_within(found - 1, _SPARE):
                found -= 1
        else:
            found = next((each for each in range(start + 1, len(ladder)) if is_within(each)), None)
        best = min(measured.values(), key=lambda each: each.share, default=None)
        return None if found is None else measured[found], best

    def _measured(
        self, steps: FixedSteps, solved: Solved, reference: Solved, agree: Callable[[float], float]
    ) -> Measured:
        assert reference.states is not None
        assert solved.states is not None  # fixed steps do not fail
        errors = self.measure.errors(solved.states, reference.states, is_batched=self.is_batched)
        metric = self.metric
        if metric is not None:
            errors = metric_errors(
                lambda found, native, _: metric(found, native), solved.result, reference.result, 0, len(errors)
            )
        error, gradient_error = self._halves(errors, agree), None
        share = error.worst / self.error
        if self.gradient_error is not None:
            gradient_error = self._halves(self._gradient_errors(solved, reference), agree)
            share = max(share, gradient_error.worst / self.gradient_error)
        estimate = solved.error_estimate
        return Measured(steps, error, gradient_error, None if estimate is None else agree(estimate), share)

    def _gradient_errors(self, solved: Solved, reference: Solved) -> list[float]:
        """The error of the gradient by the initial state of each sample, at least that by the parameters.

        The latter has no samples. It is the norm of the difference of all arrays, over the norm of the reference.
        """
        found, exact = solved.gradient, reference.gradient
        assert found is not None  # asked for
        assert exact is not None
        differences = tuple(one - other for one, other in zip(found.parameters, exact.parameters, strict=True))
        least = relative(_norm(differences), _norm(exact.parameters))
        of_samples = RELATIVE.errors(found.y0, exact.y0, is_batched=self.is_batched) if exact.y0 else [0.0]
        return [max(each, least) for each in of_samples]

    def _halves(self, errors: Sequence[float], agree: Callable[[float], float]) -> Halves:
        halves = errors[::2], errors[1::2] or errors
        return Halves(*(agree(reduced_error(half, self.over)) for half in halves))


def _norm(leaves: Leaves) -> float:
    """The Euclidean norm over all arrays; 0 without any."""
    rows = tuple(array_namespace(leaf).reshape(leaf, (1, -1)) for leaf in leaves)
    return math.hypot(*(sample_norms((row,), is_batched=False)[0] for row in rows))
