"""Bad input of stochastic equations: a worded error, a warning, or a defined result."""

import dataclasses
import warnings
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import pytest

import lrnde
from tests.adapters.diffrax import sde_problems as problems
from tests.adapters.diffrax.sde_problems import PID, SOLVE, Y0, Waves, solve

HALF = diffrax.HalfSolver
DRAW = jnp.asarray([0.5])


def _call(
    equation: Any = None,
    solver: Any = None,
    heuristic: Any = None,
    sampler: Any = None,
    kind: str = "diagonal",
    **rest: Any,
) -> Any:
    regularized = lrnde.regularize(
        diffrax.diffeqsolve, heuristic=heuristic or lrnde.ErrorEstimate(), sampler=sampler or lrnde.UniformTime()
    )
    equation = problems.terms("diagonal") if equation is None else equation
    return solve(regularized, equation, solver or diffrax.Heun(), **{"draw": DRAW, **rest})


def _noise_alone() -> Any:
    return diffrax.ControlTerm(problems.diagonal, Waves(jnp.asarray(problems.amplitudes(2))))


def _with_control() -> Any:
    smooth = diffrax.ControlTerm(lambda t, y, args: y[:, None], lambda t0, t1: jnp.asarray([t1 - t0]))
    return diffrax.MultiTerm(diffrax.ODETerm(problems.drift), smooth, _noise_alone())


def _unsafe() -> Any:
    return problems.terms("diagonal", diffrax.UnsafeBrownianPath((2,), jax.random.key(0)))


def _without_levy_area() -> Any:
    return problems.terms("diagonal", problems.tree(2))


TAYLOR = lrnde.TaylorDerivative(2, at="step")
FIXED = {"stepsize_controller": diffrax.ConstantStepSize()}


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"solver": diffrax.EulerHeun()}, r"HalfSolver\(diffrax.EulerHeun\(\)\)"),
        ({"solver": diffrax.SlowRK()}, r"HalfSolver\(diffrax.SlowRK\(\)\)"),
        ({"solver": diffrax.Euler()}, r"HalfSolver\(diffrax.ItoMilstein\(\)\).*Ito"),
        ({"equation": "tuple", "solver": HALF(diffrax.EulerHeun())}, "diffrax.MultiTerm"),
        ({"heuristic": lrnde.StiffnessEstimate()}, "estimates no stiffness"),
        ({"heuristic": lrnde.TaylorDerivative(2)}, 'at="step"'),
        ({"heuristic": TAYLOR, "equation": "noise_alone"}, "ODETerm"),
        ({"heuristic": TAYLOR, "equation": "with_control"}, "ODETerm"),
        ({"sampler": lrnde.UniformTime(local_start="sample")}, 'local_start="step".*increment="fresh"'),
        ({"equation": "unsafe", "solver": diffrax.Euler(), "heuristic": "own", **FIXED}, "VirtualBrownianTree"),
    ],
)
def test_refusals_say_what_would_work(options, match):
    made = {
        "tuple": lambda: problems.terms("diagonal").terms,
        "noise_alone": _noise_alone,
        "with_control": _with_control,
        "unsafe": _unsafe,
    }
    options = dict(options)
    if "equation" in options:
        options["equation"] = made[options["equation"]]()
    if options.get("heuristic") == "own":
        options["heuristic"] = lrnde.ErrorEstimate(rtol=1e-3, atol=1e-3)
    with pytest.raises(lrnde.CapabilityError, match=match):
        _call(**options)


def test_fresh_increment_of_an_ordinary_equation_is_refused():
    with pytest.raises(lrnde.CapabilityError, match=r'no `diffrax.AbstractBrownianPath`.*increment="path"'):
        _call(diffrax.ODETerm(problems.drift), sampler=lrnde.UniformTime(increment="fresh"))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"equation": _unsafe, "solver": diffrax.Heun()}, "UnsafeBrownianPath"),
        ({"solver": diffrax.ShARK()}, "independent of y"),
        ({"solver": HALF(diffrax.Euler())}, "Euler's method"),
        ({"equation": _without_levy_area, "solver": diffrax.SPaRK()}, "not compatible"),
    ],
    ids=["unsafe", "noise_of_the_state", "half_euler", "no_levy_area"],
)
def test_errors_of_diffrax_come_through(options, match):
    options = {**options, "equation": options.get("equation", lambda: None)()}
    with pytest.raises(ValueError, match=match) as info:
        _call(**options)
    assert not isinstance(info.value, lrnde.LrndeError)


