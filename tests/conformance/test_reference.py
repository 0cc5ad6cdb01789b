"""The suite's own oracles are right, and it refuses what makes no sense."""

from typing import Any

import numpy as np
import pytest

from lrnde_conformance import CHECKS, SCHEMES, SDE_SCHEMES, AbstractDriver, Outcome, ReferenceDriver, run_checks
from lrnde_conformance._backends import _dual as _namespace
from lrnde_conformance._backends._dual import Dual
from lrnde_conformance._method import Method
from lrnde_conformance._oracles._oracle import StepPoint, complex_step_gradient, oracle
from lrnde_conformance._oracles._reservoir import chosen_by_size, chosen_index, fraction
from lrnde_conformance._paths import PathIncrement
from lrnde_conformance._problems import NETWORK, driven, network
from lrnde_core import AcceptedStep, Draw, DrawnStep, InputError, UniformStep, UniformTime

ORDERS = {name: scheme.order for name, scheme in SCHEMES.items()}


def test_every_law_has_a_check() -> None:
    assert {check.law for check in CHECKS} == set(range(17))
    assert len({check.id for check in CHECKS}) == len(CHECKS)


@pytest.mark.parametrize("name", SCHEMES)
def test_a_step_of_each_scheme_has_its_order(name: str) -> None:
    # y' = -y + t, y(0) = 1 has y = 2 exp(-t) + t - 1.
    scheme = SCHEMES[name]

    def error(h: float) -> float:
        return abs(float(scheme.step(lambda t, y: t - y, 0.0, h, 1.0)) - (2 * np.exp(-h) + h - 1))

    measured = np.log2(error(0.4) / error(0.2))
    assert measured == pytest.approx(scheme.order + 1, abs=0.6)


@pytest.mark.parametrize("name", SCHEMES)
def test_weights_of_each_scheme_add_up(name: str) -> None:
    scheme = SCHEMES[name]
    assert float(sum(scheme.solution)) == pytest.approx(1, abs=1e-14)
    assert scheme.error is None or float(sum(scheme.error)) == pytest.approx(0, abs=1e-14)


@pytest.mark.parametrize(("name", "interval"), [("dopri5", 3.307), ("tsit5", 3.507)])
def test_stability_intervals_are_those_of_the_protocol(name: str, interval: float) -> None:
    assert SCHEMES[name].stability_interval == pytest.approx(interval, abs=5e-4)


def test_second_derivative_of_the_network_is_that_of_its_trajectory() -> None:
    problem, step = network(), 1e-5
    p, y, t = problem.parameters, problem.y0, 0.3
    velocity = NETWORK.drift(np, t, y, p)
    up, down = (NETWORK.drift(np, t + s * step, y + s * step * velocity, p) for s in (1, -1))
    assert NETWORK.second_derivative is not None
    np.testing.assert_allclose(NETWORK.second_derivative(np, t, y, p), (up - down) / (2 * step), rtol=1e-8)


def test_complex_step_is_exact_to_rounding() -> None:
    gradient = complex_step_gradient(lambda v: np.sum(np.sin(v["x"]) ** 2), {"x": np.array([[0.3, -1.2]])})
    np.testing.assert_allclose(gradient["x"], np.sin(2 * np.array([[0.3, -1.2]])), rtol=16 * np.finfo(float).eps)


def test_oracle_error_ratio_is_proportional_to_the_tolerance() -> None:
    method, point = Method("dopri5", "dopri5"), StepPoint(0.0, 0.3, network().y0)
    loose, tight = (oracle(network(), method, tolerance, tolerance) for tolerance in (1e-2, 1e-4))
    assert loose is not None
    assert tight is not None
    assert tight.error_ratio(point) == pytest.approx(100 * loose.error_ratio(point))


def test_chosen_index_is_that_of_the_core() -> None:
    rng = np.random.default_rng(0)
    for uniform in rng.uniform(size=50).tolist():
        draw, kept = Draw(uniform, int(uniform * 2**24)), 0
        for index in range(1, 40):
            if UniformStep().keep(draw, AcceptedStep(index, 0.0, 0.1, 1.0)):
                kept = index
        assert chosen_index(uniform, 39) == kept


def test_choice_by_size_and_place_are_those_of_the_core() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.uniform(0.1, 2.0, 20).tolist()
    for uniform in rng.uniform(size=50).tolist():
        draw, kept, covered = Draw(uniform, int(uniform * 2**24)), 0, 0.0
        for index, size in enumerate(sizes, start=1):
            if UniformTime().keep(draw, AcceptedStep(index, covered, size, None)):
                kept = index
            covered += size
        assert chosen_by_size(uniform, sizes) == kept
        ended = DrawnStep(0.0, 1.0, 1.0, covered, len(sizes), is_end_known=False)
        assert fraction(uniform) == UniformTime().locate(draw, ended) == UniformStep().locate(draw, ended)


