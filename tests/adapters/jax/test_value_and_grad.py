"""Loss, gradient and next weight of an iteration: by each gradient apart, under transformations, compiled once."""

import functools
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrnde
from lrnde_core import AbstractWeight
from lrnde_jax import value_and_grad
from tests.compilations import num_compiled

_SOLVE = lrnde.regularize(diffrax.diffeqsolve)
# Other tests may have made float64 the default.
_array = functools.partial(jnp.array, dtype=jnp.float32)
_PARAMETERS = {"inner": _array([[0.8, -0.5], [0.3, 0.9]]), "outer": _array([1.5, -0.7])}


def _field(t: Any, y: Any, inner: Any) -> Any:
    return jnp.tanh(y @ inner) * jnp.cos(t)


def _loss(parameters: Any, y0: Any, draw: Any, scale: float = 1.0) -> Any:
    controller = diffrax.PIDController(rtol=1e-4, atol=1e-4)
    solution, report = _SOLVE(
        diffrax.ODETerm(_field),
        diffrax.Heun(),
        _array(0.0),
        _array(1.0),
        _array(0.1),
        y0,
        parameters["inner"],
        stepsize_controller=controller,
        max_steps=64,
        draw=draw,
    )
    return scale * jnp.sum((solution.ys[-1] @ parameters["outer"]) ** 2), report


_Y0, _DRAW = _array([[0.5, -1.0], [0.2, 0.4]]), _array([0.4])

_REPORT = lrnde.Report(_array(1.0), 44, 7, 7, 7, 0, None)


@pytest.fixture(scope="module")
def apart() -> tuple[Any, Any, Any]:
    """The loss, its gradient, and that of the penalty."""

    @jax.jit
    def differentiated(parameters: Any) -> tuple[Any, Any, Any]:
        def both(parameters: Any) -> tuple[Any, Any]:
            value, report = _loss(parameters, _Y0, _DRAW)
            return value, report.penalty

        (value, _), pull_back = jax.vjp(both, parameters)
        return value, *(pull_back((_array(1.0 - each), _array(each)))[0] for each in (0.0, 1.0))

    return differentiated(_PARAMETERS)


@pytest.mark.parametrize("weight", [lrnde.Constant(0.3), lrnde.GradientRatio(0.3, period=2)])
def test_the_gradient_is_that_of_the_weighted_sum(weight: AbstractWeight, apart: tuple[Any, Any, Any]) -> None:
    loss, by_loss, by_penalty = apart
    state = weight.init(like=_Y0)
    step = jax.jit(value_and_grad(_loss, weight))
    # The outer weights are reached by the loss alone, so they do not count.
    ratio = np.linalg.norm(by_loss["inner"]) / np.linalg.norm(by_penalty["inner"])
    factors = [0.3] * 3 if isinstance(weight, lrnde.Constant) else [0.0, 0.3 * ratio, 0.3 * ratio]
    for factor in factors:
        assert float(weight.value(state)) == pytest.approx(factor, rel=1e-5)
        (value, report), gradient, state = step(_PARAMETERS, state, _Y0, _DRAW)
        assert float(value) == pytest.approx(float(loss), rel=1e-6)
        assert report.num_accepted > 1
        for name, found in gradient.items():
            np.testing.assert_allclose(found, by_loss[name] + factor * by_penalty[name], rtol=1e-4, atol=1e-6)
    assert step._cache_size() == 1  # pyright: ignore[reportAttributeAccessIssue]


def test_it_takes_modules_several_reports_and_vmap() -> None:
    weight = lrnde.GradientRatio()

    def loss(model: Any, y0: Any, draw: Any) -> Any:
        value, report = _loss({"inner": model.weight, "outer": _PARAMETERS["outer"]}, y0, draw)
        return value, [report, report]

    model = eqx.nn.Linear(2, 2, dtype=jnp.float32, key=jax.random.key(0))
    step = eqx.filter_jit(
        eqx.filter_vmap(value_and_grad(loss, weight), in_axes=(None, eqx.if_array(0), None, eqx.if_array(0)))
    )
    draws, states = _array([[0.2], [0.7]]), jax.tree.map(lambda leaf: jnp.stack([leaf] * 2), weight.init(like=_Y0))
    _, gradient, states = step(model, states, _Y0, draws)
    _, gradient, _ = step(model, states, _Y0, draws)

    @eqx.filter_jit
    @eqx.filter_grad
    def gradient_alone(model: Any, draw: Any, factor: Any) -> Any:
        value, reports = loss(model, _Y0, draw)
        return value + factor * sum(each.penalty for each in reports)

    for index in range(2):
        factor = states.value[index]
        assert factor > 0
        alone = gradient_alone(model, draws[index], factor)
        np.testing.assert_allclose(gradient.weight[index], alone.weight, rtol=1e-4, atol=1e-6)


