"""Measurements of what a solve costs, each by solving again with one thing changed."""

import contextlib
import itertools
import math
import statistics
from collections.abc import Iterator, Sequence

from lrnde_core._arrays import Tolerance, array_namespace, root_mean_square, widest
from lrnde_core._call import CallChange, RecordingPlan
from lrnde_core._capabilities import Capability, refuse
from lrnde_core._diagnosis._diagnosis import Finding, FindingKind
from lrnde_core._diagnosis._examined import Examined, NotMeasuredError, mean_cost, mean_count, solving
from lrnde_core._errors import CapabilityError
from lrnde_core._heuristics import ErrorEstimate
from lrnde_core._penalty import LocalPenalty
from lrnde_core._plans._checked_steps import CheckedSteps
from lrnde_core._plans._contract import mean_known
from lrnde_core._plans._plan import FixedSteps, Plan
from lrnde_core._report import Report, listed_reports
from lrnde_core._resolution import least_tolerance
from lrnde_core._samplers import UniformStep
from lrnde_core._solver import Solver

# Of the cost of a solve: what a change must save to be worth a finding.
_NOTABLE = 0.1
# Of all attempted steps.
_MANY_REJECTED = 0.2
# A step of this share of the median no longer belongs to the warm-up.
_WARM = 0.5
_LOOSER = (10, 100)
# Solved alone, a sample differs from itself in a batch by the tolerance, at most; beyond this it is another problem.
_SAME = 0.1


def warm_up(examined: Sequence[Examined]) -> Iterator[Finding]:
    """What the first step saves that is as large as the first one to reach half of the median."""
    grids = [each.freezer.step_ends(each.freezer.copied(each.call)) for each in examined]
    if not all(grids):
        raise NotMeasuredError("the library does not show its steps, or samples have their own.")
    sizes = [
        [each.form.duration * (end - start) for start, end in itertools.pairwise((0.0, *grid))]
        for each, grid in zip(examined, grids, strict=True)
    ]
    early = [next(i for i, size in enumerate(own) if size >= _WARM * statistics.median(own)) for own in sizes]
    if not any(early):
        return
    first_step = min(own[count] for own, count in zip(sizes, early, strict=True) if count)
    changed = mean_cost(each.changed(CallChange(first_step=first_step)) for each in examined)
    own_cost, unit = mean_cost(each.own for each in examined), examined[0].unit
    num_early, num_steps = statistics.fmean(early), statistics.fmean(map(len, sizes))
    if own_cost - changed < _NOTABLE * own_cost:
        return
    numbers = {"num_early": num_early, "num_accepted": num_steps, "first_step": first_step, "cost": changed}
    yield Finding(
        FindingKind.WARM_UP,
        numbers,
        f"{num_early:.3g} of {num_steps:.3g} accepted steps come before the step size first reaches half of its "
        f"median. With a first step of {first_step:.3g} a solve takes {changed:.4g} {unit} instead of "
        f"{own_cost:.4g}.",
        "Give the solver that first step (`dt0`, `first_step`).",
    )


def rejected_steps(examined: Sequence[Examined]) -> Iterator[Finding]:
    """The share of attempts that are rejected."""
    num_accepted = mean_known(each.own.num_accepted for each in examined)
    num_rejected = mean_known(each.own.num_rejected for each in examined)
    if num_accepted is None or num_rejected is None:
        raise NotMeasuredError("the library does not show its steps.")
    num_steps = num_accepted + num_rejected
    if num_rejected < _MANY_REJECTED * num_steps:
        return
    yield Finding(
        FindingKind.REJECTED_STEPS,
        {"num_rejected": num_rejected, "num_steps": num_steps},
        f"{num_rejected:.3g} of {num_steps:.3g} attempted steps are rejected, and cost what accepted ones do.",
        "Name jumps of the field to the solver (`jump_t`, `jump_ts`), or let the step size change less at a time.",
    )


