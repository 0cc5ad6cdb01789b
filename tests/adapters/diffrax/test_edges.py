"""Nothing poisons training, and every refusal says what would work."""

import functools
import re
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrnde

PID = diffrax.PIDController(rtol=1e-4, atol=1e-6)
SOLVE = lrnde.regularize(diffrax.diffeqsolve, heuristic=lrnde.ErrorEstimate() + lrnde.PredictedSteps())
DRAW = jnp.asarray([0.5])


def _scaled(t: Any, y: Any, args: Any) -> Any:
    return args * jnp.sqrt(y)


def _penalty(args: Any, y0: Any, t1: Any, **options: Any) -> Any:
    options = {"stepsize_controller": PID, "throw": False, "max_steps": 64, "draw": DRAW, **options}
    _, report = SOLVE(diffrax.ODETerm(_scaled), diffrax.Heun(), 0.0, t1, 0.1, y0, args, **options)
    return report.penalty, report


@pytest.mark.parametrize(
    ("y0", "t1", "options"),
    [(1.0, 0.0, {}), (-1.0, 1.0, {}), (1.0, 1.0, {"max_steps": 1}), (jnp.nan, 1.0, {})],
    ids=["no_time", "nan_field", "max_steps", "nan_state"],
)
def test_solve_without_a_valid_step_has_penalty_and_gradient_exactly_zero(y0, t1, options):
    gradient, report = jax.grad(_penalty, has_aux=True)(jnp.asarray(0.7), jnp.full(2, y0), jnp.asarray(t1), **options)
    assert report.penalty == 0
    assert gradient == 0
    assert report.nfe_extra == 0
    assert report.sample.h[0] == 0
    assert report.sample.weight[0] == 0
    assert not any(jnp.isnan(entry).any() for entry in jax.tree.leaves(report))


def test_failed_samples_of_a_batch_leave_the_others_alone():
    y0 = jnp.asarray([[1.0, 2.0], [-1.0, 1.0], [1.5, 0.5], [jnp.nan, 1.0]])

    def total(args):
        penalties, _ = jax.vmap(lambda y0: _penalty(args, y0, jnp.asarray(1.0)))(y0)
        return penalties.sum(), penalties

    gradient, penalties = jax.jit(jax.grad(total, has_aux=True))(jnp.asarray(0.7))
    expected = [jax.value_and_grad(_penalty, has_aux=True)(jnp.asarray(0.7), y0[i], jnp.asarray(1.0)) for i in (0, 2)]
    np.testing.assert_allclose(gradient, sum(gradient for _, gradient in expected), rtol=1e-9)
    np.testing.assert_allclose(penalties[jnp.asarray([0, 2])], [value for (value, _), _ in expected], rtol=1e-9)
    assert penalties[1] == penalties[3] == 0


def test_local_step_that_is_not_finite_has_gradient_exactly_zero():
    solve = lrnde.regularize(diffrax.diffeqsolve, heuristic=lrnde.TaylorDerivative(2))

    def penalty(args):
        controller = diffrax.PIDController(rtol=1e-4, atol=1e-6)
        term = diffrax.ODETerm(lambda t, y, args: args * jnp.abs(t - 0.5) ** 0.5 + y)
        _, report = solve(
            term, diffrax.Heun(), 0.5, 1.0, 0.1, jnp.ones(1), args, stepsize_controller=controller, draw=jnp.zeros(1)
        )
        return report.penalty, report

    gradient, report = jax.grad(penalty, has_aux=True)(jnp.asarray(0.7))
    assert report.num_accepted > 0
    assert report.penalty == 0
    assert gradient == 0


@pytest.mark.parametrize("solver", [diffrax.Heun(), diffrax.ReversibleHeun()])
@pytest.mark.parametrize("heuristic", [lrnde.TaylorDerivative(2, at="step"), lrnde.ErrorEstimate()])
def test_members_without_a_step_leave_the_gradient_of_the_others(solver: Any, heuristic: Any) -> None:
    solve = lrnde.regularize(diffrax.diffeqsolve, heuristic=heuristic)
    controller = diffrax.PIDController(rtol=1e-3, atol=1e-3)
    # Without a derivative at 1, which is no state of any solve.
    term = diffrax.ODETerm(lambda t, y, args: args * jnp.sqrt(1 - y))

    def penalty(args: Any, y0: Any, t1: Any) -> Any:
        report = solve(term, solver, 0.0, t1, 0.05, y0, args, stepsize_controller=controller, draw=DRAW)[1]
        return report.penalty

    def total(args: Any, ends: list[float]) -> Any:
        y0 = jnp.asarray([[0.2, 0.3], [0.1, 0.15]], jnp.float32)[: len(ends)]
        return jax.vmap(penalty, (None, 0, 0))(args, y0, jnp.asarray(ends, jnp.float32)).sum()

    gradient = jax.grad(total)
    args = jnp.asarray(1.0, jnp.float32)
    alone = gradient(args, [1.0])
    assert alone != 0
    np.testing.assert_allclose(gradient(args, [1.0, 0.0]), alone, rtol=16 * np.finfo(np.float32).eps)