def test_areas_of_the_path_are_its_integrals() -> None:
    path = driven(Method("any", None, noise="general", calculus="ito")).path
    start, end = 0.3, 0.9
    times = np.linspace(start, end, 20001)
    values = np.stack([path(t) - path(start) for t in times])
    middle, changes = 0.5 * (values[1:] + values[:-1]), np.diff(values, axis=0)
    np.testing.assert_allclose(path.area(start, end), middle.sum(0) * (times[1] - times[0]), atol=1e-8)
    products = np.einsum("nbi,nbj->bij", middle, changes)
    np.testing.assert_allclose(path.levy_area(start, end), 0.5 * (products - products.swapaxes(1, 2)), atol=1e-7)
    np.testing.assert_allclose(path.derivative(0.5), (path(0.5 + 1e-6) - path(0.5 - 1e-6)) / 2e-6, rtol=1e-6)


# Halves of a Levy area are not simulated.
_SIMULATED = [(n, noise) for n, scheme in SDE_SCHEMES.items() if scheme.sees != "levy" for noise in scheme.orders]


@pytest.mark.parametrize(("name", "noise"), _SIMULATED)
def test_the_error_of_each_stochastic_scheme_has_its_order(name: str, noise: Any) -> None:
    # Along Brownian motion the difference between a step and its halves goes with the order and a half in the mean.
    method = Method(name, name, calculus="ito", noise=noise)
    reference = oracle(driven(method), method, 0.0, 1.0)
    assert reference is not None
    rng = np.random.default_rng(0)
    channels = driven(method).path.amplitude.shape
    errors: list[float] = []
    for h in (4e-5, 1e-5):
        squares: list[float] = []
        for _ in range(200):
            w = np.sqrt(0.5 * h) * rng.normal(size=(2, *channels))
            areas = 0.25 * h * w + np.sqrt(0.125 * h**3 / 12) * rng.normal(size=w.shape)
            halves = (PathIncrement(w[0], areas[0]), PathIncrement(w[1], areas[1]))
            squares.append(float(reference.error_ratio(StepPoint(0.0, h, driven(method).y0), halves=halves)) ** 2)
        errors.append(np.sqrt(np.mean(squares)))
    assert np.log(errors[0] / errors[1]) / np.log(4) == pytest.approx(reference.error_order, abs=0.35)


@pytest.mark.parametrize("name", ["tanh", "sin", "cos", "log", "sqrt"])
def test_derivatives_of_duals(name: str) -> None:
    function: Any = getattr(_namespace, name)
    x, step = np.array([0.4, 1.3]), 1e-6
    first = function(Dual(x, np.eye(2)))
    expected = (function(x + step) - function(x - step)) / (2 * step)
    np.testing.assert_allclose(np.diag(first.tangent), expected, rtol=1e-8)
    # Differentiated twice: a dual of duals.
    second = function(Dual(Dual(x, np.eye(2)), Dual(np.ones((1, 2)), None), level=1)).tangent
    slopes = [function(Dual(x + s * step, np.ones((1, 2)))).tangent[0] for s in (1, -1)]
    np.testing.assert_allclose(
        np.diag(second.tangent.reshape(2, 2)), (slopes[0] - slopes[1]) / (2 * step), rtol=1e-6, atol=1e-9
    )


def _driver(**members: Any) -> type[AbstractDriver]:
    true = ReferenceDriver()
    kept = {name: getattr(ReferenceDriver, name) for name in ("adapter", "plugin", "methods", "backend")}
    calls = {
        "native": lambda _, task: true.native(task),
        "call": lambda _, solve, task, **extra: true.call(solve, task, **extra),
        "states": lambda _, result: true.states(result),
    }
    return type("Driver", (AbstractDriver,), {**kept, **calls, **members})


@pytest.mark.parametrize(
    ("failures", "message"),
    [({"penalty.orakel": "a reason"}, "no such check"), ({"penalty.oracle-dopri5-error": "  "}, "without a reason")],
)
def test_expected_failures_are_checked(failures: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run_checks(_driver(expected_failures=failures), select="interface.capabilities")


def test_expected_failure_that_passes_is_a_fault() -> None:
    verdict = run_checks(
        _driver(expected_failures={"interface.capabilities": "it is broken"}), select="interface.capabilities"
    )
    assert [result.outcome for result in verdict.results] == [Outcome.UNEXPECTED_PASS]
    assert not verdict.conforms


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"select": "no-such-check"}, "No check matches"),
        ({"tier": "some"}, "tier"),
        ({"device": "tpu"}, "device"),
        ({"dtype": "float16"}, "dtype"),
    ],
)
def test_selections_that_make_no_sense_are_refused(settings: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run_checks(ReferenceDriver, **settings)  # pyright: ignore[reportArgumentType]


def test_unknown_adapters_are_refused() -> None:
    with pytest.raises(InputError, match="cannot be imported"):
        run_checks("no_such_module:Driver")
    with pytest.raises(InputError, match="neither the name"):
        run_checks(int)


def test_float32_alone_skips_what_needs_float64() -> None:
    verdict = run_checks(ReferenceDriver, dtype="float32", is_fast=True)
    assert [result for result in verdict.results if result.outcome is Outcome.FAILED] == []
    assert any("only float32 was asked for" in result.reason for result in verdict.results)