@pytest.mark.parametrize("span", [(0.0, 1.5), (-0.5, 1.0), (1.5, 0.0)])
def test_path_must_cover_the_solve(span):
    equation = problems.terms("diagonal", problems.tree(2))
    with pytest.raises(lrnde.InputError, match=r"leaves the interval \[0.0, 1.0\] of its `VirtualBrownianTree`"):
        _call(equation, span=span)


def test_steps_below_the_tolerance_of_the_path_warn():
    coarse = problems.terms("diagonal", problems.tree(2, tol=0.2))
    with pytest.warns(lrnde.ResolutionWarning, match=r"`tol=0.2`.*step of 0.0.*`PIDController\(dtmin=...\)`") as record:
        solve(SOLVE, coarse, diffrax.Heun(), draw=DRAW)
    assert len(record) == 1
    assert record[0].filename == problems.__file__  # where the call is
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Nothing is known of traced values.
        jax.eval_shape(lambda key: _call(problems.terms("diagonal", problems.tree(2, key, tol=0.2))), jax.random.key(0))


def _poisoned(t: Any, y: Any, args: Any) -> Any:
    return args * jnp.sqrt(-jnp.ones_like(y))


@pytest.mark.parametrize(
    ("poison", "options"),
    [
        ("drift", {}),
        ("diffusion", {}),
        (None, {"max_steps": 1}),
        (None, {"span": (1.0, 1.0)}),
    ],
    ids=["nan_drift", "nan_diffusion", "max_steps", "no_time_at_the_end"],
)
def test_solve_without_a_valid_step_has_penalty_and_gradient_exactly_zero(poison, options):
    regularized = dataclasses.replace(SOLVE, heuristic=lrnde.ErrorEstimate() + lrnde.PredictedSteps())
    drift = _poisoned if poison == "drift" else problems.drift
    diffusion = (lambda t, y, a: jnp.diag(_poisoned(t, y, a))) if poison == "diffusion" else problems.diagonal
    options = {"throw": False, "max_steps": 16, **options}

    def penalty(scale):
        path = problems.tree(2) if "span" in options else Waves(jnp.asarray(problems.amplitudes(2)))
        equation = diffrax.MultiTerm(diffrax.ODETerm(drift), diffrax.ControlTerm(diffusion, path))
        _, report = solve(regularized, equation, diffrax.Heun(), scale, draw=DRAW, **options)
        return report.penalty, report

    gradient, report = jax.jit(jax.grad(penalty, has_aux=True))(0.7)
    assert report.penalty == 0
    assert gradient == 0
    assert report.nfe_extra == 0
    assert report.sample.weight[0] == 0
    assert not any(jnp.isnan(entry).any() for entry in jax.tree.leaves(report))


def _tree_drift(t: Any, y: Any, args: Any) -> Any:
    return {"a": -y["b"] * y["a"], "b": jnp.sin(t) - y["b"]}


def _tree_diffusion(t: Any, y: Any, args: Any) -> Any:
    return {"a": jnp.diag(jnp.cos(y["a"])), "b": args * y["b"]}


def test_single_precision_and_trees_of_states():
    with jax.enable_x64(False):
        shape = {"a": jax.ShapeDtypeStruct((2,), jnp.float32), "b": jax.ShapeDtypeStruct((), jnp.float32)}
        tree = diffrax.VirtualBrownianTree(0.0, 1.0, 1e-3, shape, jax.random.key(0))
        equation = diffrax.MultiTerm(diffrax.ODETerm(_tree_drift), diffrax.ControlTerm(_tree_diffusion, tree))
        y0 = {"a": jnp.asarray(Y0, jnp.float32), "b": jnp.float32(0.3)}
        _, report = SOLVE(equation, diffrax.Heun(), 0.0, 1.0, 0.05, y0, 0.5, stepsize_controller=PID, draw=DRAW)
    assert report.penalty > 0
    assert jnp.result_type(report.penalty) == jnp.float32
