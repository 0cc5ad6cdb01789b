"""The solution and the gradient of the task loss are those of the bare call, to the last bit."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix as optx
import pytest

import lrnde

PID = diffrax.PIDController(rtol=1e-5, atol=1e-7)
SOLVE = lrnde.regularize(diffrax.diffeqsolve, heuristic=lrnde.ErrorEstimate())
DRAW = jnp.asarray([0.6])


def _event(root_finder: Any = None) -> diffrax.Event:
    return diffrax.Event(_crosses, root_finder)


def _crosses(t: Any, y: Any, args: Any, **kwargs: Any) -> Any:
    return y[0] - 0.6


def _sum_state(t: Any, y: Any, args: Any) -> Any:
    return {"sum": y.sum(), "t": t}


NEWTON = optx.Newton(1e-8, 1e-8)
# In double precision like the states of the tests, since `SaveAt` makes arrays of times here.
with jax.enable_x64(True):
    SUBS = (diffrax.SubSaveAt(ts=jnp.linspace(1, -0.5, 5)), {"end": diffrax.SubSaveAt(t1=True, fn=_sum_state)})
    CASES: list[tuple[str, Any, dict[str, Any]]] = [
        ("ralston_event", diffrax.Ralston(), {"saveat": diffrax.SaveAt(steps=2, t1=True), "event": _event()}),
        (
            "bosh3_dense",
            diffrax.Bosh3(),
            {
                "saveat": diffrax.SaveAt(
                    steps=True, dense=True, solver_state=True, controller_state=True, made_jump=True
                ),
                "max_steps": 64,
            },
        ),
        (
            "subs_half_backward",
            diffrax.HalfSolver(diffrax.Heun()),
            {"span": (1.0, -0.5), "saveat": diffrax.SaveAt(subs=SUBS)},
        ),
        ("kvaerno3", diffrax.Kvaerno3(), {}),
        (
            "event_root",
            diffrax.Bosh3(),
            {
                "event": _event(NEWTON),
                "saveat": diffrax.SaveAt(t0=True, t1=True, ts=jnp.linspace(0, 1, 9), steps=True),
                "max_steps": 64,
            },
        ),
        ("max_steps", diffrax.Heun(), {"max_steps": 3, "throw": False}),
        ("forward_mode", diffrax.Heun(), {"adjoint": diffrax.ForwardMode()}),
    ]


def _solve(solve: Any, term: Any, solver: Any, y0: Any, args: Any, options: dict[str, Any]) -> Any:
    options = {"stepsize_controller": PID, **options}
    return solve(term, solver, *options.pop("span", (0.0, 1.0)), None, y0, args, **options)


@pytest.mark.parametrize(("solver", "options"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_solution_is_bit_identical(term, y0, shift, assert_same, solver, options):
    expected = _solve(diffrax.diffeqsolve, term, solver, y0, shift, options)
    solution, report = _solve(SOLVE, term, solver, y0, shift, {**options, "draw": DRAW})
    assert_same(solution, expected)
    assert (report.penalty > 0) == (options.get("max_steps") != 3)
    assert report.num_steps == expected.stats["num_steps"]
    for count in (report.nfe, report.nfe_extra, *report[3:6]):
        assert count is None or jnp.result_type(count) == jnp.int32


with jax.enable_x64(True):
    GRADIENT_CASES: list[tuple[str, Any, dict[str, Any]]] = [
        (
            "pid_clip",
            diffrax.Bosh3(),
            {
                "stepsize_controller": diffrax.ClipStepSizeController(
                    diffrax.PIDController(rtol=1e-5, atol=1e-7, pcoeff=0.3, icoeff=0.4),
                    step_ts=[0.25],
                    jump_ts=[0.5],
                    store_rejected_steps=10,
                )
            },
        ),
        ("direct", diffrax.Tsit5(), {"adjoint": diffrax.DirectAdjoint(), "max_steps": 16}),
        (
            "backsolve_ts",
            diffrax.Heun(),
            {
                "adjoint": diffrax.BacksolveAdjoint(solver=diffrax.Heun()),
                "saveat": diffrax.SaveAt(t0=True, ts=jnp.linspace(0.1, 0.9, 3)),
                "stepsize_controller": diffrax.ClipStepSizeController(PID, jump_ts=[0.5]),
            },
        ),
    ]


@eqx.filter_jit
def _task_gradient(problem: Any, solver: Any, options: Any, *, is_recorded: bool) -> Any:
    def loss(problem: Any) -> Any:
        term, y0, args = problem
        if is_recorded:
            solution, _ = _solve(SOLVE, term, solver, y0, args, {**options, "draw": DRAW})
        else:
            solution = _solve(diffrax.diffeqsolve, term, solver, y0, args, options)
        return jnp.sum(jnp.where(jnp.isfinite(solution.ys), solution.ys, 0.0) ** 2), solution

    return eqx.filter_grad(loss, has_aux=True)(problem)


@pytest.mark.parametrize(
    ("solver", "options"), [case[1:] for case in GRADIENT_CASES], ids=[case[0] for case in GRADIENT_CASES]
)
def test_solution_and_task_gradient_are_bit_identical(term, y0, shift, assert_same, solver, options):
    problem = (term, y0, shift)
    expected = _task_gradient(problem, solver, options, is_recorded=False)
    assert_same(_task_gradient(problem, solver, options, is_recorded=True), expected)


def _tree_field(t: Any, y: Any, args: Any) -> Any:
    return {"a": jnp.tanh(y["b"] * args), "b": -y["a"] + t}


def test_tree_state_in_single_precision_and_eager_mode(assert_same):
    y0 = {"a": jnp.ones((2, 2), jnp.float32), "b": jnp.full((2, 2), 0.5, jnp.float32)}
    t0, t1, dt0, scale = (jnp.asarray(value, jnp.float32) for value in (0.0, 1.0, 0.1, 6.0))
    arguments = (diffrax.ODETerm(_tree_field), diffrax.Heun(), t0, t1, dt0, y0, scale)
    # Steps so long that single precision resolves their errors.
    controller = diffrax.PIDController(rtol=1e-3, atol=1e-4)
    expected = diffrax.diffeqsolve(*arguments, stepsize_controller=controller)
    solution, report = SOLVE(*arguments, stepsize_controller=controller, key=jax.random.key(0))
    assert_same(solution, expected)
    assert jnp.result_type(report.penalty) == jnp.float32
    assert report.penalty > 0


def test_resumed_solve_returns_the_states_of_the_user(term, y0, shift, assert_same):
    saveat = diffrax.SaveAt(t1=True, solver_state=True, controller_state=True, made_jump=True)
    controller = diffrax.ClipStepSizeController(PID, jump_ts=[0.4, 0.8])

    arguments, options = (term, diffrax.Bosh3()), {"stepsize_controller": controller, "saveat": saveat}
    # What a solve hands over is the bare one's, as `bosh3_dense` holds.
    first, _ = SOLVE(*arguments, 0.0, 0.4, None, y0, shift, draw=DRAW, **options)
    state = {name: getattr(first, name) for name in ("solver_state", "controller_state", "made_jump")}
    rest = (*arguments, 0.4, 1.0, 0.05, first.ys[-1], shift)
    solution, _ = SOLVE(*rest, draw=DRAW, **options, **state)
    assert_same(solution, diffrax.diffeqsolve(*rest, **options, **state))


def test_without_penalty_nothing_but_the_solve_runs(term, y0, shift, assert_same):
    arguments = (term, diffrax.Bosh3(), 0.0, 1.0, None, y0, shift)
    solution, report = SOLVE(*arguments, stepsize_controller=PID, penalize=False)
    assert_same(solution, diffrax.diffeqsolve(*arguments, stepsize_controller=PID))
    assert report.penalty == 0
    assert jnp.result_type(report.penalty) == jnp.float64
    assert report.nfe == 1 + 3 * report.num_steps
    assert report.nfe_extra == 0
    fixed = (term, diffrax.Bosh3(), 0.0, 1.0, 0.1, y0, shift)
    solution, report = SOLVE(*fixed, penalize=False)
    assert_same(solution, diffrax.diffeqsolve(*fixed))
    assert report.nfe == 31


def _relax(t: Any, y: Any, args: Any) -> Any:
    return args - y**3 - y


def test_steady_states_by_the_implicit_adjoint(assert_same):
    # The bare call fails where promotion is strict: in its derivative, diffrax multiplies the time by an integer
    # direction (`WrapTerm`), outside of the context in which `diffeqsolve` promotes.
    @jax.numpy_dtype_promotion("standard")
    @eqx.filter_jit
    def value_and_gradient(args, *, is_recorded):
        def loss(args):
            options = {
                "stepsize_controller": diffrax.PIDController(rtol=1e-6, atol=1e-8),
                "event": diffrax.Event(diffrax.steady_state_event()),
                "adjoint": diffrax.ImplicitAdjoint(),
            }
            arguments = (diffrax.ODETerm(_relax), diffrax.Heun(), 0.0, 100.0, None, jnp.zeros(2), args)
            if is_recorded:
                solution, report = SOLVE(*arguments, **options, draw=DRAW)
                return solution.ys.sum(), (solution, report)
            solution = diffrax.diffeqsolve(*arguments, **options)
            return solution.ys.sum(), (solution, None)

        return jax.value_and_grad(loss, has_aux=True)(args)

    (_, (expected, _)), expected_gradient = value_and_gradient(jnp.asarray([0.5, 1.0]), is_recorded=False)
    (_, (solution, report)), gradient = value_and_gradient(jnp.asarray([0.5, 1.0]), is_recorded=True)
    assert_same((solution, gradient), (expected, expected_gradient))
    assert report.penalty > 0
