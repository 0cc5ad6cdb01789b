"""The wrapped call is the bare call: solution, gradients, noise and counts, to the last bit."""

import functools
import itertools
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torchsde import BrownianInterval

import lrnde
from tests.adapters.torchsde.problems import (
    SCHEMES,
    Y0,
    Equation,
    Query,
    Watched,
    attempts,
    brownian,
    sdeint,
    sdeint_adjoint,
)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:torchsde")
_HEURISTIC = lrnde.PredictedSteps(1e-3, 1e-3) + lrnde.TaylorDerivative(2, at="step")


class Case(NamedTuple):
    method: str
    calculus: str
    noise: str
    solve: Any = sdeint
    adaptive: bool = False
    ts: Any = (0.0, 0.4)
    dtype: torch.dtype = torch.float64
    functions: tuple[str, ...] = ("f", "g")
    settings: Any = None

    @property
    def native(self) -> dict[str, Any]:
        """A first step that is rejected if steps adapt, and a last one that is clipped if they do not."""
        steps = {"adaptive": True, "dt": 0.4, "rtol": 1e-2, "atol": 2e-2} if self.adaptive else {"dt": 0.15}
        return {"method": self.method, **steps, **(self.settings or {})}

    @property
    def equation(self) -> Equation:
        names = {"f": "mu", "g": "sigma"} if "names" in self.native else None
        return Equation(self.calculus, self.noise, self.functions, names, self.dtype)

    @property
    def times(self) -> Any:
        return self.ts if isinstance(self.ts, torch.Tensor) else list(self.ts)

    @property
    def motion(self) -> BrownianInterval:
        extra = int(self.native.get("logqp", False) and self.noise == "diagonal")
        return brownian(self.method, self.noise, dtype=self.dtype, extra_channels=extra)


class Outcome(NamedTuple):
    solution: list[torch.Tensor]
    gradients: list[torch.Tensor]
    random: tuple[Any, ...]
    log: list[Query]
    num_evaluations: tuple[int, int]


def _run(case: Case, motion: Any, call: Callable[..., Any]) -> tuple[Outcome, Any]:
    """A solve and the gradient of a task loss: through `call`, which returns the native result and a report."""
    equation = case.equation
    y0 = Y0.to(case.dtype).clone().requires_grad_()
    torch.manual_seed(3)
    np.random.seed(3)  # torchsde's own source of randomness
    result, report = call(equation, y0, case.times, bm=motion, **case.native)
    random = torch.get_rng_state(), np.random.get_state()[1].tolist()
    num_evaluations = equation.num_drift, equation.num_diffusion
    solution = _tensors(result)
    loss: Any = sum(
        (part * torch.linspace(-1, 1.5, part.numel(), dtype=part.dtype).view_as(part)).sum() for part in solution
    )
    inputs = [equation.drift, equation.diffusion, y0]
    gradients = torch.autograd.grad(loss, inputs, allow_unused=True, materialize_grads=True)
    log = motion.log if isinstance(motion, Watched) else []
    return Outcome([part.detach() for part in solution], list(gradients), random, log, num_evaluations), report


def _tensors(result: Any) -> list[torch.Tensor]:
    return [result] if isinstance(result, torch.Tensor) else [leaf for part in result for leaf in _tensors(part)]


def _assert_same(left: Outcome, right: Outcome) -> None:
    assert all(map(torch.equal, left.solution, right.solution))
    assert all(map(torch.equal, left.gradients, right.gradients))
    assert torch.equal(left.random[0], right.random[0])
    assert left.random[1] == right.random[1]


def _check(case: Case, *, has_exact_steps: bool = True) -> Any:
    """Compare the bare call with penalised and silent ones; its queries count the steps independently."""
    watched = Watched(case.motion)
    bare, _ = _run(case, watched, lambda *args, **kwargs: (case.solve(*args, **kwargs), None))
    forward = watched.log[: _num_forward(case)]
    regularized = lrnde.regularize(case.solve, heuristic=_HEURISTIC)
    totals: list[int] = []

    def penalized(equation: Equation, *args: Any, **kwargs: Any) -> Any:
        result = regularized(equation, *args, draw=[0.6], **kwargs)
        totals.append(equation.num_evaluations)
        return result

    for motion in (Watched(case.motion), case.motion):
        outcome, report = _run(case, motion, penalized)
        _assert_same(outcome, bare)
        if isinstance(motion, Watched):
            assert [query[:3] for query in outcome.log] == [query[:3] for query in bare.log]
        assert (report.nfe, report.nfe_diffusion) == (sum(bare.num_evaluations), bare.num_evaluations[1])
        assert report.nfe + report.nfe_extra == totals[-1]
        assert report.penalty.dtype == case.dtype
        assert torch.isfinite(report.penalty)
        assert report.penalty > 0
        if has_exact_steps:
            accepted = [is_accepted for _, is_accepted in attempts(forward)] if case.adaptive else [True] * len(forward)
            counts = report.num_steps, report.num_accepted, report.num_rejected
            assert counts == (len(accepted), sum(accepted), len(accepted) - sum(accepted))
    silent, quiet = _run(case, case.motion, functools.partial(regularized, penalize=False))
    _assert_same(silent, bare)
    assert silent.num_evaluations == bare.num_evaluations
    assert (quiet.nfe, quiet.nfe_extra, quiet.penalty.item(), quiet.sample) == (sum(bare.num_evaluations), 0, 0, None)
    return report