def test_a_loss_times_a_constant_gives_the_same_training() -> None:
    weight = lrnde.GradientRatio(0.1, period=2)

    @jax.jit
    def iterate(parameters: Any, state: Any, draw: Any, scale: Any) -> Any:
        _, gradient, state = value_and_grad(_loss, weight)(parameters, state, _Y0, draw, scale)
        # The direction alone, as Adam has it.
        size = jnp.sqrt(sum(jnp.sum(each * each) for each in jax.tree.leaves(gradient)))
        return jax.tree.map(lambda each, slope: each - 0.01 * slope / size, parameters, gradient), state

    def train(scale: float) -> Any:
        parameters, state = _PARAMETERS, weight.init(like=_Y0)
        for index in range(6):
            parameters, state = iterate(parameters, state, _array([0.15 * index]), _array(scale))
        return parameters

    # A power of two, so that nothing is rounded otherwise.
    plain, scaled = train(1.0), train(1024.0)
    for name, value in plain.items():
        np.testing.assert_allclose(scaled[name], value, rtol=1e-5)


@pytest.mark.parametrize("weight", [lrnde.Constant(0.3), lrnde.GradientRatio(0.3)])
def test_the_penalty_of_a_vmapped_report_is_the_mean(weight: AbstractWeight) -> None:
    draws = _array([[0.2], [0.7]])

    def loss(parameters: Any, is_vmapped: bool) -> Any:
        def one(y0: Any, draw: Any) -> Any:
            return _loss(parameters, y0, draw)

        values, report = jax.vmap(one)(_Y0, draws)
        return values.mean(), [report, report] if is_vmapped else report._replace(penalty=2 * report.penalty.mean())

    step = eqx.filter_jit(value_and_grad(loss, weight))
    found, expected = (step(_PARAMETERS, weight.init(like=_Y0), is_vmapped) for is_vmapped in (True, False))
    assert found[0][1][0].penalty.shape == (2,)
    for got, wanted in zip(jax.tree.leaves(found[1:]), jax.tree.leaves(expected[1:]), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-7)


def test_what_is_no_weight_no_state_and_no_scalar_is_refused() -> None:
    for given, hint in ((lrnde.GradientRatio, r"Did you mean `GradientRatio\(\)`"), (0.3, "not 0.3")):
        with pytest.raises(lrnde.InputTypeError, match=rf"`weight` must be an `AbstractWeight`.*{hint}"):
            value_and_grad(_loss, given)
    weight = lrnde.GradientRatio()
    step = value_and_grad(lambda parameters: (parameters, _REPORT), weight)
    with pytest.raises(lrnde.InputError, match=r"`loss` returned a value of shape \(2, 2\).*a scalar"):
        step(_Y0, weight.init(like=_Y0))
    for update in (weight.update, jax.jit(weight.update)):
        with pytest.raises(lrnde.InputError, match=r"measures gradients in this iteration.*`lrnde_jax.value_and_grad"):
            update(weight.init(like=_Y0), _REPORT)


@pytest.mark.parametrize(
    ("reports", "error", "message"),
    [
        ([], lrnde.InputError, r"`lrnde_jax.value_and_grad` was given an empty list of reports\. Pass at least one"),
        ((), lrnde.InputError, "an empty tuple of reports"),
        ({}, lrnde.InputTypeError, r"takes the `Report` of a solve, or a list of reports, not \{\}"),
    ],
)
def test_what_is_no_report_is_refused(reports: Any, error: type[Exception], message: str) -> None:
    weight = lrnde.Constant(0.5)
    step = value_and_grad(lambda parameters: (jnp.sum(parameters), reports), weight)
    with pytest.raises(error, match=message):
        step(_Y0, weight.init(like=_Y0))


@pytest.mark.parametrize(
    ("loss", "parameters", "state", "error", "message"),
    [
        (lambda p: p.sum(), _Y0, None, lrnde.InputTypeError, r"`loss` returned .*it must return two things"),
        (lambda _: _REPORT, _Y0, None, lrnde.InputTypeError, "`loss` returned Report.*`return loss, report`"),
        (None, _Y0, _Y0, lrnde.InputTypeError, r"`state`.*is a .* of shape \(2, 2\).*is a `GradientRatioState`"),
        (None, _Y0, lrnde.NFETarget(20).init(like=_Y0), lrnde.InputTypeError, "`state`.*is NFETarget.*`weight.init"),
        (None, {"count": jnp.arange(3)}, None, lrnde.InputError, "holds no array of floating-point numbers"),
    ],
    ids=["no report", "report alone", "no state", "state of another", "nothing to train"],
)
def test_what_is_given_wrongly_is_refused_in_words(
    loss: Any, parameters: Any, state: Any, error: type[Exception], message: str
) -> None:
    weight = lrnde.GradientRatio()
    step = value_and_grad(loss or (lambda p: (jnp.sum(p), _REPORT)), weight)
    with pytest.raises(error, match=message):
        step(parameters, weight.init(like=_Y0) if state is None else state)


