"""Laws 1, 3 and 4 where every accepted step is penalised: `AllSteps` and `Integral`."""

import numpy as np

import lrnde_core
from lrnde_conformance._checks._cases import (
    cost_cases,
    has_oracle,
    local_step_check,
    of_cost_case,
    of_method_case,
    unless_lean,
)
from lrnde_conformance._checks._check import check
from lrnde_conformance._checks._compare import assert_close, assert_rounded
from lrnde_conformance._checks._differences import difference_tolerance, finite_difference
from lrnde_conformance._checks._identity import assert_same
from lrnde_conformance._experiments._designs import one_step, trajectory
from lrnde_conformance._experiments._experiment import Experiment
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._experiments._trace import trace
from lrnde_conformance._method import Method
from lrnde_conformance._oracles._oracle import Oracle, StepPoint
from lrnde_conformance._oracles._schemes import SCHEMES
from lrnde_conformance._oracles._tolerances import cost_tolerance, rounded_point, rounding_of
from lrnde_core import AllSteps, Capability, Integral

_REDUCTIONS = {"mean": np.mean, "sum": np.sum, "max": np.max}
_SAMPLERS = {"all-steps": AllSteps("mean"), "integral": Integral()}
_SEED = 13
_NEEDS = (Capability.UNIFORM_TIME, Capability.FULL_GRADIENT, Capability.FLOAT64)
_ALL_STEPS = (*_NEEDS, Capability.ALL_STEPS)
_INTEGRAL = (*_NEEDS, Capability.RUNNING_COST, Capability.POINT_HEURISTICS)


def _reduction_cases(subject: Subject) -> list[str]:
    """Costs with a reduction; all reductions for the main method, unless each needs a separate program."""
    cases = cost_cases(subject)
    if not subject.supports(Capability.ALL_STEPS):
        cases = cases[:1]
    elif subject.backend.is_compiled:
        # One for each main method: what its other costs are, `penalty.oracle` has checked.
        first = {of_cost_case(subject, case)[0].name: case for case in reversed(cases)}
        cases = [first[method.name] for method in subject.main_methods if method.name in first]

    def reductions(case: str) -> list[str]:
        is_main = of_cost_case(subject, case)[0] is subject.main_method
        return list(_REDUCTIONS) if is_main and not subject.backend.is_compiled else ["mean"]

    return [f"{case}-{reduction}" for case in cases for reduction in reductions(case)]


def _integral_cases(subject: Subject) -> list[str]:
    """Methods with a quadrature rule that is known."""
    methods = (subject.main_method,) if subject.backend.is_compiled else subject.methods
    return [m.name for m in methods if _has_rule(m) and has_oracle(subject, m)]


def _has_rule(method: Method) -> bool:
    return method.control is None and not method.is_implicit and method.scheme in SCHEMES


def _sampler_cases(subject: Subject) -> list[str]:
    is_integrable = all(subject.supports(need) for need in _INTEGRAL) and _has_rule(_fixed_or_main(subject))
    return ["all-steps", "integral"] if is_integrable else ["all-steps"]


def _fixed_or_main(subject: Subject) -> Method:
    # Fixed steps stay where they are when parameters change; else a single step, whose state is the initial one.
    fixed = [m for m in subject.driver.methods if not m.is_adaptive and has_oracle(subject, m)]
    return fixed[0] if fixed else subject.main_method


def _whole(experiment: Experiment, sampler: lrnde_core.AbstractSampler) -> Experiment:
    """An experiment where each step is penalised; nothing is drawn then."""
    cost = "taylor-at-step" if sampler.is_quadrature else experiment.cost
    return experiment.but(sampler=sampler, cost=cost, gradient="full", draws=(0.0,))


