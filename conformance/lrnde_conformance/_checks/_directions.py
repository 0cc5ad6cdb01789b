"""Law 13: backward in time, states of several arrays, both dtypes, several output times."""

from lrnde_conformance._checks._bounds import SolveBounds, solve_bounds, states_bound, without_scheme
from lrnde_conformance._checks._cases import costs, has_oracle, unless_lean
from lrnde_conformance._checks._check import check
from lrnde_conformance._checks._compare import assert_rounded
from lrnde_conformance._experiments._designs import one_step, trajectory
from lrnde_conformance._experiments._experiment import Experiment
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._experiments._trace import trace
from lrnde_conformance._failure import ConformanceFailure
from lrnde_conformance._oracles._oracle import Oracle, StepPoint, oracle
from lrnde_conformance._oracles._tolerances import cost_gradient_tolerance, cost_tolerance
from lrnde_core import Capability

_NEEDS = (Capability.UNIFORM_TIME, Capability.FLOAT64)


def _main_cases(subject: Subject) -> list[str]:
    return [method.name for method in subject.main_methods if has_oracle(subject, method)] or [""]


@check(
    "shape.backward",
    law=13,
    needs=[*_NEEDS, Capability.REVERSE_TIME],
    cases=_main_cases,
    hint="`Record`s hold the user's time and a signed h; `AcceptedStep`s hold lengths without sign",
)
def shape_backward(subject: Subject, case: str) -> None:
    """Backward in time, every step's penalty and gradient are those of the published scheme with negative h."""
    method = next((m for m in subject.driver.methods if m.name == case), subject.main_method)
    forward = trajectory(subject, method, subject.main_cost)
    _assert_as_published(subject, forward.but(ts=(1.0, 0.5, 0.0)), "backward in time")


@check(
    "shape.output-times",
    law=13,
    cases=unless_lean(),
    needs=_NEEDS,
    hint="record the solver's own steps rather than its output times",
)
def shape_output_times(subject: Subject, _: str) -> None:
    """With several output times the steps still tile the interval, and the penalty is that of the solver's steps."""
    # Where programs are compiled, one of the others serves three times.
    ts = (0.0, 0.93, 1.0) if subject.backend.is_compiled else (0.0, 0.21, 0.5, 0.93, 1.0)
    experiment = trajectory(subject, subject.main_method, subject.main_cost).but(ts=ts)
    found = trace(subject, experiment, with_gradient=False)
    states = found.measurements[0].states
    if states.shape[0] != len(ts):
        raise ConformanceFailure("The solution has other output times.", got=states.shape[0], expected=len(ts))
    if found.oracle is None:
        return
    for point, measured in zip(found.points, found.measurements, strict=True):
        weight = found.duration / abs(point.h)
        assert_rounded(
            f"The penalty of the step from t={point.t:.6g} with {len(ts)} output times",
            measured.penalty,
            weight * float(found.oracle.cost(experiment.cost, point)),
            weight * cost_tolerance(found.oracle, experiment.cost, point),
            cause="an output time is taken for a step, or the state at an output time for that of a step",
            hint="record where the solver steps",
        )


@check(
    "shape.tree",
    law=13,
    tier="optional",
    needs=[*_NEEDS, Capability.TREE_STATE],
    cases=unless_lean(
        lambda subject: [name for name in ("taylor-at-step", "error") if name in costs(subject, subject.main_method)]
    ),
    hint="flatten the state at the edge, and give the field the tree that it expects",
)
def shape_tree(subject: Subject, case: str) -> None:
    """A state of several arrays has the penalty of the same state in one, in the solver's norm of several arrays."""
    whole = one_step(subject, subject.main_method, case)
    one, several = subject.measure(whole), subject.measure(whole.but(is_split=True))
    reference = oracle(whole.problem, whole.method, whole.rtol, whole.atol)
    bounds = solve_bounds(subject, whole, one, with_gradient=True)
    assert_rounded(
        "The solution of a state of several arrays",
        several.states,
        one.states,
        states_bound(whole, reference, 1),
        cause="leaves are mixed up",
        hint="flatten and unflatten in one order",
    )
    candidates = [one.penalty]
    if case == "error":
        # A solver may take the largest norm of the arrays.
        candidates.append(max(_column_error(whole, reference, column) for column in range(2)))
    nearest = min(candidates, key=lambda value: abs(value - several.penalty))
    assert_rounded(
        f"The penalty ({case}) of a state of several arrays",
        several.penalty,
        nearest,
        # In the mean over the whole state the error of a column counts half.
        2 * bounds.penalty,
        cause="the norm of several arrays, or the order of leaves",
        hint="use the solver's own norm: over all elements, or the largest of the arrays' own",
    )
    if case != "error":
        for name, expected in one.gradient.items():
            assert_rounded(
                f"The gradient with respect to `{name}` of a state of several arrays",
                several.gradient[name],
                expected,
                bounds.gradient,
                cause="leaves are detached, or mixed up",
                hint="flatten and unflatten in one order",
            )