@pytest.mark.parametrize("wrap", [lambda step: step, jax.jit], ids=["eager", "jit"])
def test_a_loss_without_a_penalty_is_refused(wrap: Any) -> None:
    term, weight = diffrax.ODETerm(lambda t, y, rate: rate * y), lrnde.GradientRatio()

    def loss(rate: Any) -> Any:
        solution, report = _SOLVE(
            term, diffrax.Heun(), _array(0.0), _array(1.0), _array(0.1), _Y0, rate, penalize=False
        )
        return jnp.sum(solution.ys), report

    with pytest.raises(lrnde.InputError, match="`penalize=False`, so it has no penalty to train by"):
        wrap(value_and_grad(loss, weight))(_array(0.5), weight.init(like=_Y0))


def test_a_gradient_that_is_not_a_number_in_one_parameter_leaves_the_weight_as_it_is() -> None:
    weight = lrnde.GradientRatio()

    def loss(parameters: Any, factor: Any) -> Any:
        first, second = parameters
        return jnp.sum(first) + factor * jnp.sum(second), _REPORT._replace(penalty=jnp.sum(first) + jnp.sum(second))

    step = jax.jit(value_and_grad(loss, weight))
    _, _, state = step((_Y0, _Y0), weight.init(like=_Y0), jnp.nan)
    assert float(state.value) == 0
    _, _, state = step((_Y0, _Y0), state, 2.0)
    assert float(state.value) > 0


@pytest.mark.parametrize("weight", [lrnde.GradientRatio(), lrnde.NFETarget(30)])
def test_members_of_a_named_axis_share_gradient_and_weight(weight: AbstractWeight) -> None:
    def loss(parameters: Any, x: Any) -> Any:
        report = _REPORT._replace(penalty=jnp.sum(parameters**2), nfe=jax.lax.pmean(x[0] + 40.0, "batch"))
        return jnp.mean((parameters * x) ** 2), report

    with jax.enable_x64(True):
        parameters, x = jnp.ones(2), jnp.array([[1.0, 1.0], [10.0, 10.0]])
        step = value_and_grad(loss, weight, axis_name="batch")
        mapped = jax.jit(jax.vmap(step, in_axes=(None, None, 0), out_axes=0, axis_name="batch"))
        (values, _), gradients, states = mapped(parameters, weight.init(like=parameters), x)
        np.testing.assert_array_equal(values, [1.0, 100.0])
        # By hand, that of the joint batch: the weight is still 0, or still at its start.
        by_loss, factor = (1.0 + 100.0) / 2, float(weight.value(weight.init(like=parameters)))
        # A sum of two, and its root.
        np.testing.assert_allclose(gradients, jnp.full((2, 2), by_loss + 2 * factor), rtol=1e-14)
        assert all(leaf[0] == leaf[1] for leaf in states)
        if isinstance(weight, lrnde.GradientRatio):
            np.testing.assert_allclose(states.value[0], weight.ratio * by_loss / 2, rtol=1e-14)


def test_outside_of_jit_nothing_is_compiled_again() -> None:
    weight = lrnde.GradientRatio(0.3, period=12)
    step = value_and_grad(lambda y: (jnp.sum(jnp.sin(y)), _REPORT._replace(penalty=jnp.sum(y * y))), weight)
    compiled, states = jax.jit(step), [weight.init(like=_Y0)] * 2

    def iterate() -> None:
        states[0] = step(_Y0, states[0])[2]

    iterate()
    # In the eleventh and the twelfth nothing is measured.
    numbers = [num_compiled(iterate) for _ in range(13)]
    assert numbers == [0] * 13
    for _ in range(14):
        states[1] = compiled(_Y0, states[1])[2]
    # The same operations, and sums of four numbers in another order.
    np.testing.assert_allclose(states[0], states[1], rtol=14 * 8 * jnp.finfo(jnp.float32).eps)
    np.testing.assert_allclose(step(_Y0, states[1])[1], compiled(_Y0, states[1])[1], rtol=1e-6)


def test_an_iteration_that_does_not_measure_makes_no_nan() -> None:
    weight = lrnde.GradientRatio()
    step = value_and_grad(lambda y: (jnp.sum(y), _REPORT._replace(penalty=jnp.sum(y))), weight)
    state = weight.init(like=_Y0)._replace(count=_array(11).astype(int))
    with jax.debug_nans(True):
        step(_Y0, state)


def test_a_warning_of_the_weight_names_the_line_of_the_iteration() -> None:
    weight = lrnde.NFETarget(20)
    advance = jax.jit(weight.update)
    before = after = weight.init(like=_array(0.0))
    while int(after.num_stalls) == 0:
        before, after = after, advance(after, _REPORT)
    iterate = value_and_grad(lambda scale: (jnp.sum(scale), _REPORT._replace(penalty=jnp.sum(scale))), weight)
    with pytest.warns(lrnde.TargetWarning, match="costs 44 evaluations on average") as caught:
        iterate(_array([1.0]), before)
    assert [warning.filename for warning in caught] == [__file__]