def _num_forward(case: Case) -> int:
    """How often the forward solve alone asks its motion."""
    watched = Watched(case.motion)
    with torch.no_grad():
        sdeint(case.equation, Y0.to(case.dtype), case.times, bm=watched, **_forward_only(case.native))
    return len(watched.log)


def _forward_only(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if not name.startswith("adjoint")}


@pytest.mark.parametrize("adaptive", [False, True], ids=["fixed", "adaptive"])
@pytest.mark.parametrize("solve", [sdeint, sdeint_adjoint])
@pytest.mark.parametrize(("method", "calculus", "noise"), SCHEMES)
def test_wrapped_call_is_the_bare_call_with_exact_counts(
    method: str, calculus: str, noise: str, solve: Any, adaptive: bool
) -> None:
    report = _check(Case(method, calculus, noise, solve, adaptive))
    assert (report.num_rejected > 0) is adaptive
    assert (report.num_forced is None) is not adaptive


CASES: dict[str, Case] = {
    "times": Case("euler", "ito", "diagonal", ts=(0.0, 0.11, 0.3, 0.37)),
    "times-adaptive": Case("heun", "stratonovich", "general", adaptive=True, ts=(0.0, 0.11, 0.3, 0.37)),
    "times-adjoint": Case("midpoint", "stratonovich", "scalar", sdeint_adjoint, ts=(0.0, 0.1, 0.3)),
    "times-tensor": Case("milstein", "ito", "scalar", ts=torch.tensor([0.0, 0.2, 0.4], dtype=torch.float64)),
    "times-float32": Case("srk", "ito", "diagonal", adaptive=True, ts=torch.tensor([0.0, 0.2, 0.4])),
    "times-integers": Case("euler", "ito", "general", ts=torch.tensor([0, 1])),
    "float32": Case("srk", "ito", "additive", adaptive=True, dtype=torch.float32),
    "float32-double-times": Case(
        "midpoint", "stratonovich", "general", sdeint_adjoint, ts=torch.tensor([0.0, 0.4]).double(), dtype=torch.float32
    ),
    "extra": Case("reversible_heun", "stratonovich", "general", settings={"extra": True}),
    "extra-adjoint": Case("reversible_heun", "stratonovich", "diagonal", sdeint_adjoint, settings={"extra": True}),
    "logqp-diagonal": Case("srk", "ito", "diagonal", settings={"logqp": True}),
    "logqp-diagonal-adaptive": Case("milstein", "ito", "diagonal", adaptive=True, settings={"logqp": True}),
    "logqp-general": Case("euler", "ito", "general", settings={"logqp": True}),
    "logqp-adjoint": Case("heun", "stratonovich", "additive", sdeint_adjoint, settings={"logqp": True, "extra": True}),
    "names": Case("milstein", "ito", "diagonal", settings={"names": {"drift": "mu", "diffusion": "sigma"}}),
    "names-adjoint": Case(
        "euler_heun",
        "stratonovich",
        "scalar",
        sdeint_adjoint,
        adaptive=True,
        settings={"names": {"drift": "mu", "diffusion": "sigma"}},
    ),
    "gradient-free": Case("milstein", "ito", "diagonal", adaptive=True, settings={"options": {"grad_free": True}}),
    "gradient-free-scalar": Case("milstein", "stratonovich", "scalar", settings={"options": {"grad_free": True}}),
    "gradient-free-additive": Case("milstein", "ito", "additive", settings={"options": {"grad_free": True}}),
    "adjoint-settings": Case(
        "milstein",
        "stratonovich",
        "diagonal",
        sdeint_adjoint,
        settings={"adjoint_method": "heun", "adjoint_adaptive": True, "adjoint_rtol": 1e-3, "adjoint_atol": 1e-3},
    ),
    **{
        "+".join((*functions, solve.__name__, method)): Case(
            method, "stratonovich" if method == "heun" else "ito", "general", solve, adaptive, functions=functions
        )
        for (functions, method, adaptive), solve in itertools.product(
            [
                (("f_and_g",), "euler", True),
                (("f", "g", "g_prod"), "heun", False),
                (("f_and_g", "f_and_g_prod"), "heun", True),
                (("f_and_g_prod",), "euler", False),
                (("f", "g_prod"), "heun", True),
                (("f", "g", "f_and_g", "g_prod", "f_and_g_prod"), "heun", False),
            ],
            [sdeint, sdeint_adjoint],
        )
        # The adjoint of an Ito equation asks for drift and diffusion themselves.
        if not (solve is sdeint_adjoint and functions == ("f_and_g_prod",))
    },
}