@check(
    "shape.float32",
    law=13,
    needs=[Capability.UNIFORM_TIME, Capability.FLOAT32],
    cases=lambda subject: [name for name in ("error", "taylor-at-step") if name in costs(subject, subject.main_method)][
        : 1 if subject.is_lean else 2
    ],
    hint="convert times and tolerances to the state's dtype before they meet it",
)
def shape_float32(subject: Subject, case: str) -> None:
    """With float32 states penalty and gradient are float32, and near those of float64."""
    # A step so long that its error stands out of the rounding of float32.
    wide = one_step(subject, subject.main_method, case, h=2.0)
    narrow = wide.but(dtype="float32")
    found = subject.measure(narrow)
    if found.penalty_dtype != "float32":
        raise ConformanceFailure(
            "The penalty of a float32 state has another dtype.",
            got=found.penalty_dtype,
            expected="float32",
            cause="a float64 time, step size or tolerance promotes the local step",
            hint="convert times and tolerances to the state's dtype",
        )
    if not subject.supports(Capability.FLOAT64) or subject.dtype == "float32":
        return
    precise = subject.measure(wide)
    reference = oracle(narrow.problem, narrow.method, narrow.rtol, narrow.atol)
    bounds = without_scheme(narrow, precise)
    if reference is not None:
        point = StepPoint(narrow.ts[0], narrow.first_step, narrow.problem.y0)
        tolerances = (of(reference, case, point, dtype="float32") for of in (cost_tolerance, cost_gradient_tolerance))
        bounds = SolveBounds(*tolerances)
    hint = "see whether the steps are the same: print t and h of both"
    cause = "another step is taken in float32, or a difference of large numbers"
    what = "The penalty in float32"
    assert_rounded(what, found.penalty, precise.penalty, bounds.penalty, cause=cause, hint=hint)
    for name, expected in precise.gradient.items():
        what = f"The gradient with respect to `{name}` in float32"
        assert_rounded(what, found.gradient[name], expected, bounds.gradient, cause=cause, hint=hint)


def _assert_as_published(subject: Subject, experiment: Experiment, how: str) -> None:
    found = trace(subject, experiment)
    if found.oracle is None:
        return
    for point, measured in zip(found.points, found.measurements, strict=True):
        weight = found.duration / abs(point.h)
        assert_rounded(
            f"The penalty {how} of the step from t={point.t:.6g} of size h={point.h:.6g}",
            measured.penalty,
            weight * float(found.oracle.cost(experiment.cost, point)),
            weight * cost_tolerance(found.oracle, experiment.cost, point),
            cause="h without its sign, a weight with one, or a time of the solver rather than the user's",
            hint="`Record.t` is the user's time and `Record.h` negative here; costs use abs(h)",
        )
    place = len(found.points) // 2
    expected = found.oracle.gradient(experiment.cost, found.points[place])
    weight = found.duration / abs(found.points[place].h)
    limit = weight * cost_gradient_tolerance(found.oracle, experiment.cost, found.points[place])
    for name, value in expected.items():
        assert_rounded(
            f"The gradient with respect to `{name}` {how}",
            found.measurements[place].gradient[name],
            weight * value,
            limit,
            cause="the sign of h",
            hint="`Record.h` is negative here",
        )


def _column_error(whole: Experiment, reference: Oracle | None, column: int) -> float:
    """The cost of the error with the norm of one column alone."""
    if reference is None:
        return float("inf")
    h = whole.ts[-1] - whole.ts[0]
    return float(reference.error_ratio(StepPoint(whole.ts[0], h, whole.problem.y0), column=column)) * abs(h)
