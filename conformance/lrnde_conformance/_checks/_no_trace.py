"""Law 12: a penalised call leaves nothing behind that the bare call does not leave."""

from typing import Any

from lrnde_conformance._checks._check import check
from lrnde_conformance._checks._compare import assert_equal
from lrnde_conformance._experiments._designs import trajectory
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._failure import CheckSkipped, ConformanceFailure
from lrnde_core import Capability, LrndeError

_SEED = 17


@check(
    "no-trace.global-state",
    law=12,
    needs=[Capability.UNIFORM_TIME],
    hint="make random numbers from the draw alone: `lrnde_core.noise_seed(draw.bits)` seeds a generator of your own",
)
def no_trace_global_state(subject: Subject, _: str) -> None:
    """With `draw=` or a random source no global random state is read or written."""
    backend, experiment = subject.backend, trajectory(subject, subject.main_method, subject.main_cost)
    source = subject.adapter.random_argument
    for what in ("draw=", f"{source}="):
        reports: list[Any] = []
        for seed in (_SEED, _SEED + 1):
            extra = None if what == "draw=" else {source: backend.random_source(4)}
            backend.seed_global(seed)
            before = backend.global_state()
            result, report = subject.solve(experiment, extra=extra)
            if backend.global_state() != before:
                raise ConformanceFailure(
                    f"A penalised call with `{what}` advances a global random state.",
                    got="another state after the call",
                    expected="the state before the call",
                    seed=seed,
                    cause="a random number is drawn from a global generator",
                    hint="draw from the source that the user gives, and from nothing else",
                )
            reports.append(subject.read(subject.driver.states(result), report, {}))
        first, second = reports
        assert_equal(
            f"The penalty with `{what}` after another global seed",
            second.penalty,
            first.penalty,
            seed=_SEED,
            cause="something is sampled with a global generator in place of the draw or the source",
            hint="seed whatever you need with `lrnde_core.noise_seed(draw.bits)`",
        )


@check(
    "no-trace.source",
    law=12,
    needs=[Capability.UNIFORM_TIME],
    hint="`draw(source, num_samples)` draws from `source` and from nothing else",
)
def no_trace_source(subject: Subject, _: str) -> None:
    """Equal random sources give equal samples, others other ones; without one there is a single documented draw."""
    backend, experiment = subject.backend, trajectory(subject, subject.main_method, subject.main_cost)
    source = subject.adapter.random_argument

    def sample(seed: int) -> float:
        uniforms = subject.adapter.draw(backend.random_source(seed), 1)
        return float(backend.to_numpy(uniforms).reshape(-1)[0])

    del source
    uniforms = [sample(seed) for seed in range(8)]
    if uniforms != [sample(seed) for seed in range(8)] or len(set(uniforms)) < 7:
        raise ConformanceFailure(
            "`draw` does not depend on the random source, or on more than it.",
            got=f"{uniforms}, then {[sample(seed) for seed in range(8)]}",
            expected="the same numbers twice, different from each other",
            cause="the source is not used, or a global generator is",
            hint="return `num_samples` uniforms from the source",
        )
    if not all(0 <= uniform < 1 for uniform in uniforms):
        raise ConformanceFailure("`draw` leaves [0, 1).", got=uniforms, expected="uniforms in [0, 1)")
    backend.seed_global(_SEED)
    documented = backend.documented_draw()
    expected_state = backend.global_state()
    backend.seed_global(_SEED)
    try:
        _, report = subject.solve(experiment, extra={})
    except LrndeError as error:
        if documented is None:
            return
        raise ConformanceFailure(
            "Without a random source a call is refused.", got=error, expected="one draw from the global generator"
        ) from error
    if documented is None:
        raise ConformanceFailure(
            "Without a random source a penalised call runs, and there is no default one in this library.",
            got=f"a report with penalty {report.penalty}",
            expected=f"`InputTypeError` that names `{subject.adapter.random_argument}=`, `draw=` and `penalize=False`",
            cause="a global generator is used, or always the same number",
            hint="raise in `draw` where the source is None",
        )
    if backend.global_state() != expected_state:
        raise ConformanceFailure(
            "Without a random source a call draws something else than one `rand(num_samples)`.",
            got="another state of the global generator",
            expected="the state after exactly one draw of `num_samples` uniforms",
            seed=_SEED,
            cause="several draws, or a draw of another shape: recomputation under a checkpoint would sample elsewhere",
            hint="use `lrnde_torch.draw_uniforms`",
        )


@check(
    "no-trace.field-state",
    law=12,
    needs=[Capability.UNIFORM_TIME],
    hint="give the local problem the user's own field as `user_field`",
)
def no_trace_field_state(subject: Subject, _: str) -> None:
    """A field with buffers, attributes and a random generator leaves them all as the bare call does."""
    experiment = trajectory(subject, subject.main_method, subject.main_cost)
    if subject.main_method.is_adaptive:
        # A field with randomness is never accurate enough for a small tolerance.
        experiment = experiment.but(rtol=1.0, atol=1.0)
    left: list[Any] = []
    for is_bare in (True, False):
        field = subject.backend.field_with_state(experiment.problem.formula)
        if field is None:
            msg = (
                f"fields of {subject.backend.name} are pure functions: they have no buffers and no hidden random state"
            )
            raise CheckSkipped(msg)
        subject.backend.seed_global(_SEED)
        solve = subject.solve_bare if is_bare else subject.solve
        solve(experiment, formula=field.formula)
        left.append((subject.backend.global_state(), field.buffers()))
    (bare_random, bare_buffers), (random, buffers) = left
    for what, got, expected in (
        ("buffers and attributes", buffers, bare_buffers),
        ("random state", random, bare_random),
    ):
        if got != expected:
            raise ConformanceFailure(
                f"After a penalised call the field's {what} differ from those after the bare call.",
                got="other values" if what == "random state" else got,
                expected="the values after the bare call" if what == "random state" else expected,
                seed=_SEED,
                cause="the local step trains running statistics, or draws the numbers of a dropout",
                hint="give the local problem the user's own field as `user_field`; where its class has none, evaluate "
                "the local step in `lrnde_torch.no_side_effects(field, device)`",
            )