@check(
    "every-step.reduction",
    law=3,
    tier="optional",
    needs=_ALL_STEPS,
    cases=unless_lean(_reduction_cases),
    hint="record each accepted step where `plan.sampler.keeps_every_step`, and reduce as `penalty.sampler` says",
)
def every_step_reduction(subject: Subject, case: str) -> None:
    """With `AllSteps` the penalty is the mean, sum or maximum over all steps of the cost that the scheme gives."""
    cost_case, _, reduction = case.rpartition("-")
    method, cost = of_cost_case(subject, cost_case)
    found = trace(subject, trajectory(subject, method, cost))
    reference = found.oracle
    assert reference is not None
    sampler = AllSteps(reduction)  # pyright: ignore[reportArgumentType]
    measured = subject.measure(_whole(found.experiment, sampler))
    reduce = _REDUCTIONS[reduction]
    assert_rounded(
        f"The penalty ({cost}) of all {len(found.points)} steps with `{method.name}`",
        measured.penalty,
        reduce([float(reference.cost(cost, point)) for point in found.points]),
        float(reduce([cost_tolerance(reference, cost, point) for point in found.points])),
        cause="a step is left out, counted twice or rejected, or the reduction is another",
        hint="check `penalty.oracle` first: the steps are the same",
    )


@check(
    "every-step.integral",
    law=3,
    tier="optional",
    needs=_INTEGRAL,
    cases=unless_lean(_integral_cases),
    hint="return `explicit_nodes(...)` from `nodes` of your local problem, and the method's tableau in `MethodFacts`",
)
def every_step_integral(subject: Subject, case: str) -> None:
    """With `Integral` the penalty is the integral along the solve by the quadrature rule of the scheme itself."""
    found = trace(subject, trajectory(subject, of_method_case(subject, case), "taylor-at-step"))
    reference = found.oracle
    assert reference is not None
    assert_rounded(
        f"The running cost with `{case}`",
        subject.measure(_whole(found.experiment, Integral())).penalty,
        sum(float(reference.running_cost(point)) for point in found.points),
        sum(_running_cost_tolerance(reference, point) for point in found.points),
        cause="the nodes are not the stages of the method, or their weights not those of its solution",
        hint="check `every-step.reduction` first: the steps are the same",
    )


def _running_cost_tolerance(reference: Oracle, point: StepPoint) -> float:
    start = rounded_point(point)
    return float(rounding_of(lambda problem: reference.of(problem).running_cost(start), reference.problem))


@check(
    "every-step.solution",
    law=1,
    tier="optional",
    needs=[Capability.FULL_GRADIENT, Capability.ALL_STEPS],
    cases=unless_lean(_sampler_cases),
    hint="add nothing to the state that the solver steps: look at its steps from outside",
)
def every_step_solution(subject: Subject, case: str) -> None:
    """The states of a solve whose every step is penalised are those of the bare call, bit for bit."""
    experiment = _whole(trajectory(subject, subject.main_method, subject.main_cost), _SAMPLERS[case])
    results = subject.solve(experiment)[0], subject.solve_bare(experiment)
    states, bare = (subject.backend.to_numpy(subject.driver.states(result)) for result in results)
    assert_same(subject, f"The solution with `{case}`", states, bare)


@check(
    "every-step.gradient",
    law=4,
    tier="optional",
    needs=_ALL_STEPS,
    cases=unless_lean(_sampler_cases),
    hint="record each step's state with its gradient, as the solver has it",
)
def every_step_gradient(subject: Subject, case: str) -> None:
    """The gradient of the penalty of all steps runs through the whole solve: it equals finite differences of it."""
    method = _fixed_or_main(subject)
    if method.is_adaptive:
        held_by = local_step_check(subject, method, subject.main_cost)
        design = one_step(subject, method, subject.main_cost, held_by=held_by)
    else:
        design = trajectory(subject, method, subject.main_cost)
    experiment = _whole(design, _SAMPLERS[case])
    measured = subject.measure(experiment)
    variables = {**experiment.problem.parameters, "y0": experiment.problem.y0}
    rng = np.random.default_rng(_SEED)
    for name in ("y0", "inner"):
        direction = {name: rng.normal(size=variables[name].shape)}
        assert_close(
            f"The gradient of the penalty of all steps ({case}) with `{method.name}` along a direction of `{name}`",
            float(np.sum(measured.gradient[name] * direction[name])),
            finite_difference(subject, experiment, direction),
            rtol=difference_tolerance(method),
            atol=1e-12,
            seed=_SEED,
            cause="the states are recorded without gradient, or t or h carry one",
            hint="check `gradient.full` first: there it is one step",
        )