def _call(term: Any = None, solver: Any = None, y0: Any = None, heuristic: Any = None, **options: Any) -> Any:
    settings = {name: options.pop(name) for name in ("sampler", "gradient") if name in options}
    solve = lrnde.regularize(diffrax.diffeqsolve, heuristic=heuristic or lrnde.ErrorEstimate(), **settings)
    options = {"stepsize_controller": PID, "draw": DRAW, **options}
    term, args = diffrax.ODETerm(_scaled) if term is None else term, options.pop("args", 0.5)
    return solve(term, solver or diffrax.Tsit5(), 0.0, 1.0, 0.1, jnp.ones(2) if y0 is None else y0, args, **options)


CONTROL = diffrax.ControlTerm(lambda t, y, args: y[:, None], lambda t0, t1: jnp.asarray([t1 - t0]))
RESTARTED = lrnde.UniformTime(local_start="sample")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"stepsize_controller": diffrax.ConstantStepSize()}, r"ErrorEstimate\(rtol=1e-3, atol=1e-3\)"),
        ({"solver": diffrax.HalfSolver(diffrax.ReversibleHeun())}, "Tsit5"),
        ({"solver": diffrax.LeapfrogMidpoint()}, "HalfSolver|Tsit5"),
        ({"solver": diffrax.SemiImplicitEuler(), "term": (CONTROL, CONTROL)}, "Tsit5"),
        ({"solver": diffrax.Euler()}, r"HalfSolver\(diffrax.Euler\(\)\)"),
        ({"y0": jnp.ones(2, complex)}, "`y0` holds complex numbers.*real and imaginary"),
        ({"args": {"multiplier": jnp.ones(2, complex)}}, "`args` holds complex numbers.*real and imaginary"),
        ({"term": diffrax.ODETerm(jax.tree_util.Partial(_scaled, args=1j))}, "`terms` holds complex numbers"),
        ({"solver": diffrax.Bosh3(), "heuristic": lrnde.StiffnessEstimate()}, "Dopri8"),
        ({"solver": diffrax.HalfSolver(diffrax.Tsit5()), "heuristic": lrnde.StiffnessEstimate()}, "ErrorEstimate"),
        ({"term": CONTROL, "heuristic": lrnde.TaylorDerivative(2)}, r"term\.to_ode\(\)"),
        ({"term": CONTROL, "sampler": RESTARTED}, r"term\.to_ode\(\)"),
        ({"solver": diffrax.Kvaerno3(), "sampler": RESTARTED}, 'local_start="step"'),
        ({"adjoint": diffrax.BacksolveAdjoint(), "gradient": "full"}, 'silently 0.*gradient="local"'),
        ({"adjoint": diffrax.ImplicitAdjoint(), "gradient": "full"}, "RecursiveCheckpointAdjoint"),
    ],
)
def test_refusals_say_what_would_work(options, match):
    with pytest.raises(lrnde.CapabilityError, match=match):
        _call(**options)


def test_point_heuristics_work_with_solvers_that_have_memory():
    _, report = _call(solver=diffrax.ReversibleHeun(), heuristic=lrnde.TaylorDerivative(2))
    assert report.penalty > 0


def test_restarted_local_step_runs():
    _, report = _call(sampler=RESTARTED)
    assert report.penalty > 0


@pytest.mark.parametrize(
    ("draw", "error", "match"),
    [
        (0.5, lrnde.InputError, r"shape \(\).*shape \(1,\)"),
        ([0.1, 0.2], lrnde.InputError, r"needs shape \(1,\)"),
        ([1.0], lrnde.InputError, "below 1"),
        ([-0.1], lrnde.InputError, "at least 0"),
        ([jnp.nan], lrnde.InputError, "at least 0"),
        (["a"], lrnde.InputTypeError, "real numbers"),
    ],
)
def test_draws_are_checked(draw, error, match):
    with pytest.raises(error, match=match):
        _call(draw=draw)


def test_a_key_or_a_draw_is_needed():
    with pytest.raises(lrnde.InputTypeError, match="pass key= or draw=, or penalize=False"):
        _call(draw=None)


def test_traced_draws_are_clipped():
    report = jax.jit(lambda draw: _call(draw=draw)[1])(jnp.asarray([1.5]))
    assert abs(report.sample.t[0] + report.sample.h[0] - 1.0) < 1e-12