@pytest.mark.parametrize("name", list(CASES))
def test_every_way_of_calling_is_the_bare_call(name: str) -> None:
    _check(CASES[name])


def test_extra_state_carries_a_solve_on() -> None:
    # Where z differs from y: a local step that restarted z at y would have another error.
    method, noise = "reversible_heun", "diagonal"
    equation, motion = Equation("stratonovich", noise), brownian(method, noise)
    settings = {"bm": motion, "dt": 0.1, "method": method, "extra": True}
    ys, state = sdeint(equation, Y0, [0.0, 0.5], **settings)
    bare, _ = sdeint(equation, ys[-1], [0.5, 1.0], extra_solver_state=state, **settings)
    solve = lrnde.regularize(sdeint, heuristic=lrnde.ErrorEstimate(1e-3, 1e-3))
    (carried, _), report = solve(equation, ys[-1], [0.5, 1.0], extra_solver_state=state, draw=[0.0], **settings)
    assert torch.equal(carried, bare)
    _, restarted = solve(equation, ys[-1], [0.5, 1.0], draw=[0.0], **settings)
    assert report.sample.error_ratio.item() != pytest.approx(restarted.sample.error_ratio.item(), rel=1e-3)


@pytest.mark.parametrize("solve", [sdeint, sdeint_adjoint])
@pytest.mark.parametrize("adaptive", [False, True])
def test_the_motion_answers_later_as_after_the_bare_call(solve: Any, adaptive: bool) -> None:
    case = Case("midpoint", "stratonovich", "general", solve, adaptive)
    motions = [case.motion, case.motion]
    solve(case.equation, Y0, [0.0, 0.4], bm=motions[0], **case.native)
    regularized = lrnde.regularize(solve, heuristic=lrnde.ErrorEstimate(1e-3, 1e-3), num_samples=3)
    regularized(case.equation, Y0, [0.0, 0.4], bm=motions[1], draw=[0.1, 0.5, 0.9], **case.native)
    for times in ((0.05, 0.33), (0.0, 1.0), (0.017, 0.021)):
        assert torch.equal(motions[0](*times), motions[1](*times))


def test_motion_and_draw_come_from_the_documented_sources_alone() -> None:
    # Without `bm` torchsde draws a seed from numpy; without `draw` the penalty draws `torch.rand(num_samples)` first.
    equation = Equation("ito", "diagonal", ("f", "g", "g_prod"))
    solve = lrnde.regularize(sdeint, num_samples=3)

    def run(call: Callable[..., Any], num_drawn: int, **given: Any) -> tuple[torch.Tensor, Any, Any]:
        torch.manual_seed(5)
        np.random.seed(5)
        torch.rand(num_drawn)
        result = call(equation, Y0, [0.0, 0.3], dt=0.1, **given)
        solution = result if isinstance(result, torch.Tensor) else result[0]
        return solution, torch.get_rng_state(), torch.tensor(np.random.get_state()[1].astype(int))

    for source in ({"draw": [0.1, 0.2, 0.9]}, {"generator": torch.Generator()}, {"penalize": False}):
        assert all(map(torch.equal, run(solve, 0, **source), run(sdeint, 0)))
    assert all(map(torch.equal, run(solve, 0), run(sdeint, 3)))


