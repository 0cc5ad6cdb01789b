"""Penalties and gradients against schemes written in numpy, along the increments of the path or of the bridge."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torchsde import BrownianInterval
from torchsde._core import adaptive_stepping

import lrnde
from lrnde_core import Draw, LocalPenalty, Record, RecordingPlan
from lrnde_torchsde._adapter import TorchsdeAdapter
from lrnde_torchsde._brownian import Halved, Increment
from tests.adapters.torchsde.problems import (
    SCHEMES,
    Y0,
    Equation,
    Fields,
    Query,
    Scheme,
    Watched,
    attempts,
    brownian,
    sdeint,
    sdeint_adjoint,
)
from tests.rounding import assert_gradient_within_rounding, assert_within_rounding, rounded

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:torchsde")
_TS = [0.0, 0.5]
_GRADIENT_FREE = [("milstein", "ito", "diagonal"), ("milstein", "stratonovich", "scalar")]
_CASES = [(*scheme, False) for scheme in SCHEMES] + [(*scheme, True) for scheme in _GRADIENT_FREE]


class _Case(NamedTuple):
    """A scheme with an equation, a call, and the steps of the bare call as queried from its motion."""

    method: str
    calculus: Any
    noise: str
    grad_free: bool
    adaptive: bool
    rtol: float = 0.0
    atol: float = 3e-2

    @property
    def settings(self) -> dict[str, Any]:
        steps = {"adaptive": True, "dt": 0.4, "rtol": self.rtol, "atol": self.atol} if self.adaptive else {"dt": 0.15}
        options = {"options": {"grad_free": True}} if self.grad_free else {}
        return {"method": self.method, "bm": brownian(self.method, self.noise), **steps, **options}

    @property
    def equation(self) -> Equation:
        return Equation(self.calculus, self.noise)

    @property
    def scheme(self) -> Scheme:
        return Scheme(self.method, self.calculus, self.grad_free)

    def steps(self) -> list[list[Query]]:
        """The accepted steps, each as its queries."""
        motion = Watched(self.settings["bm"])
        sdeint(self.equation, Y0, _TS, **{**self.settings, "bm": motion})
        if not self.adaptive:
            return [[query] for query in motion.log]
        return [queries for queries, is_accepted in attempts(motion.log) if is_accepted]

    def advancing(self) -> list[Query]:
        """What moves the state: the halves of adaptive steps."""
        return [query for queries in self.steps() for query in (queries[1:] if self.adaptive else queries)]

    def states(self, fields: Fields | None = None, y0: Any = None) -> list[tuple[Any, Any]]:
        """The state before each accepted step, by the numpy scheme all the way from `y0`."""
        fields = Fields.of(self.equation) if fields is None else fields
        y0 = rounded(Y0.numpy()) if y0 is None else y0
        states = self.scheme.states(fields, _rounded(self.advancing()), y0)
        return states[:: 2 if self.adaptive else 1]


def _record(case: _Case, draw: float, sampler: Any = None, solve: Any = sdeint) -> Record:
    """What the adapter keeps of a solve."""
    adapter = TorchsdeAdapter()
    call = adapter.bind(f"torchsde:{solve.__name__}", solve, (case.equation, Y0, _TS), case.settings)
    sampler = lrnde.UniformTime() if sampler is None else sampler
    penalty = LocalPenalty(lrnde.ErrorEstimate(), sampler, call.facts)
    run = call.run(RecordingPlan(penalty, adapter.check_draw([draw], 1), None, keeps_gradient=False))
    assert run.recording is not None
    return run.recording.records[0]


def _queries(increments: Halved) -> list[Query]:
    return [
        Query(part.start, part.end, (), *(None if x is None else x.numpy() for x in (part.w, part.u, part.a)))
        for part in increments
    ]


def _rounded(queries: Sequence[Query]) -> list[Query]:
    """The same with all numbers rounded once."""
    return [
        Query(rounded(start), rounded(end), flags, *(None if x is None else rounded(x) for x in answer))
        for start, end, flags, *answer in queries
    ]


def _regularized(case: _Case, heuristic: Any, draw: Any, solve: Any = sdeint, **how: Any) -> tuple[Any, Equation]:
    equation = case.equation
    y0 = how.pop("y0", Y0)
    _, report = lrnde.regularize(solve, heuristic=heuristic, **how)(equation, y0, _TS, draw=draw, **case.settings)
    return report, equation


@pytest.mark.parametrize(("method", "calculus", "noise", "grad_free"), _CASES)
def test_error_ratio_of_an_adaptive_step_is_that_of_numpy_and_of_the_solver(
    method: str, calculus: str, noise: str, grad_free: bool
) -> None:
    case = _Case(method, calculus, noise, grad_free, adaptive=True)
    fields, steps, states = Fields.of(case.equation), case.steps(), case.states()
    for draw in (0.0, 0.7):
        index = [i for i, step in enumerate(steps) if step[0].start <= 0.5 * draw][-1]
        step, state = steps[index], states[index]
        expected = case.scheme.error_ratio(fields, _rounded(step), state, case.rtol, case.atol)
        report, _ = _regularized(case, "error_estimate", [draw])
        assert report.sample.t.tolist() == [step[0].start]
        assert_within_rounding(report.sample.error_ratio.item(), expected)
        assert_within_rounding(report.sample.solver_error_ratio.item(), expected)
        assert_within_rounding(report.penalty.item(), 0.5 * expected)  # the weight cancels the size
        # The protocol's scale takes start and end, not both ends, and its own tolerances.
        loose, _ = _regularized(case, lrnde.PredictedSteps(0.3, 1e-2), [draw])
        ratio = case.scheme.error_ratio(fields, _rounded(step), state, 0.3, 1e-2)
        size = rounded(step[0].end) - rounded(step[0].start)
        order = _STRONG_ORDERS[method](noise) + 0.5
        assert_within_rounding(loose.penalty.item(), 0.5 / size * ratio ** (1 / order))


# Of Milstein and Rössler as published; Heun and its kin have order 1 where noise commutes.
_STRONG_ORDERS: dict[str, Callable[[str], float]] = {
    "euler": lambda noise: 1.0 if noise == "additive" else 0.5,
    "milstein": lambda noise: 1.0,
    "srk": lambda noise: 1.5,
    **dict.fromkeys(
        ("heun", "euler_heun", "midpoint", "log_ode", "reversible_heun"),
        lambda noise: 0.5 if noise == "general" else 1.0,
    ),
}


@pytest.mark.parametrize(("method", "calculus", "noise"), SCHEMES)
def test_error_ratio_goes_with_the_stated_power_of_the_step_size(method: str, calculus: str, noise: str) -> None:
    # The same noise in every size: its increments only scale.
    y0 = torch.randn(600, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    solve = lrnde.regularize(sdeint, heuristic=lrnde.ErrorEstimate(0.0, 1.0))
    ratios: list[float] = []
    for h in (1e-2, 2.5e-3):
        shape, areas = brownian(method, noise).shape[1], brownian(method, noise).levy_area_approximation
        motion = BrownianInterval(0.0, 2 * h, (600, shape), torch.float64, entropy=3, levy_area_approximation=areas)
        settings = {"bm": motion, "dt": h, "method": method}
        _, report = solve(Equation(calculus, noise), y0, [0.0, 2 * h], draw=[0.75], **settings)
        ratios.append(report.sample.error_ratio.item())
    order = math.log(ratios[0] / ratios[1]) / math.log(4)
    facts = TorchsdeAdapter().bind("torchsde:sdeint", sdeint, (Equation(calculus, noise), Y0, _TS), {"method": method})
    assert order == pytest.approx(facts.facts.error_order, abs=0.15)


def test_solver_error_ratio_is_the_number_the_controller_compared_with_one(monkeypatch: pytest.MonkeyPatch) -> None:
    case = _Case("heun", "stratonovich", "general", False, adaptive=True, rtol=1e-2, atol=1e-2)
    compared: list[float] = []
    compute_error = adaptive_stepping.compute_error

    def logged(*args: Any, **kwargs: Any) -> Any:
        compared.append(compute_error(*args, **kwargs))
        return compared[-1]

    monkeypatch.setattr(adaptive_stepping, "compute_error", logged)
    report, _ = _regularized(case, "error_estimate", [0.0])
    assert report.num_rejected > 0
    assert report.sample.solver_error_ratio.item() == next(ratio for ratio in compared if ratio <= 1)


@pytest.mark.parametrize(("method", "calculus", "noise", "grad_free"), _CASES)
def test_error_ratio_of_a_fixed_step_is_that_of_numpy_along_the_bridge(
    method: str, calculus: str, noise: str, grad_free: bool
) -> None:
    case = _Case(method, calculus, noise, grad_free, adaptive=False)
    fields, steps, states = Fields.of(case.equation), case.steps(), case.states()
    for draw, index in ((0.0, 0), (0.7, 2), (0.999, 3)):
        queries = _queries(_record(case, draw).carry.increments)
        assert (queries[0].start, queries[0].end) == (steps[index][0].start, steps[index][0].end)
        assert np.array_equal(queries[0].w, steps[index][0].w)
        expected = case.scheme.error_ratio(fields, _rounded(queries), states[index], 0.1, 1e-2)
        report, _ = _regularized(case, lrnde.ErrorEstimate(0.1, 1e-2), [draw])
        assert_within_rounding(report.sample.error_ratio.item(), expected)
        assert report.sample.solver_error_ratio is None
        assert_within_rounding(report.penalty.item(), 0.5 * expected)


_DIFFERENTIATED = [
    ("euler", "ito", "general"),
    ("milstein", "ito", "diagonal"),
    ("srk", "ito", "scalar"),
    ("srk", "ito", "additive"),
    ("milstein", "stratonovich", "scalar"),
    ("euler_heun", "stratonovich", "diagonal"),
    ("heun", "stratonovich", "general"),
    ("midpoint", "stratonovich", "additive"),
    ("log_ode", "stratonovich", "general"),
    ("reversible_heun", "stratonovich", "diagonal"),
]


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize(("method", "calculus", "noise"), _DIFFERENTIATED)
def test_local_gradient_is_that_of_numpy_along_a_fixed_path_under_every_adjoint(
    method: str, calculus: str, noise: str, adaptive: bool
) -> None:
    case = _Case(method, calculus, noise, False, adaptive, rtol=0.1, atol=3e-2)
    record = _record(case, 0.5)
    queries = _rounded(_queries(record.carry.increments))
    state = (rounded(record.y[0]), rounded(record.carry.hidden))
    fields = Fields.of(case.equation)

    def penalty(name: str) -> Callable[[Any], Any]:
        return lambda value: (
            0.5 * case.scheme.error_ratio(dataclasses.replace(fields, **{name: value}), queries, state, 0.1, 3e-2)
        )

    gradients: list[tuple[torch.Tensor, ...]] = []
    for solve in (sdeint, sdeint_adjoint):
        y0 = Y0.clone().requires_grad_()
        report, equation = _regularized(case, lrnde.ErrorEstimate(0.1, 3e-2), [0.5], solve, y0=y0)
        *by_parameters, by_y0 = torch.autograd.grad(
            report.penalty, [equation.drift, equation.diffusion, y0], allow_unused=True
        )
        assert by_y0 is None
        gradients.append(tuple(by_parameters))
    assert all(map(torch.equal, *gradients))
    assert_gradient_within_rounding(gradients[0][0], fields.drift, penalty("drift"))
    assert_gradient_within_rounding(gradients[0][1], fields.diffusion, penalty("diffusion"))


@pytest.mark.parametrize(("method", "calculus", "noise"), [_DIFFERENTIATED[i] for i in (0, 1, 2, 6, 9)])
def test_full_gradient_is_that_of_the_whole_solve_with_steps_held_fixed(method: str, calculus: str, noise: str) -> None:
    case = _Case(method, calculus, noise, False, adaptive=False)
    queries = _rounded(_queries(_record(case, 0.7).carry.increments))
    equation = case.equation
    values = {"drift": equation.drift, "diffusion": equation.diffusion, "y0": Y0.clone().requires_grad_()}

    def penalty(name: str) -> Callable[[Any], Any]:
        def function(value: Any) -> Any:
            given = {key: rounded(tensor.detach()) for key, tensor in values.items()} | {name: value}
            fields = Fields(noise, given["drift"], given["diffusion"])
            state = case.states(fields, given["y0"])[2]
            return 0.5 * case.scheme.error_ratio(fields, queries, state, 0.1, 1e-2)

        return function

    solve = lrnde.regularize(sdeint, heuristic=lrnde.ErrorEstimate(0.1, 1e-2), gradient="full")
    _, report = solve(equation, values["y0"], _TS, draw=[0.7], **case.settings)
    gradients = torch.autograd.grad(report.penalty, list(values.values()))
    for (name, tensor), gradient in zip(values.items(), gradients, strict=True):
        assert_gradient_within_rounding(gradient, tensor.detach(), penalty(name))


@pytest.mark.parametrize("adaptive", [False, True])
def test_full_gradient_has_the_value_of_the_local_one_and_reaches_the_initial_state(adaptive: bool) -> None:
    case = _Case("reversible_heun", "stratonovich", "general", False, adaptive)
    y0 = Y0.clone().requires_grad_()
    for heuristic in (lrnde.ErrorEstimate(0.1, 1e-2), lrnde.TaylorDerivative(2, at="step")):
        local, _ = _regularized(case, heuristic, [0.7])
        full, _ = _regularized(case, heuristic, [0.7], y0=y0, gradient="full")
        assert torch.equal(local.penalty, full.penalty)
        (by_y0,) = torch.autograd.grad(full.penalty, [y0])
        assert by_y0.abs().max() > 0


@pytest.mark.parametrize("functions", [("f", "g"), ("f_and_g",), ("f_and_g_prod",)])
@pytest.mark.parametrize("solve", [sdeint, sdeint_adjoint])
def test_taylor_derivative_is_that_of_the_drift_alone(solve: Any, functions: tuple[str, ...]) -> None:
    case = _Case("heun", "stratonovich", "general", False, adaptive=False)
    equation = Equation(case.calculus, case.noise, functions)
    fields, steps, states = Fields.of(equation), case.steps(), case.states()
    regularized = lrnde.regularize(solve, heuristic=lrnde.TaylorDerivative(2, at="step"))
    _, report = regularized(equation, Y0, _TS, draw=[0.7], **case.settings)

    def penalty(drift: Any) -> Any:
        second = dataclasses.replace(fields, drift=drift).acceleration(rounded(steps[2][0].start), states[2][0])
        return 0.5 * np.mean(second**2)

    assert_within_rounding(report.penalty.item(), penalty(fields.drift))
    by_drift, by_diffusion = torch.autograd.grad(
        report.penalty, [equation.drift, equation.diffusion], allow_unused=True
    )
    assert_gradient_within_rounding(by_drift, fields.drift, penalty)
    assert by_diffusion is None or not by_diffusion.any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("ts_dtype", [torch.float32, torch.float64])
def test_penalty_is_the_same_in_every_dtype_up_to_its_resolution(dtype: torch.dtype, ts_dtype: torch.dtype) -> None:
    case = _Case("midpoint", "stratonovich", "diagonal", False, adaptive=True)
    expected, _ = _regularized(case, "error_estimate", [0.6])
    equation = Equation(case.calculus, case.noise, dtype=dtype)
    exact: Any = case.settings["bm"]
    motion = BrownianInterval(0.0, 1.0, W=exact(0.0, 1.0).to(dtype), entropy=7)
    settings = {**case.settings, "bm": motion}
    ts = torch.tensor(_TS, dtype=ts_dtype)
    _, report = lrnde.regularize(sdeint, heuristic="error_estimate")(equation, Y0.to(dtype), ts, draw=[0.6], **settings)
    assert report.penalty.dtype == report.sample.error_ratio.dtype == dtype
    if dtype == torch.float64:  # noise of another dtype is other noise
        # Times of the other dtype are off by one rounding for each attempted step, over sizes that the weight tells of;
        # the error goes with the size to the power 1.5.
        relative = 1.5 * report.num_steps * report.sample.weight.item() * float(torch.finfo(ts_dtype).eps)
        assert report.penalty.item() == pytest.approx(expected.penalty.item(), rel=relative)
    assert 0 < report.penalty.item() < 10


# The bridge and fresh increments: one call with many channels is many samples of a law.
_NUM = 40_000
_AREA_KINDS = ["none", "space-time", "foster"]


def _increment(kind: str, h: float, channels: int = _NUM) -> tuple[BrownianInterval, Increment]:
    motion = BrownianInterval(
        0.0, 2.0, size=(1, channels), dtype=torch.float64, entropy=1, levy_area_approximation=kind
    )
    w = math.sqrt(h) * torch.randn(1, channels, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    area = torch.randn(1, channels, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    u = None if kind == "none" else h * (0.5 * w + math.sqrt(h / 12) * area)
    a = None if kind != "foster" else torch.zeros(1, channels, channels, dtype=torch.float64)
    return motion, Increment(0.3, 0.3 + h, w, u, a)


def _assert_normal(values: torch.Tensor, variance: float) -> None:
    """Mean 0 and the given variance, within five standard deviations of either estimate."""
    number = values.numel()
    assert abs(values.mean().item()) < 5 * math.sqrt(variance / number)
    assert abs(values.square().mean().item() / variance - 1) < 5 * math.sqrt(2 / number)


def _uncorrelated(left: torch.Tensor, right: torch.Tensor) -> bool:
    correlation = torch.corrcoef(torch.stack([left.reshape(-1), right.reshape(-1)]))[0, 1]
    return abs(correlation.item()) < 5 / math.sqrt(left.numel())


def _assert_sum(halved: Halved) -> None:
    """The increments of the halves, and with them the areas, add up to those of the whole.

    Torchsde makes them of at most a dozen terms, none of which is larger than the largest increment, in areas times the
    size; and where the halves meet is rounded.
    """
    whole, first, second = halved
    h, epsilon = whole.end - whole.start, float(torch.finfo(whole.w.dtype).eps)
    largest = max(part.w.abs().max().item() for part in halved)
    torch.testing.assert_close(first.w + second.w, whole.w, rtol=0, atol=12 * epsilon * largest)
    if whole.u is not None:
        assert first.u is not None
        assert second.u is not None
        total, atol = first.u + second.u + first.w * (h / 2), 12 * epsilon * largest * (h + abs(whole.end))
        torch.testing.assert_close(total, whole.u, rtol=0, atol=atol)


@pytest.mark.parametrize("kind", _AREA_KINDS)
@pytest.mark.parametrize("h", [0.5, 1e-4])
def test_halves_of_a_known_increment_are_a_brownian_bridge(kind: str, h: float) -> None:
    motion, whole = _increment(kind, h, 60 if kind == "foster" else _NUM)
    halved = Halved.bridged(motion, whole, seed=11)
    assert halved.whole is whole
    first, second = halved.first, halved.second
    middle = 0.5 * (whole.start + whole.end)
    assert [first.start, first.end, second.start, second.end] == [whole.start, middle, middle, whole.end]
    _assert_sum(halved)
    if kind == "none":
        assert first.u is second.u is None
        _assert_normal(first.w - whole.w / 2, h / 4)
        assert _uncorrelated(first.w - whole.w / 2, whole.w)
        return
    assert first.u is not None
    assert whole.u is not None
    if kind == "foster":
        assert first.a is not None
        torch.testing.assert_close(first.a, -first.a.mT)
        return
    # Given also the space-time area h (W / 2 + H): mean W / 2 + 3 H / 2, and variance h / 16 (Foster, Lyons and
    # Oberhauser, SIAM J. Numer. Anal. 58, 2020, theorem 3.4).
    area = whole.u / h - whole.w / 2
    residual = first.w - whole.w / 2 - 1.5 * area
    _assert_normal(residual, h / 16)
    assert _uncorrelated(residual, whole.w)
    assert _uncorrelated(residual, area)
    # And each half has the law of a space-time area of that size, variance (h / 2) / 12, apart from its increment.
    half_area = first.u / (h / 2) - first.w / 2
    _assert_normal(half_area, h / 24)
    assert _uncorrelated(half_area, first.w)


@pytest.mark.parametrize("kind", ["none", "space-time"])
def test_fresh_increments_are_brownian_and_not_those_of_the_path(kind: str) -> None:
    h = 0.01
    motion, like = _increment(kind, h)
    halved = Halved.fresh(motion, like, seed=11)
    whole, first, second = halved
    _assert_sum(halved)
    _assert_normal(whole.w, h)
    _assert_normal(first.w, h / 2)
    assert _uncorrelated(first.w, second.w)
    assert _uncorrelated(whole.w, like.w)
    if kind == "space-time":
        assert whole.u is not None
        _assert_normal(whole.u / h - whole.w / 2, h / 12)


@pytest.mark.parametrize("increment", ["path", "fresh"])
@pytest.mark.parametrize("adaptive", [False, True])
def test_penalty_is_a_function_of_path_and_draw(increment: Any, adaptive: bool) -> None:
    case = _Case("srk", "ito", "diagonal", False, adaptive)
    sampler = lrnde.UniformTime(increment=increment)
    first_step = case.steps()[0][0]
    inside = [0.3 * first_step.end / 0.5, 0.6 * first_step.end / 0.5]
    ratios = [
        _regularized(case, lrnde.ErrorEstimate(0.1, 1e-2), [draw], sampler=sampler)[0].sample.error_ratio.item()
        for draw in (*inside, *inside)
    ]
    assert ratios[:2] == ratios[2:]
    # The halves of an adaptive step are the path's; others are a bridge or an increment that the draw decides.
    assert (ratios[0] == ratios[1]) is (adaptive and increment == "path")
    fields, states = Fields.of(case.equation), case.states()
    queries = _queries(_record(case, inside[0], sampler).carry.increments)
    assert_within_rounding(ratios[0], case.scheme.error_ratio(fields, _rounded(queries), states[0], 0.1, 1e-2))
    assert np.array_equal(queries[0].w, first_step.w) is (increment == "path")


def test_a_draw_bridges_alike_under_both_solves_and_whatever_the_global_seeds() -> None:
    case = _Case("heun", "stratonovich", "general", False, adaptive=False)
    records: list[Record] = []
    for seed, solve in enumerate((sdeint, sdeint_adjoint)):
        torch.manual_seed(seed)
        np.random.seed(seed)
        records.append(_record(case, 0.5, solve=solve))
    for left, right in zip(*(record.carry.increments for record in records), strict=True):
        assert torch.equal(left.w, right.w)


def _mean_over_draws(case: _Case, heuristic: Any, steps: Sequence[Sequence[Query]]) -> float:
    """The mean penalty over all draws, each step by one draw, weighted."""
    mean = 0.0
    for step in steps:
        start, end = step[0].start, step[0].end
        reports = [
            _regularized(case, heuristic, [(start + share * (end - start)) / 0.5])[0] for share in (1e-9, 0.5, 1 - 1e-9)
        ]
        assert {report.sample.t.item() for report in reports} == {start}
        assert len({report.penalty.item() for report in reports}) == 1
        mean += (end - start) / 0.5 * reports[0].penalty.item()
    return mean


def test_uniform_time_sums_exactly_over_adaptive_steps() -> None:
    case = _Case("srk", "ito", "diagonal", False, adaptive=True, atol=1e-3)
    fields, steps, states = Fields.of(case.equation), case.steps(), case.states()
    assert len(steps) > 3
    costs = [
        (step[0].end - step[0].start) * case.scheme.error_ratio(fields, step, state, case.rtol, case.atol)
        for step, state in zip(map(_rounded, steps), states, strict=False)
    ]
    assert_within_rounding(_mean_over_draws(case, "error_estimate", steps), sum(costs))


def test_uniform_time_sums_exactly_over_fixed_steps() -> None:
    case = _Case("milstein", "ito", "scalar", False, adaptive=False)
    fields, steps, states = Fields.of(case.equation), case.steps(), case.states()
    costs = [
        (step[0].end - step[0].start) * np.mean(fields.acceleration(step[0].start, state[0]) ** 2)
        for step, state in zip(map(_rounded, steps), states, strict=False)
    ]
    heuristic = lrnde.TaylorDerivative(2, at="step")
    assert_within_rounding(_mean_over_draws(case, heuristic, steps), sum(costs))


def test_uniform_step_draws_each_step_equally_often() -> None:
    case = _Case("heun", "stratonovich", "diagonal", False, adaptive=True, atol=1e-3)
    number = 4000
    adapter = TorchsdeAdapter()
    call = adapter.bind("torchsde:sdeint", sdeint, (case.equation, Y0, _TS), case.settings)
    uniforms = torch.rand(number, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    draws: list[Draw] = adapter.check_draw(uniforms, number)
    penalty = LocalPenalty(lrnde.ErrorEstimate(), lrnde.UniformStep(), call.facts)
    run = call.run(RecordingPlan(penalty, draws, None, keeps_gradient=False))
    assert run.recording is not None
    starts = [step[0].start for step in case.steps()]
    drawn: list[float] = [record.t for record in run.recording.records]
    counts = np.array([drawn.count(start) for start in starts])
    assert counts.sum() == number
    expected = number / len(starts)
    assert ((counts - expected) ** 2 / expected).sum() < len(starts) - 1 + 4 * math.sqrt(2 * (len(starts) - 1))
    assert all(lrnde.UniformStep().weight(record.drawn) == len(starts) for record in run.recording.records[:9])
