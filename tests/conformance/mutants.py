"""Adapters with one fault each, and for each the check that is there to catch it."""

import functools
import math
import random

import numpy as np

from lrnde_conformance._backends import _dual as _namespace
from lrnde_conformance._backends._dual import plain
from lrnde_core import Capabilities, Capability, Draw
from tests.conformance.declaring import self_starting, though_it_is_given, without_first_step_argument
from tests.conformance.faults import (
    ACTIVE,
    NO_ERROR_FLOOR,
    UNFINISHED,
    EqualWeights,
    FreshFirstStage,
    Scaled,
    WithoutCopies,
    WithoutDirections,
    backward_as_forward,
    by_adjoint,
    declared,
    detached,
    elsewhere,
    end_call,
    ended_otherwise,
    error_times,
    evaluate_once_more,
    finish_call,
    first_sample_alone,
    fresh_path,
    gradient_lost_by_adjoint,
    keep_where,
    last_bit,
    leaking,
    of_a_narrow_tree,
    of_a_tree,
    one_step_late,
    onto_the_jump,
    poisoned_by_members_at_rest,
    remember_every_step,
    replaced,
    row_by_row,
    start_slowly,
    state_of_the_end,
    supporting,
    unmasked,
    weighted_again,
    weighted_by_clipped_sizes,
    widened,
    with_global_noise,
    without_event_clipping,
    without_first_step,
)
from tests.conformance.freezing_faults import (
    at_its_own_times,
    fallback_for_all,
    flagging,
    from_the_end,
    frozen_by_euler,
    frozen_field,
    frozen_result,
    is_large,
    is_nan,
    later,
    overwriting,
    remembering,
    twice,
    twice_the_steps,
    unsolved,
    without_a_look,
    without_gradient,
)
from tests.conformance.mutant_adapter import Faults, Mutant

