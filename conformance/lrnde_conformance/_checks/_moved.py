"""Calls with other values of one argument, and what they are compared with: the plain call with these values."""

from lrnde_conformance._checks._bounds import solve_bounds, states_bound, without_scheme
from lrnde_conformance._checks._compare import assert_rounded, time_slack
from lrnde_conformance._experiments._experiment import Experiment, Measurement
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._oracles._oracle import oracle

ARGUMENTS = ("y0", "ts", "parameters", "draws")
SCALES = (0.8, 1.2)


def moved_by(experiment: Experiment, argument: str, scale: float) -> Experiment:
    """The experiment with another value of one argument."""
    problem = experiment.problem
    if argument == "ts":
        return experiment.but(ts=tuple(scale * t for t in experiment.ts))
    if argument == "draws":
        return experiment.but(draws=tuple(scale * draw for draw in experiment.draws))
    changes = {"y0": problem.y0} if argument == "y0" else problem.parameters
    return experiment.but(problem=problem.moved(**{name: scale * value for name, value in changes.items()}))


def assert_plain(subject: Subject, experiment: Experiment, got: Measurement, how: str) -> None:
    """Raise `ConformanceFailure` unless result and gradient, as far as there is one, are those of the plain call."""
    expected = subject.measure(experiment)
    cause = "a value of another call, or of the time of tracing, is kept, or a gradient is cut"
    hint = f"compare a call that has {how} with the plain one"
    bounds = without_scheme(experiment, expected)
    if subject.backend.is_compiled:
        # Another program adds up in another order, and so takes other steps; calls that are not compiled do not.
        bounds = solve_bounds(subject, experiment, expected, with_gradient=bool(got.gradient))
    reference = oracle(experiment.problem, experiment.method, experiment.rtol, experiment.atol)
    states = states_bound(experiment, reference, expected.num_accepted or 1) + time_slack(experiment) * experiment.atol
    for what, is_given, limit in (
        ("penalty", True, bounds.penalty),
        ("states", True, states),
        ("t", True, time_slack(experiment)),
        ("num_steps", expected.num_steps is not None, 0.0),
    ):
        if is_given:
            of_call = f"`{what}` of a call that has {how}"
            assert_rounded(of_call, getattr(got, what), getattr(expected, what), limit, cause=cause, hint=hint)
    for name, value in got.gradient.items():
        of_call = f"The gradient by `{name}` of a call that has {how}"
        assert_rounded(of_call, value, expected.gradient[name], bounds.gradient, cause=cause, hint=hint)
