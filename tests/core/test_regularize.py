"""The public entry point, on a small solver in numpy: what it returns and refuses, and what kind of value it is."""

import copy
import dataclasses
import functools
import inspect
import pickle
from collections.abc import Callable
from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

import lrnde_core
from lrnde_conformance import ReferenceAdapter
from lrnde_conformance._backends import _dual
from lrnde_conformance._reference._call import ReferenceCall
from lrnde_conformance._reference._methods import method_facts
from lrnde_conformance._reference._solver import integrate
from lrnde_core import (
    AdapterNotFoundError,
    AdapterSpec,
    Capabilities,
    Capability,
    CapabilityError,
    CheckedSteps,
    ErrorEstimate,
    InputError,
    InputTypeError,
    JacobianNorm,
    MethodFacts,
    PenaltyError,
    PluginError,
    PredictedSteps,
    RecordingPlan,
    RegularizedSolve,
    Run,
    StiffnessEstimate,
    TaylorDerivative,
    UniformStep,
    UniformTime,
    UnknownNameError,
    hookimpl,
    regularize,
)
from lrnde_core._registry import Registry
from tests.core.array_problem import ArrayProblem, local_state
from tests.core.tableaus import RK4
from tests.core.toy import INTEGRATE, integrate_twice

pytestmark = pytest.mark.usefixtures("toy_registry")

_ERROR = ErrorEstimate(1e-4, 1e-6)
_TIMES = (0.0, 0.75, 2.0)
_STEPS: dict[str, Any] = {"method": "rk4", "first_step": 0.5}
"""Four steps of size 0.5 over `_TIMES`."""
_LIMITED = Capabilities.declare(
    {
        Capability.POINT_HEURISTICS: "numpy has no forward-mode autodiff; use a heuristic of the step.",
        Capability.FULL_GRADIENT: "numpy has no autodiff.",
        Capability.BATCHED_SAMPLES: "numpy has no vmap.",
    }
)
_Y0 = np.array([1.0, -0.5])


def _field(t: Any, y: Any) -> Any:
    return t - 1.5 * _dual.sin(y)


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """An adapter that declares a few things unsupported."""
    monkeypatch.setattr(ReferenceAdapter, "capabilities", _LIMITED)


def _same_signature(field: Any, y0: Any, ts: Any, **settings: Any) -> Any:
    return integrate(field, y0, ts, **settings)


@functools.wraps(integrate)
def _decorated(*args: Any, **kwargs: Any) -> Any:
    return integrate(*args, **kwargs)


def test_returns_the_bare_result_and_a_report() -> None:
    states, report = regularize(integrate, heuristic=_ERROR)(_field, _Y0, _TIMES, **_STEPS, draw=[0.1])
    np.testing.assert_array_equal(states, integrate(_field, _Y0, _TIMES, **_STEPS))
    assert (report.num_steps, report.num_accepted, report.num_rejected, report.nfe, report.nfe_extra) == (
        4,
        4,
        0,
        16,
        11,
    )
    assert report.sample.t.tolist() == [0.0]
    assert report.sample.h.tolist() == [0.5]
    assert report.penalty == pytest.approx(report.sample.weight[0] * report.sample.error_ratio[0] * 0.5)
    pair, _ = regularize(integrate_twice, heuristic=_ERROR)(_field, _Y0, _TIMES, **_STEPS, draw=[0.1])
    assert len(pair) == 2


