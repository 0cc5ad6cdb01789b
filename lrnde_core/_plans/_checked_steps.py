"""Training on fixed steps that the adaptive solver chooses and checks."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, cast, final

from lrnde_core._arrays import Array, Count, Scalar, array_namespace
from lrnde_core._checks import check_count, is_count
from lrnde_core._claims import NativeResult
from lrnde_core._errors import InputError, InputTypeError, described
from lrnde_core._plans._check import Bounds, Gradient, SampleMetric, SolveBy, Solved
from lrnde_core._plans._checked_plan import CheckedPlan
from lrnde_core._plans._errors import ErrorMeasure, Over, check_bound, check_over, check_scales_alone
from lrnde_core._plans._plan import FixedSteps
from lrnde_core._plans._report import Candidate
from lrnde_core._report import Report

# A method's estimate of its error is of lower order than the error, so it grows more slowly: like its power 3/5 for the
# 3/8 rule, where a step is off by h^5 and its estimate is of size h^3.
_LAG = 0.6
# Errors fall by a factor of 16 from one to the next, so that few of them serve a training whose dynamics grow hard.
_DEFAULT_CANDIDATES = (Candidate("midpoint", 1), *(Candidate("rk4", 2**power) for power in range(7)))

Reports: TypeAlias = Report | Sequence[Report]
"""The report of a solve; for several solves, a list."""

PlannedSolve: TypeAlias = Callable[
    [FixedSteps | None], tuple[NativeResult, Reports] | tuple[NativeResult, Reports, NativeResult]
]
"""Solves a batch by these steps, adaptively for `None`. Returns the outputs, the report and, if asked, a gradient."""


@final
@dataclasses.dataclass(frozen=True)
class CheckedSteps:
    """Train on a few fixed steps, chosen and checked by the adaptive solver.

    Between checks every iteration takes the same fixed steps, differentiated as they are. At a check the call is also
    solved adaptively, and the cheapest fixed steps within `error` of that solution are chosen anew.
    Every second sample chooses, the others judge. If no fixed steps within the cost of the adaptive solve keep the
    bound, or a check fails, the training solves adaptively until the next check.

    - `error`, `over`, `scales`: the bound on the error of the samples, as in `freeze`.
    - `metric`: your own error instead: takes the outputs by fixed steps and the adaptive ones, and returns one number
      for each sample.
    - `gradient_error`: a bound on the relative error of the gradient too, dimensionless; by default there is none. The
      gradient is the vector-Jacobian product with one random cotangent of the outputs, by the initial state of each
      sample and by all parameters of the field together; in JAX what `lrnde_jax.with_gradient` differentiates by.
      Steps must keep both bounds. Each solve of a check then has a backward pass.
    - `candidates`: the fixed steps to choose from. By default one step of the midpoint rule, and 1, 2, 4, ... 64 of
      the 3/8 rule of order 4.
    - `period`: the fewest and the most iterations from one check to the next. The time doubles whenever the steps
      stay, and starts anew when they change. A check is made at once if the steps' own estimate of their error has
      grown by what the last check left below the bound.
    - `max_plans`: the most different steps of one training, since compilers make a program for each.
    - `batched`: whether the first axis of every array of the state counts samples; else each call is one sample, which
      both chooses and judges.

    In torch the wrapped solve keeps the plan and checks by itself whenever gradients are enabled; without them it
    solves adaptively. In JAX the plan is a static argument of the training step, and the caller keeps it:

        plan = steps.init()
        for batch in batches:
            plan = steps.check(plan, lambda fixed: solve_batch(params, batch, fixed), report)
            params, report = train_step(params, batch, plan.steps)
    """

    error: float = 1e-2
    over: Over = "max"
    scales: Mapping[int, float] | tuple[tuple[int, float], ...] = ()
    metric: SampleMetric | None = None
    candidates: Sequence[Candidate] = _DEFAULT_CANDIDATES
    period: tuple[int, int] = (10, 100)
    max_plans: int = 6
    batched: bool = True
    gradient_error: float | None = None

    def __post_init__(self) -> None:
        check_bound(self.error)
        if self.gradient_error is not None:
            check_bound(self.gradient_error, "gradient_error")
        check_over(self.over)
        # Hashable, in place of what the user gave.
        scales = dict(self.scales) if isinstance(self.scales, tuple) else self.scales
        measure = ErrorMeasure.of(scales, None)
        check_scales_alone(measure, self.metric)
        object.__setattr__(self, "scales", measure.scales)
        object.__setattr__(self, "candidates", _checked_candidates(self.candidates))
        object.__setattr__(self, "period", _checked_period(self.period))
        check_count("max_plans", self.max_plans, self)

    def init(self) -> CheckedPlan:
        """The plan before the first iteration: nothing is known, so the first check is due."""
        return CheckedPlan(period=self.period[0])

    def check(
        self,
        plan: CheckedPlan,
        call: PlannedSolve,
        report: Reports | None = None,
        *,
        step_error: Scalar | float | None = None,
    ) -> CheckedPlan:
        """The plan for the next iteration, checked if that is due. Called before every iteration, outside of `jit`.

        - `call`: solves a batch by these steps, adaptively for `None`, and returns the outputs and the report of the
          wrapped solve; for several solves, a list of reports. Outputs are an array or a tuple, list or dictionary of
          arrays, such as `sol.ys[-1]`; their first axis counts samples, where that of `sol.ys` counts output times
          unless the solve is vmapped. It may be jitted, with the steps as a static argument. For `gradient_error` it
          also returns a gradient, as arrays in the same forms, of any shape (`lrnde_jax.with_gradient`); its error is
          that of all of them together.
        - `report`: of the last iteration; with it, growing errors are noticed between checks. `step_error`: its entry
          of this name, which a training that continues from a checkpoint has saved instead.
        """
        reports = [report] if isinstance(report, Report) else report
        estimate = None if step_error is None else _maximum(step_error)
        if reports is not None:
            estimate = _largest(reports, "step_error")
        if not self.is_due(plan, estimate):
            return self.next(plan)
        return self.next(self.choose_by(plan, call))

    def choose_by(self, plan: CheckedPlan, call: PlannedSolve) -> CheckedPlan:
        """Check now, whether that is due or not. Returns the plan before the next iteration; `call` as in `check`."""

        def solve(steps: FixedSteps | None) -> Solved:
            result, reports, *gradients = call(steps)
            states = tuple(leaf[None, ...] for leaf in _outputs(result))
            listed = [reports] if isinstance(reports, Report) else reports
            gradient = None if self.gradient_error is None else _gradient(gradients)
            return Solved(result, states, _largest(listed, "nfe"), _largest(listed, "step_error"), gradient)

        return self.choose(plan, solve)

    def is_due(self, plan: CheckedPlan, error_estimate: float | None) -> bool:
        """Whether a check is due before the next iteration.

        - `error_estimate`: `Report.step_error` of the last iteration, if it is known.
        """
        if plan.checked_at is None or plan.num_iterations - plan.checked_at >= plan.period:
            return True
        # False for what is not a number.
        return error_estimate is not None and not error_estimate <= self.largest_estimate(plan)

    def largest_estimate(self, plan: CheckedPlan) -> float:
        """`Report.step_error` beyond which a check is due at once."""
        if plan.steps is None or plan.error_estimate is None or plan.error is None:
            return math.inf
        errors = ((self.error, plan.error), (self.gradient_error, plan.gradient_error))
        known = [(bound, error) for bound, error in errors if bound is not None and error is not None]
        room = min(max(bound / error, 1.0) if error > 0 else math.inf for bound, error in known)
        return room**_LAG * plan.error_estimate

    def next(self, plan: CheckedPlan, count: int = 1) -> CheckedPlan:
        """The plan after `count` more iterations by its steps."""
        return dataclasses.replace(plan, num_iterations=plan.num_iterations + count)

    def choose(self, plan: CheckedPlan, solve: SolveBy, agree: Callable[[float], float] = float) -> CheckedPlan:
        """The plan that a check chooses, before the next iteration.

        - `agree`: makes one number of those of several processes, so that all choose the same steps.
        """
        counted: list[float | None] = []

        def solved(steps: FixedSteps | None) -> Solved:
            one = solve(steps)
            counted.append(one.num_evaluations)
            return one

        reference = solved(None)
        native = reference.num_evaluations
        found, best = None, None
        is_known = not reference.is_empty and reference.is_finite(is_batched=self.batched)
        if agree(0.0 if is_known else 1.0) == 0:
            ladder = self._ladder(plan, None if native is None else agree(native))
            start = ladder.index(plan.steps) if plan.steps in ladder else 0
            found, best = self._bounds.cheapest(ladder, start, reference, solved, agree)
        steps, measured = None if found is None else found.steps, found or best
        gradient = None if measured is None else measured.gradient_error
        is_kept = plan.checked_at is not None and steps == plan.steps and measured is not None
        fewest, most = self.period
        spent = None if None in counted else sum(filter(None, counted))
        before = plan.num_check_evaluations
        return dataclasses.replace(
            plan,
            steps=steps,
            error=None if measured is None else (measured.error.judging if found else measured.error.worst),
            gradient_error=None if gradient is None else (gradient.judging if found else gradient.worst),
            error_estimate=None if found is None else found.error_estimate,
            checked_at=plan.num_iterations,
            period=min(2 * plan.period, most) if is_kept else fewest,
            num_checks=plan.num_checks + 1,
            num_check_evaluations=None if before is None or spent is None else before + round(spent),
            native_evaluations=native,
            tried=plan.tried if steps is None or steps in plan.tried else (*plan.tried, steps),
        )

    @property
    def _bounds(self) -> Bounds:
        measure = ErrorMeasure(tuple(self.scales))  # pyright: ignore[reportArgumentType]
        return Bounds(self.error, self.gradient_error, self.over, measure, self.metric, self.batched)

    def _ladder(self, plan: CheckedPlan, most: float | None) -> list[FixedSteps]:
        """The steps to choose from, from cheap to dear."""
        steps = [FixedSteps.equal(each.method, each.num_steps) for each in self.candidates]
        ladder = sorted(steps, key=_cost)
        if len(plan.tried) >= self.max_plans:
            ladder = [each for each in ladder if each in plan.tried]
        return [each for each in ladder if most is None or _cost(each) <= most]


def _cost(steps: FixedSteps) -> int:
    return steps.num_evaluations(needs_last=False)


def _largest(reports: Sequence[Report], field: str) -> float | None:
    """A field of the reports, its largest where solves are vectorised, summed over solves; `None` if one lacks it."""
    values: list[Scalar | Count | None] = [getattr(report, field) for report in reports]
    if not values or any(value is None for value in values):
        return None
    return math.fsum(_maximum(value) for value in values)


def _maximum(value: Array | float) -> float:
    if isinstance(value, int | float) or not value.shape:
        return float(value)
    numbers = array_namespace(value).reshape(value, (-1,)).tolist()
    # Python's maximum forgets what is not a number.
    return math.nan if any(map(math.isnan, numbers)) else float(max(numbers))


def _outputs(result: NativeResult) -> list[Array]:
    """The arrays of a user's outputs."""
    leaves = _leaves(result)
    for leaf in leaves:
        if not getattr(leaf, "shape", None):
            raise InputTypeError(
                f"`call` returned outputs with {described(leaf)}; return an array or a tuple, list or dictionary of "
                "arrays whose first axis counts samples, such as `sol.ys[-1]`, and the report."
            )
    return leaves