@pytest.mark.parametrize("num_samples", [1, 3])
@pytest.mark.parametrize("functions", [("f", "g"), ("f_and_g",)])
@pytest.mark.parametrize(
    "heuristic", [lrnde.TaylorDerivative(3, at="step"), lrnde.ErrorEstimate(1e-3, 1e-3)], ids=["taylor", "error"]
)
def test_extra_evaluations_grow_with_the_samples(heuristic: Any, functions: tuple[str, ...], num_samples: int) -> None:
    equation = Equation("ito", "diagonal", functions)
    draws = [0.1, 0.5, 0.9][:num_samples]
    solve = lrnde.regularize(sdeint, heuristic=heuristic, num_samples=num_samples)
    _, report = solve(equation, Y0, [0.0, 0.5], dt=0.1, method="euler", bm=brownian("euler", "diagonal"), draw=draws)
    assert report.nfe + report.nfe_extra == equation.num_evaluations
    is_error = isinstance(heuristic, lrnde.ErrorEstimate)
    assert report.nfe_extra == num_samples * (4 if is_error else len(functions[0].split("_and_")))
    assert report.sample.t.shape == (num_samples,)


@pytest.mark.parametrize(("rtol", "dt", "dt_min"), [(1e-5, 0.3, 0.05), (1e-3, 0.001, 0.04), (3e-2, 0.3, 0.02)])
@pytest.mark.parametrize("solve", [sdeint, sdeint_adjoint])
def test_forced_steps_are_counted(solve: Any, rtol: float, dt: float, dt_min: float) -> None:
    equation, motion = Equation("stratonovich", "diagonal"), Watched(brownian("heun", "diagonal"))
    settings = {"adaptive": True, "dt": dt, "dt_min": dt_min, "rtol": rtol, "atol": rtol, "method": "heun"}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        solve(equation, Y0, [0.0, 1.0], bm=motion, **settings)
    num_warnings = len([warning for warning in caught if "minimum allowed step size" in str(warning.message)])
    if dt < dt_min:
        # torchsde also warns as it raises a first step that was too small, but accurate enough.
        num_warnings -= 1
    _, report = lrnde.regularize(solve)(
        equation, Y0, [0.0, 1.0], bm=brownian("heun", "diagonal"), draw=[0.5], **settings
    )
    assert report.num_forced == num_warnings
    accepted = [is_accepted for _, is_accepted in attempts(motion.log)]
    assert (report.num_steps, report.num_accepted) == (len(accepted), sum(accepted))


def test_a_warning_of_the_library_is_shown_once_as_in_the_bare_call() -> None:
    case = Case("reversible_heun", "stratonovich", "diagonal", sdeint_adjoint)
    regularized = lrnde.regularize(sdeint_adjoint)

    def call() -> None:
        regularized(case.equation, Y0, [0.0, 0.31], bm=case.motion, **case.native)

    call()  # what torch imports on first use changes the filters, after which Python shows all warnings anew
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            call()
    assert len([warning for warning in caught if "not an integer multiple" in str(warning.message)]) == 1


def test_double_backward_through_the_adjoint_is_that_of_the_bare_call() -> None:
    def second(call: Callable[..., Any]) -> list[torch.Tensor]:
        equation, y0 = Equation("stratonovich", "diagonal"), Y0.clone().requires_grad_()
        result = call(equation, y0, [0.0, 0.3], bm=brownian("midpoint", "diagonal"), dt=0.1, method="midpoint")
        solution = result if isinstance(result, torch.Tensor) else result[0]
        (first,) = torch.autograd.grad(solution[-1].square().sum(), y0, create_graph=True)
        return list(torch.autograd.grad(first.square().sum(), [y0, equation.drift, equation.diffusion]))

    bare = second(sdeint_adjoint)
    assert all(gradient.abs().max() > 0 for gradient in bare)
    for penalize in (True, False):
        assert all(
            map(torch.equal, second(functools.partial(lrnde.regularize(sdeint_adjoint), penalize=penalize)), bare)
        )


def test_solve_of_a_single_time_takes_no_step() -> None:
    equation = Equation("ito", "diagonal")
    bare = sdeint(equation, Y0, [0.5])
    num_bare, equation.num_drift, equation.num_diffusion = equation.num_evaluations, 0, 0
    for heuristic in (lrnde.TaylorDerivative(2, at="step"), lrnde.ErrorEstimate(1e-3, 1e-3)):
        solution, report = lrnde.regularize(sdeint, heuristic=heuristic)(equation, Y0, [0.5], draw=[0.3])
        assert torch.equal(solution, bare)
        assert report.penalty.item() == 0
        assert (report.nfe, report.nfe_extra, report.num_steps) == (num_bare, 0, 0)
        assert [report.sample.t.item(), report.sample.h.item(), report.sample.weight.item()] == [0.5, 0, 0]
    assert equation.num_evaluations == 2 * num_bare