MUTANTS: tuple[Mutant, ...] = (
    Mutant("random-source-unnamed", "interface.contract", Faults(random_argument=None)),
    Mutant(
        "capability-undeclared",
        "interface.capabilities",
        Faults(capabilities=lambda true: Capabilities(true.supported - {Capability.FLOAT32}, true.unsupported)),
    ),
    Mutant("method-missing", "interface.driver", Faults(methods=lambda all_: tuple(m for m in all_ if m.is_adaptive))),
    Mutant("jumps-of-an-unknown-method", "interface.driver", Faults(declares={"avoids_jumps": ("dopri",)})),
    Mutant("solver-unclaimed", "interface.claim", Faults(is_claimed=False), "dopri5"),
    Mutant(
        "first-step-denied",
        "interface.declarations",
        Faults(declares={"takes_first_step": False}, call=though_it_is_given),
        "takes_first_step",
    ),
    Mutant(
        "first-step-left-to-the-default",
        "interface.declarations",
        Faults(declares={"takes_first_step": False}, call=without_first_step_argument),
        "takes_first_step",
    ),
    Mutant(
        "first-step-not-passed-on",
        "interface.declarations",
        Faults(solver=self_starting, call=without_first_step_argument),
        "takes_first_step",
    ),
    Mutant(
        "tolerances-of-numpy-traced",
        "interface.declarations",
        Faults(declares={"traces_tolerances": False}),
        "traces_tolerances",
    ),
    Mutant("adapter-with-identity", "interface.value", Faults(is_equal=False)),
    Mutant("sample-not-stacked", "interface.report", Faults(sample=replaced(t=lambda t: t[0])), "dopri5"),
    Mutant("solution-altered-in-the-last-bit", "identity.solution", Faults(result=last_bit), "dopri5"),
    Mutant(
        "task-gradient-lost",
        "identity.gradient",
        Faults(result=lambda states: [plain(state) for state in states]),
        "dopri5",
    ),
    Mutant(
        "task-gradient-lost-under-an-adjoint",
        "identity.adjoint",
        Faults(adjoints=("one", "other"), call=gradient_lost_by_adjoint),
        "other",
    ),
    Mutant("field-writes-into-the-recorded-state", "identity.written-state", Faults(problem=WithoutCopies), "rk4"),
    Mutant("silence-evaluates", "silence.penalize-false", Faults(silent=evaluate_once_more), "dopri5"),
    Mutant("silence-penalises", "silence.penalize-false", Faults(zero=lambda zero: zero + 1.0), "dopri5"),
    Mutant("estimate-unscaled", "penalty.oracle", Faults(problem=replaced(rtol=0.0, atol=1.0)), "dopri5-error"),
    Mutant("h-dropped", "penalty.oracle", Faults(problem=error_times(lambda h: 1 / abs(h))), "dopri5-error"),
    Mutant("order-wrong", "penalty.oracle", Faults(facts=replaced(error_order=lambda p: p + 1)), "bosh3-predicted"),
    Mutant(
        "path-resampled",
        "penalty.oracle",
        Faults(problem=replaced(path=lambda path: path and (lambda t: path(t + 0.1)))),
        "euler_heun-error",
    ),
    Mutant(
        "stability-interval-missing",
        "penalty.oracle",
        Faults(facts=replaced(stability_interval=1.0)),
        "dopri5-stiffness",
    ),
    Mutant(
        "derivative-halved",
        "penalty.oracle",
        Faults(problem=replaced(field=lambda f: lambda t, y: 0.5 * f(t, y))),
        "rk4-taylor",
    ),
    Mutant(
        "control-resampled",
        "penalty.oracle",
        Faults(problem=replaced(path=lambda path: path and (lambda t: path(t + 0.1)))),
        "controlled-error",
    ),
    Mutant(
        "noise-columns-reversed",
        "penalty.oracle",
        Faults(problem=replaced(diffusion=lambda g: g and (lambda t, y: g(t, y)[..., ::-1]))),
        "general-error",
    ),
    Mutant("jump-evaluated", "penalty.jump", Faults(record=replaced(t=onto_the_jump)), "dopri5-error"),
    Mutant(
        "restart-not-at-the-end", "penalty.restarted", Faults(record=replaced(remaining=lambda r: 1e-3 * r)), "dopri5"
    ),
    Mutant("restart-with-a-fresh-first-stage", "penalty.restarted", Faults(problem=FreshFirstStage), "bosh3"),
    Mutant("fresh-increment-of-the-path", "noise.draw", Faults(record=replaced(carry=None)), "euler_heun-fresh"),
    Mutant(
        "fresh-increment-of-a-global-generator",
        "noise.draw",
        Faults(record=fresh_path(lambda path: Scaled(path, np.random.normal()))),
        "general-fresh",
    ),
    Mutant(
        "fresh-increment-too-large",
        "noise.law",
        Faults(record=fresh_path(lambda path: Scaled(path, math.sqrt(2)))),
        "euler_heun-fresh",
    ),
    Mutant("bridge-that-is-none", "noise.draw", Faults(bridges_fixed_steps=True), "euler_maruyama-bridge"),
    Mutant("bridge-along-the-path", "noise.law", Faults(bridges_fixed_steps=True), "euler_maruyama-bridge"),
    Mutant("first-sample-alone-if-batched", "penalty.batched", Faults(batched_value=first_sample_alone), "error"),
    Mutant("sum-in-place-of-the-mean", "penalty.mean", Faults(value=lambda value, _, __, draws: value * len(draws))),
    Mutant("probes-left-aside", "penalty.probes", Faults(probes=lambda probes: tuple(0 * each + 1 for each in probes))),
    Mutant("weighted-again", "penalty.paper-weight", Faults(value=weighted_again)),
    Mutant("gradient-detached", "gradient.finite-differences", Faults(value=detached), "dopri5-error"),
    Mutant(
        "gradient-halved",
        "gradient.finite-differences",
        Faults(value=lambda v, *_: 0.5 * v + 0.5 * detached(v)),
        "bosh3-taylor",
    ),
    Mutant(
        "gradient-of-the-whole-solve", "gradient.local-step", Faults(plan=replaced(keeps_gradient=True)), "dopri5-error"
    ),
    Mutant("gradient-leaked-to-y0", "gradient.not-to-y0", Faults(record=leaking)),
    Mutant("gradient-never-full", "gradient.full", Faults(plan=replaced(keeps_gradient=False))),
    Mutant(
        "gradient-lost-under-an-adjoint",
        "adjoint.local-gradient",
        Faults(adjoints=("one", "other"), call=by_adjoint),
        "other",
    ),
    Mutant(
        "error-off-by-a-millionth", "agreement.vectors", Faults(problem=error_times(lambda _: 1 + 1e-6)), "dopri5-error"
    ),
    Mutant(
        "accepted-steps-off-by-one",
        "time-sampling.tiling",
        Faults(counts=replaced(num_accepted=lambda n: n + 1)),
        "dopri5",
    ),
    Mutant(
        "last-step-not-drawn",
        "time-sampling.tiling",
        Faults(plan=keep_where(lambda s, d, step: s.keep(d, step) and step.elapsed + step.size < 1)),
        "dopri5",
    ),
    Mutant("end-time-sampled", "time-sampling.weight", Faults(plan=keep_where(lambda *_: True)), "dopri5"),
    Mutant(
        "weight-wrong",
        "time-sampling.weight",
        Faults(
            record=lambda record, _: record._replace(drawn=record.drawn._replace(measure=0.5 * record.drawn.measure))
        ),
        "bosh3",
    ),
    Mutant(
        "cost-depends-on-the-draw",
        "time-sampling.average",
        Faults(value=lambda v, _, __, draws: v * (1 + draws[0].uniform)),
    ),
    Mutant(
        "bits-wrong",
        "step-sampling.index",
        Faults(check_draw=lambda draw, n: [Draw(float(u), math.floor(float(u) * 2**23)) for u in np.ravel(draw)[:n]]),
    ),
    Mutant("first-step-always", "step-sampling.uniform", Faults(plan=keep_where(lambda s, d, step: step.index == 1))),
    Mutant("place-of-another-hash", "step-sampling.place", Faults(value=elsewhere), "dopri5"),
    Mutant("first-step-left-out", "every-step.reduction", Faults(after_run=without_first_step), "dopri5-predicted-sum"),
    Mutant(
        "sum-in-place-of-the-mean-of-all-steps",
        "every-step.reduction",
        Faults(value=lambda value, _, recording, __: value * len(recording.records)),
        "rk4-taylor-at-step-mean",
    ),
    Mutant("stages-weighted-alike", "every-step.integral", Faults(problem=EqualWeights), "bosh3"),
    Mutant("running-cost-in-step-control", "every-step.solution", Faults(result=last_bit), "integral"),
    Mutant(
        "all-steps-without-gradient", "every-step.gradient", Faults(plan=replaced(keeps_gradient=False)), "all-steps"
    ),
    Mutant("event-ends-in-another-state", "event.solution", Faults(result=ended_otherwise)),
    Mutant("event-step-not-clipped", "event.sample", Faults(record=without_event_clipping)),
    Mutant("event-weight-of-clipped-sizes", "event.sample", Faults(record=weighted_by_clipped_sizes)),
    Mutant("event-step-from-another-state", "event.penalty", Faults(record=state_of_the_end)),
    Mutant("event-evaluations-counted", "event.counts", Faults(after_run=one_step_late)),
    Mutant("rounding-floor-missing", "zero-error.constant", Faults(problem=NO_ERROR_FLOOR), "dopri5-float32"),
    Mutant(
        "estimates-of-rounding-not-told",
        "zero-error.constant",
        Faults(sample=replaced(error_ratio=lambda ratio: None if ratio is None else ratio + 1.0)),
        "dopri5-float32",
    ),
    Mutant("error-replaced", "poison.not-a-number", Faults(error=lambda error: RuntimeError(str(error))), "dopri5"),
    Mutant(
        "penalty-without-a-step",
        "poison.no-step",
        Faults(value=lambda value, _, recording, __: value if recording.is_valid else value + 1.0),
        "dopri5",
    ),
    Mutant(
        "norm-differentiated-at-rest",
        "poison.part-at-rest",
        Faults(
            capabilities=supporting(Capability.TREE_STATE),
            call=of_a_tree,
            value=lambda value, *_: value + 0.0 * _namespace.sqrt(0.0 * value),
        ),
    ),
    Mutant(
        "norm-differentiated-at-a-member-at-rest",
        "poison.member-at-rest",
        Faults(value=poisoned_by_members_at_rest),
        "error",
    ),
    Mutant("overflow-unmasked", "poison.overflow", Faults(value=unmasked)),
    Mutant(
        "counter-never-reset-after-an-error",
        "poison.recovery",
        Faults(
            before_run=lambda: UNFINISHED.append(1),
            counts=replaced(nfe=lambda n: n + len(UNFINISHED) - 1),
            after_run=finish_call,
        ),
    ),
    Mutant("count-off-by-one", "counts.nfe", Faults(counts=replaced(nfe=lambda n: n + 1)), "bosh3"),
    Mutant("diffusion-not-counted", "counts.nfe", Faults(counts=replaced(nfe_diffusion=0)), "euler_heun"),
    Mutant(
        "extra-count-wrong",
        "counts.extra",
        Faults(facts=replaced(evaluations_per_step=lambda n: n + 1)),
        "dopri5-error",
    ),
    Mutant("extra-evaluation", "counts.extra", Faults(after_run=evaluate_once_more), "dopri5-taylor"),
    Mutant("rejections-hidden", "counts.steps", Faults(counts=replaced(num_rejected=0)), "dopri5"),
    Mutant(
        "hidden-count-told-without-penalty",
        "counts.hidden",
        Faults(silent=lambda run, _: run._replace(counts=run.counts._replace(nfe=3))),
        "backward_euler",
    ),
    Mutant("forced-steps-not-counted", "counts.forced", Faults(counts=replaced(num_forced=0)), "dopri5"),
    Mutant("backward-count-of-the-forward-solve", "counts.backward", Faults(counts=backward_as_forward)),
    Mutant("global-generator-advanced", "no-trace.global-state", Faults(before_run=np.random.uniform)),
    Mutant("generator-of-python-advanced", "no-trace.global-state", Faults(before_run=random.random)),
    Mutant("global-seed-used", "no-trace.global-state", Faults(value=with_global_noise)),
    Mutant("source-ignored", "no-trace.source", Faults(draw=lambda _, n: np.full(n, 0.5))),
    Mutant("field-left-changed", "no-trace.field-state", Faults(after_run=evaluate_once_more)),
    Mutant("backward-without-sign", "shape.backward", Faults(record=replaced(h=abs)), "dopri5"),
    Mutant(
        "state-of-an-output-time",
        "shape.output-times",
        Faults(record=lambda r, call: r._replace(y=(1.01 * r.y[0],)) if len(call.ts) > 3 else r),
    ),
    Mutant(
        "tree-penalised-more",
        "shape.tree",
        Faults(capabilities=supporting(Capability.TREE_STATE), call=of_a_tree),
        "error",
    ),
    Mutant(
        "leaves-in-the-dtype-of-the-first",
        "shape.dtypes",
        Faults(capabilities=supporting(Capability.TREE_STATE), call=of_a_narrow_tree),
    ),
    Mutant(
        "narrow-value-without-a-derivative", "shape.broadcast", Faults(problem=WithoutDirections), "row-taylor-at-step"
    ),
    Mutant(
        "penalty-of-the-first-state",
        "shape.own-steps",
        Faults(shares_steps=False, call=functools.partial(row_by_row, is_first_alone=True)),
        "error",
    ),
    Mutant("dtype-promoted", "shape.float32", Faults(value=widened), "error"),
    Mutant(
        "calls-share-a-counter",
        "transform.threads",
        Faults(before_run=start_slowly, counts=replaced(nfe=lambda n: n + len(ACTIVE) - 1), after_run=end_call),
    ),
    Mutant("collected-report-of-another-call", "transform.collect", Faults(value=with_global_noise)),
    Mutant(
        "refusal-missing",
        "refusal.capability",
        Faults(capabilities=declared(REVERSE_TIME="the solver runs forward; negate the time.")),
        "REVERSE_TIME",
    ),
    Mutant("method-refuses-nothing", "refusal.method", Faults(facts=replaced(unsupported=())), "bosh3-stiffness"),
    Mutant(
        "refused-after-an-evaluation",
        "refusal.method",
        Faults(bound=lambda call: call.field(call.ts[0], call.y0)),
        "bosh3-stiffness",
    ),
    Mutant("method-with-memory-served", "refusal.unserved", Faults(facts=replaced(unsupported=())), "adams"),
    Mutant(
        "any-draw-accepted",
        "refusal.draw",
        Faults(check_draw=lambda draw, n: [Draw(abs(float(u)) % 1, 0) for u in np.ravel(draw)[:n]]),
    ),
    Mutant("frozen-at-later-times", "freeze.steps", Faults(frozen=frozen_field(later)), "euler"),
    Mutant("frozen-evaluates-once-more", "freeze.steps", Faults(frozen=frozen_field(twice)), "rk4"),
    Mutant("frozen-by-eulers-method", "freeze.order", Faults(frozen=frozen_by_euler), "rk4"),
    Mutant("frozen-result-of-another-type", "freeze.form", Faults(frozen=frozen_result(tuple)), "array"),
    Mutant("frozen-input-overwritten", "freeze.form", Faults(frozen=overwriting), "array"),
    Mutant("frozen-with-a-memory", "freeze.json", Faults(frozen=remembering())),
    Mutant("frozen-without-gradient", "freeze.gradient", Faults(frozen=frozen_field(without_gradient))),
    Mutant("errors-of-the-first-outputs", "freeze.error", Faults(frozen_states=lambda leaves: (leaves[0][:1],))),
    Mutant("errors-of-better-steps", "freeze.bound", Faults(frozen=frozen_by_euler)),
    Mutant("steps-counted-from-the-end", "freeze.grid", Faults(step_ends=from_the_end)),
    Mutant("not-a-number-unflagged", "freeze.guard", Faults(frozen=flagging(lambda flags, y: flags & ~is_nan(y)))),
    Mutant("guard-that-looks-at-size-alone", "freeze.guard", Faults(frozen=flagging(lambda flags, y: is_large(y)))),
    Mutant("guard-that-flags-all", "freeze.guard", Faults(frozen=flagging(lambda flags, y: flags | True))),
    Mutant("fallback-for-all", "freeze.fallback", Faults(frozen=fallback_for_all)),
    Mutant("calibration-without-copies", "freeze.trace", Faults(copied=lambda copy, call: call), "state"),
    Mutant("failure-passed-over", "freeze.failed", Faults(native_failure=unsolved)),
    Mutant("times-not-compared", "freeze.refusal", Faults(frozen=at_its_own_times), "other-times"),
    Mutant("statistics-of-smaller-steps", "freeze.statistics", Faults(sde_plan=twice_the_steps)),
    Mutant("frozen-in-smaller-steps", "freeze.statistics", Faults(frozen_sde_plan=twice_the_steps)),
    Mutant("inputs-not-looked-at", "freeze.refusal", Faults(frozen=without_a_look), "other-shape"),
    Mutant("all-steps-recorded", "memory.independent-of-steps", Faults(plan=keep_where(remember_every_step))),
    Mutant("trained-without-gradient", "reduction.adaptive", Faults(value=detached), "dopri5"),
    Mutant("fixed-steps-trained-without-gradient", "reduction.fixed-step", Faults(value=detached), "rk4"),
)
"""At least one for each check that can have one."""

OWN_STEPS = Mutant("own-steps", "shape.own-steps", Faults(shares_steps=False, call=row_by_row))
"""No mutant: the reference adapter with separate steps for each state of a batch."""

METHOD = Mutant("method-of-an-object", "interface.value", Faults(is_method=True))
"""No mutant: the reference adapter claiming a method, of an object that cannot be copied."""

WITHOUT_MUTANT = {
    "interface.laws": "it looks at what all the others did; test_declarations.py runs them",
    "transform.jit": "numpy compiles nothing; the tests of the diffrax adapter run it",
    "transform.vmap": "numpy vectorises nothing; the tests of the diffrax adapter run it",
    "freeze.compiled-times": "numpy compiles nothing; the tests of the torchdiffeq and diffrax adapters run it",
    "transform.strict-promotion": "numpy always promotes; test_strict_promotion.py breaks the diffrax adapter for it",
    "freeze.export": "numpy exports nothing; the tests of the torchdiffeq and diffrax adapters run it",
}
"""Checks that no mutant of a numpy adapter can fail, with the reason."""