def _gradient(gradients: Sequence[object]) -> Gradient:
    """The gradient that a user's call returned."""
    if not gradients:
        raise InputError(
            "`gradient_error` bounds the error of a gradient, and `call` returned none. Return it after the outputs "
            "and the report, as `lrnde_jax.with_gradient` does, or leave `gradient_error` out."
        )
    leaves = _leaves(gradients[0])
    for leaf in leaves or [None]:
        if not hasattr(leaf, "shape"):
            raise InputTypeError(
                f"`call` returned a gradient with {described(leaf)}; return an array or a tuple, list or dictionary of "
                "arrays, such as `jax.tree.leaves(gradient)`."
            )
    return Gradient((), tuple(leaves))


def _leaves(tree: NativeResult) -> list[Any]:
    """What a tree of tuples, lists and dictionaries holds."""
    if isinstance(tree, Mapping):
        tree = tuple(cast("Mapping[object, object]", tree).values())
    if isinstance(tree, tuple | list):
        return [leaf for part in cast("Sequence[object]", tree) for leaf in _leaves(part)]
    return [tree]


def _checked_period(period: object) -> tuple[int, ...]:
    ends = cast("Sequence[object]", period) if isinstance(period, tuple | list) else ()
    # JSON takes no other kind of whole number.
    counts = tuple(int(each) for each in ends if is_count(each))
    if not (len(ends) == len(counts) == 2 and counts[0] <= counts[1]):
        raise InputError(f"`period={period!r}`: needs two whole numbers of iterations, 1 or more, such as (10, 100).")
    return counts


def _checked_candidates(candidates: object) -> tuple[Candidate, ...]:
    found = cast("Sequence[object]", candidates) if isinstance(candidates, list | tuple) else ()
    if not found:
        raise InputTypeError(f"`candidates` must be a list of `Candidate`s, not {candidates!r}.")
    for candidate in found:
        if not isinstance(candidate, Candidate):
            raise InputTypeError(f"`candidates` must be a list of `Candidate`s, and holds {described(candidate)}.")
        candidate.check()
        if candidate.follows_solver:
            raise InputError(
                f"`{candidate}` follows the solver's steps, which differ from check to check; leave it out."
            )
    return cast("tuple[Candidate, ...]", tuple(found))