def costly_sample(examined: Sequence[Examined]) -> Iterator[Finding]:
    """What the most expensive call saves without the sample to which the more expensive halves lead."""
    place = max(range(len(examined)), key=lambda index: examined[index].own.cost)
    each = examined[place]
    everything = tuple(range(each.num_samples))
    if len(everything) == 1:
        return

    def cost(samples: tuple[int, ...]) -> float:
        solved = each.changed(CallChange(samples=samples))
        if each.error(solved.states, samples) > _SAME:
            raise NotMeasuredError(
                "a part of the batch, solved alone, ends elsewhere than in the whole batch; either the field knows its "
                "batch, or the tolerance is too loose to tell."
            )
        return solved.cost

    group: tuple[int, ...] = everything
    alone = each.own.cost
    while len(group) > 1:
        middle = len(group) // 2
        alone, group = max((cost(half), half) for half in (group[:middle], group[middle:]))
    sample = next(iter(group))
    rest = cost(tuple(index for index in everything if index != sample))
    if each.own.cost - rest < _NOTABLE * each.own.cost:
        return
    whose = f"sample {sample}" if len(examined) == 1 else f"sample {sample} of call {place}"
    yield Finding(
        FindingKind.COSTLY_SAMPLE,
        {"call": place, "sample": sample, "alone": alone, "without": rest, "cost": each.own.cost},
        f"{whose} takes {alone:.4g} {each.unit} alone, and the batch {rest:.4g} without it "
        f"instead of {each.own.cost:.4g}.",
        "Solve such inputs apart, or let each sample take its own steps (`jax.vmap`, torchode).",
    )


def rounding(examined: Sequence[Examined], solver: Solver) -> Iterator[Finding]:
    """Whether the tolerance of the first call is below the rounding of its states, and the cost at that rounding."""
    states = [each.own.states for each in examined]
    size = max(float(root_mean_square(leaves)) for leaves in states)
    dtype = widest(states[0]).dtype
    least = least_tolerance(float(array_namespace(states[0][0]).finfo(dtype).eps))
    rtol, atol = _tolerances(examined[0], solver)
    tolerance = rtol + (atol / size if size > 0 else math.inf)
    if tolerance >= least:
        return
    numbers = {"tolerance": tolerance, "least": least}
    measured = (
        f"rtol and atol are {tolerance:.2g} of the size of the states, where {str(dtype).removeprefix('torch.')} "
        f"resolves {least:.2g}."
    )
    # That the adapter cannot change the tolerance says nothing against the finding.
    with contextlib.suppress(CapabilityError):
        numbers["cost"] = mean_cost(each.changed(CallChange(tolerance_factor=least / tolerance)) for each in examined)
        own_cost, unit = mean_cost(each.own for each in examined), examined[0].unit
        measured += f" At that tolerance a solve takes {numbers['cost']:.4g} {unit} instead of {own_cost:.4g}."
    advice = "Loosen the tolerance, or solve in a wider dtype."
    yield Finding(FindingKind.ROUNDING, numbers, measured, advice)


def _tolerances(each: Examined, solver: Solver) -> tuple[float, float]:
    """rtol and atol of a call; of several, the largest."""
    facts = each.call.facts
    if not facts.is_adaptive:
        raise NotMeasuredError("fixed steps have no tolerance.")
    penalty = LocalPenalty(ErrorEstimate(), UniformStep(), facts)
    needs = {*penalty.heuristic.needs, *penalty.sampler.needs, Capability.LOCAL_GRADIENT}
    refuse(facts.name, needs, facts.reason_against)
    plan = RecordingPlan(penalty, solver.adapter.check_draw([0.5], 1), None, keeps_gradient=False)
    recording = each.freezer.copied(each.call).run(plan).recording
    assert recording is not None  # a plan was given
    return _largest(recording.problem.rtol), _largest(recording.problem.atol)


def _largest(tolerance: Tolerance | None) -> float:
    assert tolerance is not None  # the steps are adaptive
    return float(tolerance) if isinstance(tolerance, int | float) else float(array_namespace(tolerance).max(tolerance))