@hypothesis.given(st.integers(1, 6), st.integers(1, 30), st.sampled_from([1, -1]))
def test_the_penalty_averaged_over_draws_is_the_sum_over_all_steps(size: int, length: int, direction: int) -> None:
    times, settings = (0.0, 0.05 * direction * length), {"method": "rk4", "first_step": 0.05 * size}
    steps: list[tuple[float, float, Any]] = []
    integrate(_field, _Y0, times, observe=lambda t, h, y, *_: steps.append((t, h, y)), **settings)
    problem = ArrayProblem(_field, RK4)
    expected = sum(_ERROR.cost(local_state(problem, t, h, y)) for t, h, y in steps)
    draws = (np.arange(length) + 0.5) / length
    solve = regularize(integrate, heuristic=_ERROR, num_samples=length)
    _, report = solve(_field, _Y0, times, draw=draws, **settings)
    assert report.num_accepted == len(steps) == -(-length // size)
    assert report.penalty == pytest.approx(expected, rel=1e-9)
    assert report.nfe_extra == 11 * length


def test_without_penalty_it_is_the_bare_solve() -> None:
    calls: list[float] = []

    def counted(t: Any, y: Any) -> Any:
        calls.append(t)
        return _field(t, y)

    states, report = regularize(integrate, heuristic=_ERROR)(counted, _Y0, _TIMES, penalize=False)
    np.testing.assert_array_equal(states, integrate(_field, _Y0, _TIMES))
    assert len(calls) == report.nfe > 0
    assert (report.penalty, report.nfe_extra, report.sample) == (0.0, 0, None)


def test_a_solve_without_steps_has_no_penalty() -> None:
    (state,), report = regularize(integrate, heuristic=_ERROR)(_field, _Y0, (0.3,), draw=[0.5])
    assert state is _Y0
    assert (report.penalty, report.nfe_extra, report.num_steps) == (0.0, 0, 0)


def test_the_random_source_goes_by_the_name_the_adapter_gives_it() -> None:
    solve = regularize(integrate, heuristic=_ERROR, num_samples=3)
    first, second = (solve(_field, _Y0, _TIMES, rng=np.random.default_rng(5))[1] for _ in range(2))
    assert first.penalty == second.penalty
    _, drawn = solve(_field, _Y0, _TIMES, draw=np.random.default_rng(5).random(3))
    assert drawn.penalty == first.penalty


def test_names_stand_for_heuristics_and_samplers() -> None:
    by_name = regularize(integrate, heuristic="stiffness_estimate", sampler="uniform_step")
    assert by_name == regularize(integrate, heuristic=StiffnessEstimate(), sampler=UniformStep())


def test_partials_are_unwrapped_with_their_arguments() -> None:
    inner = functools.partial(functools.partial(integrate, _field, method="bosh3"), _Y0, **_STEPS)
    solve = regularize(inner, heuristic=_ERROR)
    assert solve.solver.function is integrate
    states, report = solve(_TIMES, draw=[0.1])
    np.testing.assert_array_equal(states, integrate(_field, _Y0, _TIMES, **_STEPS))
    assert report.nfe == 16
    assert solve(_TIMES, draw=[0.1], first_step=1.0)[1].nfe == 8


def test_signature_is_that_of_the_solve_with_more_keywords() -> None:
    signature = inspect.signature(regularize(functools.partial(integrate, _field), heuristic=_ERROR))
    native = list(inspect.signature(integrate).parameters)
    assert list(signature.parameters) == [*native[1:], "penalize", "draw", "probes", "rng"]


def _jitted() -> Callable[..., Any]:
    return pytest.importorskip("jax").jit(integrate)


_WRAPS = r"wraps `.*integrate`, and is not the solve itself: regularize the inner call"


@pytest.mark.parametrize(
    ("wrapped", "message"),
    [
        (lambda: _same_signature, r"^No adapter.*regularize the inner call"),
        (lambda: _decorated, _WRAPS),
        (_jitted, _WRAPS),
    ],
    ids=["function", "wraps", "jit"],
)
def test_what_wraps_a_solve_is_refused(wrapped: Callable[[], Callable[..., Any]], message: str) -> None:
    with pytest.raises(AdapterNotFoundError, match=message):
        regularize(wrapped(), heuristic=_ERROR)


def test_adapter_asserts_a_signature() -> None:
    solve = regularize(_same_signature, heuristic=_ERROR, adapter="toy")
    assert solve.solver.path == INTEGRATE
    states, _ = solve(_field, _Y0, _TIMES, draw=[0.1])
    np.testing.assert_array_equal(states, integrate(_field, _Y0, _TIMES))
    named = regularize(_same_signature, heuristic=_ERROR, adapter="toy:integrate_twice")
    assert named.solver.path == "tests.core.toy:integrate_twice"
    claimed = regularize(integrate_twice, heuristic=_ERROR, adapter="toy")
    assert claimed.solver.path == "tests.core.toy:integrate_twice"
    with pytest.raises(InputError, match=r"`toy` has no `itegrate`; it has \['integrate', 'integrate_twice'\]"):
        regularize(_same_signature, heuristic=_ERROR, adapter="toy:itegrate")
    with pytest.raises(AdapterNotFoundError, match=r"no adapter `difrax`.*Did you mean `diffrax`"):
        regularize(_same_signature, heuristic=_ERROR, adapter="difrax")


def test_two_claims_are_refused_by_both_names(toy_registry: Registry) -> None:
    class Rival:
        @hookimpl
        def lrnde_register_adapters(self, register: Callable[[AdapterSpec], None]) -> None:
            spec = toy_registry.spec("toy")
            register(AdapterSpec("rival", spec.target, spec.solves, spec.requires, spec.install, spec.api_version))

    toy_registry.register(Rival())
    with pytest.raises(InputError, match=r"`toy` and `rival` both claim `.*integrate`; choose one with `adapter=`"):
        regularize(integrate, heuristic=_ERROR)
    assert regularize(integrate, heuristic=_ERROR, adapter="rival").solver.adapter_name == "rival"


_VALUES = {
    "plain": lambda: regularize(integrate, heuristic=_ERROR),
    "partial": lambda: regularize(functools.partial(integrate, _field, method="bosh3"), heuristic=_ERROR),
    "asserted": lambda: regularize(_same_signature, heuristic=_ERROR + 0.5 * StiffnessEstimate(), adapter="toy"),
    "sampler": lambda: regularize(integrate, heuristic=_ERROR, sampler=UniformStep(weighting="paper")),
    "samples": lambda: regularize(integrate, heuristic=_ERROR, num_samples=2),
}


@pytest.mark.parametrize("name", list(_VALUES))
def test_it_is_a_value(name: str) -> None:
    solve = _VALUES[name]()
    copies = [_VALUES[name](), copy.copy(solve), copy.deepcopy(solve), pickle.loads(pickle.dumps(solve))]
    for other in copies:
        assert other == solve
        assert hash(other) == hash(solve)
        assert other.solver.function is solve.solver.function
    assert [other for other in _VALUES if _VALUES[other]() == solve] == [name]
    with pytest.raises(AttributeError, match="cannot assign to field"):
        setattr(solve, "num_samples", 4)  # noqa: B010  so that the type checker lets it through


def test_bound_arguments_count_in_equality() -> None:
    def bind(**kwargs: Any) -> RegularizedSolve:
        return regularize(functools.partial(integrate, **kwargs), heuristic=_ERROR)

    times = np.array(_TIMES)
    assert bind(ts=times) == bind(ts=times)
    assert bind(ts=times) != bind(ts=times.copy())
    assert bind(method="bosh3") == bind(method="bosh3")
    assert bind(method="bosh3") != bind(method="dopri5")
    assert bind(y0=1) != bind(y0=True)
    assert bind(method="bosh3") != "bosh3"


_bad_arguments: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"heuristic": "eror_estimate"}, UnknownNameError, "no heuristic `eror_estimate`.*Did you mean `error_estimate`"),
    ({"sampler": "uniform_tim"}, UnknownNameError, "no sampler `uniform_tim`.*Did you mean `uniform_time`"),
    (
        {"heuristic": ErrorEstimate},
        InputTypeError,
        r"`heuristic` must be a heuristic.*Did you mean `ErrorEstimate\(\)`",
    ),
    ({"steps": CheckedSteps}, InputTypeError, r"`steps` must be a `CheckedSteps`.*Did you mean `CheckedSteps\(\)`"),
    ({"heuristic": UniformTime()}, InputTypeError, "`heuristic` must be a heuristic or the name of one"),
    ({"sampler": None}, InputTypeError, "`sampler` must be a sampler or the name of one, not None"),
    ({"gradient": "global"}, InputError, r'gradient=\'global\'.*must be "local" or "full"'),
    *(({"num_samples": n}, InputError, "must be a whole number of at least 1") for n in (0, -1, True, 1.5, "2", None)),
    ({"gradient": "full"}, CapabilityError, '`toy` does not support gradient="full": numpy has no autodiff'),
    ({"batched": True}, CapabilityError, "`toy` does not support all samples of a call in one batched step"),
    (
        {"heuristic": TaylorDerivative(2)},
        CapabilityError,
        "does not support heuristics of a point.*use a heuristic of the",
    ),
    ({"hueristic": _ERROR}, TypeError, "unexpected keyword argument 'hueristic'"),
]


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize(("arguments", "error", "message"), _bad_arguments)
def test_bad_settings_are_refused(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        regularize(integrate, **{"heuristic": _ERROR, **arguments})


class _Model:
    def __repr__(self) -> str:
        return "not_a_solver"

    def __call__(self) -> None: ...


def test_what_is_no_native_call_is_refused() -> None:
    with pytest.raises(InputTypeError, match="already a `RegularizedSolve`; regularize the native call instead"):
        regularize(regularize(integrate, heuristic=_ERROR), heuristic=_ERROR)
    with pytest.raises(InputTypeError, match=r"must be a solver call, such as `torchdiffeq.odeint` .*, not 'odeint'"):
        regularize("odeint")
    with pytest.raises(AdapterNotFoundError, match=r"not_a_solver.*If it is a model.*pass the model to the result"):
        regularize(_Model(), heuristic=_ERROR)


@pytest.mark.parametrize(
    ("settings", "arguments", "error", "message"),
    [
        (
            {"heuristic": ErrorEstimate()},
            _STEPS,
            CapabilityError,
            r"`rk4` takes fixed steps.*`ErrorEstimate\(rtol=1e-3",
        ),
        ({"heuristic": _ERROR + PredictedSteps()}, _STEPS, CapabilityError, "`rk4` takes fixed steps"),
        (
            {"heuristic": StiffnessEstimate()},
            {"method": "bosh3"},
            CapabilityError,
            "`toy, method bosh3` does not support the stiffness estimate of a step: .*Use `ErrorEstimate`",
        ),
        ({}, {"draw": [0.1, 0.2]}, InputError, r"`draw` has shape \(2,\); `num_samples=1` needs shape \(1,\)"),
        ({}, {"draw": None}, InputTypeError, "none was given: pass rng= or draw="),
        ({}, {"penalize": 1}, InputTypeError, "`penalize` must be a Python bool, not int.*static argument"),
    ],
)
def test_bad_calls_are_refused_before_anything_is_solved(
    settings: Any, arguments: Any, error: type[Exception], message: str
) -> None:
    def never(t: Any, y: Any) -> Any:
        raise AssertionError

    with pytest.raises(error, match=message):
        regularize(integrate, **{"heuristic": _ERROR, **settings})(never, _Y0, _TIMES, **{"draw": [0.5], **arguments})


def test_the_full_gradient_and_a_restarted_step_exclude_each_other() -> None:
    with pytest.raises(CapabilityError, match='restarts from a constant state; use `local_start="step"`'):
        regularize(integrate, heuristic=_ERROR, gradient="full", sampler=UniformTime(local_start="sample"))


@pytest.mark.parametrize(
    ("unsupported", "error", "message"),
    [
        (
            {Capability.PROBES: "it has none."},
            CapabilityError,
            r"`toy` does not support random directions.*it has none",
        ),
        ({}, PluginError, r"`ReferenceCall` has no `check_probes`.*does not declare `Capability.PROBES`"),
    ],
)
def test_probes_are_refused_where_nothing_takes_them(
    monkeypatch: pytest.MonkeyPatch, unsupported: Any, error: type[Exception], message: str
) -> None:
    monkeypatch.setattr(ReferenceAdapter, "capabilities", Capabilities.declare(unsupported))
    monkeypatch.delattr(ReferenceCall, "check_probes")
    solve = regularize(integrate, heuristic=JacobianNorm(mode="jvp"))
    with pytest.raises(error, match=message):
        solve(_field, _Y0, _TIMES, draw=[0.5], probes=_Y0)
    with pytest.raises(InputError, match="uses none; leave them out"):
        regularize(integrate, heuristic=_ERROR)(_field, _Y0, _TIMES, draw=[0.5], probes=_Y0)


def test_what_an_adapter_cannot_read_is_left_to_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def bind(*args: Any) -> Any:
        raise AttributeError("of the adapter")

    monkeypatch.setattr(ReferenceAdapter, "bind", bind)
    solve = regularize(integrate, heuristic=_ERROR)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'ts'"):
        solve(_field, _Y0)
    with pytest.raises(InputTypeError, match=r"takes these arguments.*cannot read them: AttributeError\('of the ad"):
        solve(_field, _Y0, _TIMES)


def test_what_only_the_penalty_raises_is_a_penalty_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def evaluate(*args: Any) -> Any:
        raise ZeroDivisionError("mine")

    monkeypatch.setattr(ReferenceAdapter, "evaluate", evaluate)
    with pytest.raises(PenaltyError, match=r"solve succeeded.*ZeroDivisionError\('mine'\).*`penalize=False`") as caught:
        regularize(integrate, heuristic=_ERROR)(_field, _Y0, _TIMES, draw=[0.5])
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_errors_of_the_user_come_through_unchanged() -> None:
    def broken(t: Any, y: Any) -> Any:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        regularize(integrate, heuristic=_ERROR)(broken, _Y0, _TIMES, draw=[0.5])
    with pytest.raises(TypeError, match="unexpected keyword argument 'mehtod'") as caught:
        regularize(integrate, heuristic=_ERROR)(_field, _Y0, _TIMES, draw=[0.5], mehtod="bosh3")
    assert not hasattr(caught.value, "__notes__")


@pytest.mark.parametrize("make", [lrnde_core.presets.lrnde_unbiased, lrnde_core.presets.lrnde_biased])
def test_presets_are_the_published_settings(make: Any) -> None:
    error, stiffness = make(), make(stiffness=True)
    assert error["heuristic"] == ErrorEstimate()
    assert stiffness["heuristic"] == StiffnessEstimate(weighting="paper")
    assert error["sampler"].weighting == "paper"
    assert error["sampler"].local_start == "sample"
    report = regularize(integrate, **stiffness)(_field, _Y0, _TIMES, draw=[0.4])[1]
    assert report.penalty > 0
    assert report.sample.weight.tolist() == [1.0]


def test_an_adapter_that_keeps_one_step_of_all_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    run = ReferenceCall.run

    def run_without_a_number(call: ReferenceCall, plan: RecordingPlan | None) -> Run:
        found = run(call, plan)
        assert found.recording is not None
        return found._replace(recording=found.recording._replace(num_evaluated=None))

    monkeypatch.setattr(ReferenceCall, "run", run_without_a_number)
    with pytest.raises(PluginError, match=r"recorded one step per draw.*fault of the adapter"):
        regularize(integrate, heuristic=_ERROR, sampler=lrnde_core.AllSteps())(_field, _Y0, _TIMES)


def test_an_adapter_without_a_quadrature_rule_that_does_not_say_so_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def facts_without_tableau(method: str, **kinds: bool) -> MethodFacts:
        return dataclasses.replace(method_facts(method, **kinds), tableau=None)

    monkeypatch.setattr("lrnde_conformance._reference._adapter.method_facts", facts_without_tableau)
    with pytest.raises(PluginError, match=r"gives no `tableau`.*fault of the adapter"):
        regularize(integrate, heuristic=lrnde_core.KineticEnergy(), sampler=lrnde_core.Integral())(_field, _Y0, _TIMES)


@pytest.mark.usefixtures("limited")
def test_a_refusal_names_every_reason() -> None:
    with pytest.raises(CapabilityError, match=r"gradient=\"full\": .*heuristics of a point.*`UniformStep\(\)` and"):
        regularize(integrate, **lrnde_core.presets.taynode())


def test_unsupported_capabilities_need_reasons() -> None:
    with pytest.raises(InputTypeError, match=r"`Capability.JIT` is declared unsupported without a reason"):
        Capabilities.declare({Capability.JIT: " "})
    with pytest.raises(InputTypeError, match="'jit' is not a `Capability`; known are"):
        Capabilities.declare({"jit": "no"})


def test_presets_bring_their_published_weights() -> None:
    presets = lrnde_core.presets
    assert presets.ernode.weight("mnist", steps=100) == lrnde_core.ExponentialDecay(100.0, 10.0, 100)
    assert presets.srnode.weight("mnist") == lrnde_core.Constant(0.1)
    for preset in (presets.lrnde_unbiased, presets.lrnde_biased):
        assert preset.weight("mnist", stiffness=True) == lrnde_core.Constant(0.1)
        assert preset.weight("mnist", steps=100) == lrnde_core.ExponentialDecay(2.5, 1.0, 100)
        with pytest.raises(UnknownNameError, match="for `physionet`: known are those for `mnist`"):
            preset.weight("physionet", stiffness=True)
    assert presets.taynode.weight("mnist", order=3) == lrnde_core.Constant(6e-5)
    with pytest.raises(UnknownNameError, match="of `taynode` for `mnist`: none is known here"):
        presets.taynode.weight("mnist", order=2)
    with pytest.raises(InputError, match=r"of `lrnde_biased` for `mnist` decays from 2.5 to 1 .* steps=\.\.\.\)"):
        presets.lrnde_biased.weight("mnist")
    with pytest.raises(UnknownNameError, match="of `taynode` for `digits`: known are those for `mnist`, `physionet`"):
        presets.taynode.weight("digits")
    with pytest.raises(UnknownNameError, match="of `rnode` for `mnist`: none is known here"):
        presets.rnode.weight("mnist")


def test_unknown_preset_names_the_known_ones() -> None:
    with pytest.raises(AttributeError, match="no preset `ernodes`; known are `ernode`, `lrnde_biased`"):
        _ = lrnde_core.presets.ernodes


def test_what_an_adapter_cannot_have_known_is_unsupported() -> None:
    declared = Capabilities.declare({Capability.JIT: "it is Python."})
    assert declared.known_to(lrnde_core.ADAPTER_API) == declared
    older = declared.known_to((1, 0))
    later = {Capability.PROBES, Capability.REVERSE_PRODUCTS, Capability.CHECKED_STEPS}
    assert older.supported == declared.supported - later
    assert declared.known_to((2, 0)).supported == declared.supported - {Capability.CHECKED_STEPS}
    reason = older.reason_against(Capability.PROBES)
    assert reason is not None
    assert "written for version 1.0 of the contract" in reason
    assert older.reason_against(Capability.JIT) == "it is Python."


@pytest.mark.parametrize("is_offered", [False, True])
def test_a_heuristic_may_need_what_only_its_own_adapter_offers(
    monkeypatch: pytest.MonkeyPatch, is_offered: bool
) -> None:
    needed = lrnde_core.ExtraCapability("mine.volume", "the volume of a state")
    declared = Capabilities.declare({}, extra=[needed] if is_offered else [])
    monkeypatch.setattr(ReferenceAdapter, "capabilities", declared)

    class Volume(lrnde_core.AbstractHeuristic):
        @property
        def needs(self) -> frozenset[lrnde_core.AnyCapability]:
            return frozenset({needed})

        @property
        def evaluations(self) -> lrnde_core.Evaluations:
            return lrnde_core.Evaluations()

        @property
        def tolerances(self) -> tuple[Any, ...]:
            return ()

        def cost(self, local: lrnde_core.LocalState) -> Any:
            return np.float64(local.size)

    if is_offered:
        assert regularize(integrate, heuristic=Volume())(_field, _Y0, _TIMES, draw=[0.5])[1].penalty > 0
    else:
        with pytest.raises(CapabilityError, match="not support the volume of a state: its adapter does not declare it"):
            regularize(integrate, heuristic=Volume())


@dataclasses.dataclass(frozen=True)
class _Speed(lrnde_core.AbstractPointHeuristic):
    """A user's heuristic, with a fault to choose."""

    declared: Any = None
    needed: Any = None
    given: tuple[Any, ...] = ()
    has_batch: bool = False

    @property
    def needs(self) -> Any:
        return super().needs if self.needed is None else self.needed

    @property
    def tolerances(self) -> Any:
        return self.given

    @property
    def evaluations_at_point(self) -> Any:
        return self.declared or lrnde_core.Evaluations(at_point=1)

    def density(self, local: lrnde_core.LocalState, t: Any, y: Any) -> Any:
        return lrnde_core.mean_square(local.vector_field(t, y))

    def cost(self, local: lrnde_core.LocalState) -> Any:
        return super().cost(local) * (local.y[0] if self.has_batch else 1.0)


def test_a_heuristic_of_ones_own_is_refused_where_it_is_not_one() -> None:
    def penalty(heuristic: Any) -> Any:
        return regularize(integrate, heuristic=heuristic)(_field, _Y0, _TIMES, draw=[0.5])[1].penalty

    class Unhashable(_Speed):
        __hash__ = None  # pyright: ignore[reportAssignmentType]

    class UnhashableTime(lrnde_core.UniformTime):  # pyright: ignore[reportGeneralTypeIssues]
        __hash__ = None  # pyright: ignore[reportAssignmentType]

    assert penalty(_Speed()) > 0
    # Alone, and as a term of a sum.
    for made in (lambda each: each, lambda each: ErrorEstimate() + 2 * each):
        with pytest.raises(InputTypeError, match=r"`_Speed.evaluations_at_point` is 1; it must be an `Evaluations`"):
            penalty(made(_Speed(declared=1)))
        with pytest.raises(InputTypeError, match=r"`_Speed.needs` is \(\); it must be a `frozenset`"):
            penalty(made(_Speed(needed=())))
        with pytest.raises(InputTypeError, match=r"`_Speed.tolerances` holds \(None, None\).*lrnde_core.Tolerances"):
            penalty(made(_Speed(given=((None, None),))))
        with pytest.raises(InputError, match=rf"`_Speed` costs an array of shape \({_Y0.size},\) at one step.*mean"):
            penalty(made(_Speed(has_batch=True)))
        with pytest.raises(InputTypeError, match=r"is not hashable.*frozen=True"):
            penalty(made(Unhashable()))
        for declared in ({"needed": frozenset({Capability.ERROR_ESTIMATE})}, {"given": (lrnde_core.Tolerances(),)}):
            with pytest.raises(InputError, match=r"`_Speed.tolerances` is .* both its tolerances.*has neither"):
                penalty(made(_Speed(**declared)))
    with pytest.raises(InputTypeError, match=r"sampler `UnhashableTime` is not hashable"):
        regularize(integrate, sampler=UnhashableTime())
    with pytest.raises(InputTypeError, match=r"Your own is a subclass of `lrnde_core.AbstractHeuristic`"):
        regularize(integrate, heuristic=lambda local: 0.0)  # pyright: ignore[reportArgumentType]