def test_unknown_arguments_raise_the_error_of_the_library():
    with pytest.raises(TypeError, match="stepsize"):
        _call(stepsize=1)


_ARGUMENTS: dict[str, Any] = {
    "terms": diffrax.ODETerm(_scaled),
    "solver": diffrax.Tsit5(),
    "t0": 0.0,
    "t1": 1.0,
    "dt0": 0.1,
    "y0": jnp.ones(2),
    "args": 0.5,
}


@pytest.mark.parametrize(
    "wrong", [{"event": lambda t, y, args, **kwargs: t > 0.5}, {"made_jump": "x"}, {"saveat": 3}, {"solver": None}]
)
def test_arguments_that_cannot_be_read_are_left_to_the_library(wrong):
    with pytest.raises(Exception) as bare:
        diffrax.diffeqsolve(**{**_ARGUMENTS, **wrong})
    with pytest.raises(type(bare.value), match=re.escape(str(bare.value))):
        lrnde.regularize(diffrax.diffeqsolve)(**{**_ARGUMENTS, **wrong}, draw=DRAW)


def test_what_is_no_key_is_refused():
    with pytest.raises(lrnde.InputTypeError, match=r"must be a key such as `jax.random.key\(0\)`, not 3"):
        _call(draw=None, key=3)
    with pytest.raises(lrnde.InputTypeError, match=r"not a `ArrayImpl` of shape \(3,\)"):
        _call(draw=None, key=jnp.ones(3))


@pytest.mark.parametrize("make", [jax.random.key, jax.random.PRNGKey])
def test_several_keys_are_refused_by_their_number(make: Any) -> None:
    with pytest.raises(lrnde.InputTypeError, match=r"`key` is an array of 8 keys, and a solve takes one.*`jax.vmap`"):
        _call(draw=None, key=jax.random.split(make(0), 8))


@pytest.mark.parametrize("wrap", [eqx.filter_jit, eqx.filter_vmap, jax.jit])
def test_a_compiled_solve_is_refused_as_what_wraps_the_solve(wrap: Any) -> None:
    with pytest.raises(lrnde.AdapterNotFoundError, match=r"^This `\w+` wraps `diffrax.*is not the solve itself: reg"):
        lrnde.regularize(wrap(diffrax.diffeqsolve))


def test_tolerances_below_the_dtype_warn_once():
    with jax.enable_x64(False), pytest.warns(lrnde.ResolutionWarning, match="float32") as record:
        _call(stepsize_controller=diffrax.PIDController(rtol=1.4e-8, atol=1.4e-8), throw=False, max_steps=8)
    assert len(record) == 1
    assert record[0].filename == __file__


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("sampler", [lrnde.UniformTime(), lrnde.AllSteps()])
def test_rounding_is_kept_where_it_is_asked_for(sampler):
    with jax.enable_x64(False):
        # The method integrates each of these exactly, with other roundings in each, and not all of them cancel.
        scales, controller = jnp.linspace(0.1, 3.0, 64), diffrax.PIDController(rtol=1e-6, atol=1e-6)
        solve = lrnde.regularize(diffrax.diffeqsolve, heuristic=lrnde.ErrorEstimate(rounding="keep"), sampler=sampler)

        def penalty(rate):
            term, key = diffrax.ODETerm(lambda t, y, args: rate * scales * t**3 + 0 * y), jax.random.key(0)
            settings = {"stepsize_controller": controller, "max_steps": 64, "key": key}
            return solve(term, diffrax.Dopri5(), 0.0, 1.0, 0.5, jnp.ones(64), **settings)[1].penalty

        value, slope = jax.value_and_grad(penalty)(jnp.ones(()))
    assert value > 0
    assert slope != 0


def test_collecting_is_refused():
    with lrnde.collect(), pytest.raises(lrnde.CapabilityError, match="jit"):
        _call()


@pytest.mark.parametrize(
    "wrong",
    [{"made_jump": 3}, {"saveat": diffrax.SaveAt, "adjoint": diffrax.BacksolveAdjoint()}, {"solver_state": 1.0}],
)
def test_a_call_that_diffrax_refuses_while_it_solves_is_refused_in_its_own_words(wrong: dict[str, Any]) -> None:
    term = diffrax.ODETerm(lambda t, y, args: -y)
    arguments = (term, diffrax.Dopri5(), 0.0, 1.0, 0.1, jnp.ones(2))
    messages: list[str] = []
    for solve in (diffrax.diffeqsolve, functools.partial(lrnde.regularize(diffrax.diffeqsolve), draw=[0.5])):
        with pytest.raises(Exception) as info:  # whatever diffrax raises
            solve(*arguments, **wrong)
        messages.append(f"{type(info.value).__name__}: {info.value}")
    assert messages[0] == messages[1]