def looser_tolerance(examined: Sequence[Examined]) -> Iterator[Finding]:
    """What looser tolerances save, and how far their solutions are off."""
    own_cost, unit = mean_cost(each.own for each in examined), examined[0].unit
    numbers: dict[str, float] = {}
    told: list[str] = []
    for factor in _LOOSER:
        solves = [each.changed(CallChange(tolerance_factor=factor)) for each in examined]
        cost = mean_cost(solves)
        error = max(each.error(solved.states) for each, solved in zip(examined, solves, strict=True))
        numbers |= {f"cost_{factor}": cost, f"error_{factor}": error}
        told.append(f"{cost:.4g} with {factor} times rtol and atol (off by at most {error:.2g} of a sample's size)")
    if own_cost - min(numbers[f"cost_{factor}"] for factor in _LOOSER) < _NOTABLE * own_cost:
        return
    yield Finding(
        FindingKind.TOLERANCE,
        numbers,
        f"a solve takes {own_cost:.4g} {unit}, but {' and '.join(told)}.",
        "Train at the loosest tolerance whose error your task does not notice.",
    )


def fixed_steps(examined: Sequence[Examined], error: float) -> Iterator[Finding]:
    """The cheapest fixed steps within `error` on every call."""
    own_cost, unit = mean_cost(each.own for each in examined), examined[0].unit
    if unit != "evaluations":
        raise NotMeasuredError("the library hides its evaluations, so there is nothing to compare with.")

    def largest_error(steps: FixedSteps) -> float:
        return max(_error_of_steps(each, steps) for each in examined)

    candidates = [FixedSteps.equal(each.method, each.num_steps) for each in CheckedSteps().candidates]
    for steps in sorted(candidates, key=lambda each: each.num_evaluations(needs_last=False)):
        cost = steps.num_evaluations(needs_last=any(each.form.has_outputs_inside for each in examined))
        if own_cost - cost < _NOTABLE * own_cost:
            return
        found = largest_error(steps)
        if found <= error:
            yield Finding(
                FindingKind.FIXED_STEPS,
                {"cost": cost, "error": found},
                f"{steps} of equal size take {cost} {unit} instead of {own_cost:.4g}, and no sample is off by more "
                f"than {found:.2g} of its size.",
                "Train on them (`lrnde.CheckedSteps`), and predict by them (`lrnde.freeze`, which also tries others).",
            )
            return


def _error_of_steps(each: Examined, steps: FixedSteps) -> float:
    plan = Plan(steps, each.form.shapes, each.is_batched, each.form.has_outputs_inside)
    copy = each.freezer.copied(each.call)
    with solving():
        result = each.freezer.run(copy, plan).result
    return each.error(each.freezer.states(copy, result))


def backward_pass(report: Report | Sequence[Report]) -> Iterator[Finding]:
    """The evaluations of the backward pass against those of the forward one, as `report` counts them."""
    reports = listed_reports("diagnose", report)
    counted = [(each.nfe, each.nfe_backward) for each in reports]
    if any(None in pair for pair in counted):
        raise NotMeasuredError(
            "`report` does not count it; it differentiates the forward solve, or the library hides it."
        )
    forward = math.fsum(mean_count(nfe) or 0.0 for nfe, _ in counted)
    backward = math.fsum(float(nfe or 0) for _, nfe in counted)
    if backward == 0:
        raise NotMeasuredError("`report` counts no evaluation of it; call `backward()` first.")
    if backward < forward:
        return
    yield Finding(
        FindingKind.BACKWARD_PASS,
        {"nfe": forward, "nfe_backward": backward},
        f"it takes {backward:.4g} evaluations, and the forward pass {forward:.4g}.",
        "Differentiate through the solve if its memory suffices, loosen the tolerances of the adjoint, or train on a "
        "plan (`lrnde.CheckedSteps`).",
    )
