"""Where the steps of a solve go: every number of a diagnosis against calls counted with the same thing changed."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lrnde_conformance._reference import _plugin
from lrnde_conformance._reference._solver import integrate
from lrnde_core import (
    BackwardCount,
    CapabilityError,
    Diagnosis,
    Finding,
    FindingKind,
    InputError,
    InputTypeError,
    Report,
    diagnose,
    regularize,
)
from lrnde_core import _solver as core_solver
from lrnde_core._plans import _calls
from lrnde_core._registry import Registry

_TIMES = (0.0, 0.5, 2.0)
_TIGHT = functools.partial(integrate, rtol=1e-6, atol=1e-6)


@pytest.fixture(autouse=True)
def _reference(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry()
    registry.register(_plugin)
    for module in (_calls, core_solver):
        monkeypatch.setattr(module, "REGISTRY", registry)


def _waves(t: float, y: Any) -> Any:
    return float(np.cos(3 * t)) * y


def _decay(t: float, y: Any) -> Any:
    return -y


def _rates(t: float, y: Any) -> Any:
    """Every sample oscillates at the frequency that its last entry is."""
    return np.stack([-y[:, 2] * y[:, 1], y[:, 2] * y[:, 0], 0 * y[:, 2]], 1)


def _count(solve: Callable[..., Any], field: Any, y0: Any, ts: Any = _TIMES) -> tuple[int, Any]:
    """The number of calls of the field, and the states after the start."""
    calls: list[float] = []

    def counting(t: float, y: Any) -> Any:
        calls.append(t)
        return field(t, y)

    states = np.stack(solve(counting, y0, ts)[1:])
    return len(calls), states


def _largest_error(found: Any, exact: Any) -> float:
    """Of the samples: norms over outputs and entries, over the larger of the sample's and the median sample's."""
    size = np.sqrt((exact**2).sum((0, 2)))
    return float((np.sqrt(((found - exact) ** 2).sum((0, 2))) / np.maximum(size, np.median(size))).max())


def _found(diagnosis: Diagnosis, kind: FindingKind) -> Finding | None:
    found = [finding for finding in diagnosis.findings if finding.kind is kind]
    assert len(found) <= 1
    return found[0] if found else None


def _finding(diagnosis: Diagnosis, kind: FindingKind) -> Finding:
    finding = _found(diagnosis, kind)
    assert finding is not None
    return finding


def test_a_warm_up_from_a_small_first_step_is_measured_with_a_later_one() -> None:
    solve, y0 = functools.partial(_TIGHT, first_step=1e-7), np.ones((3, 2))
    diagnosis = diagnose(solve, (_waves, y0, _TIMES))
    starts: list[float] = []
    steps: list[float] = []

    def observe(t: float, h: float, y: Any, ratio: float, is_accepted: bool) -> None:
        if is_accepted:
            starts.append(t)
            steps.append(h)

    solve(_waves, y0, _TIMES, observe=observe)
    num_early = next(i for i, step in enumerate(steps) if step >= np.median(steps) / 2)
    numbers = _finding(diagnosis, FindingKind.WARM_UP).numbers
    assert (numbers["num_early"], numbers["num_accepted"]) == (num_early, len(steps))
    assert numbers["first_step"] == pytest.approx(steps[num_early])
    assert diagnosis.cost == _count(solve, _waves, y0)[0]
    later = functools.partial(_TIGHT, first_step=numbers["first_step"])
    assert numbers["cost"] == _count(later, _waves, y0)[0] < diagnosis.cost
    assert (diagnosis.num_accepted, diagnosis.unit) == (len(steps), "evaluations")
    assert f"{numbers['cost']:g} evaluations instead of {diagnosis.cost:g}" in str(diagnosis)


def test_a_good_first_step_is_no_warm_up() -> None:
    assert (
        _found(
            diagnose(functools.partial(_TIGHT, first_step=0.2), (_waves, np.ones((3, 2)), _TIMES)), FindingKind.WARM_UP
        )
        is None
    )


@pytest.mark.parametrize("place", [0, 4, 6])
def test_the_costly_sample_of_a_batch_is_found_and_solved_alone(place: int) -> None:
    y0 = np.tile([1.0, 0.0, 1.0], (7, 1))
    y0[place, 2] = 40.0
    easy = np.tile([1.0, 0.0, 1.0], (7, 1))
    diagnosis = diagnose(_TIGHT, [(_rates, easy, _TIMES), {"field": _rates, "y0": y0, "ts": _TIMES}])
    finding = _finding(diagnosis, FindingKind.COSTLY_SAMPLE)
    assert finding.numbers == {
        "call": 1,
        "sample": place,
        "alone": _count(_TIGHT, _rates, y0[place : place + 1])[0],
        "without": _count(_TIGHT, _rates, np.delete(y0, place, 0))[0],
        "cost": _count(_TIGHT, _rates, y0)[0],
    }
    assert f"sample {place} of call 1" in str(finding)
    assert diagnosis.cost == (_count(_TIGHT, _rates, y0)[0] + _count(_TIGHT, _rates, easy)[0]) / 2


def test_samples_that_cost_alike_are_no_finding() -> None:
    y0 = np.tile([1.0, 0.0, 5.0], (7, 1))
    assert _found(diagnose(_TIGHT, (_rates, y0, _TIMES)), FindingKind.COSTLY_SAMPLE) is None


def test_looser_tolerances_are_measured_with_their_errors() -> None:
    y0 = np.asarray([[1.0, 0.5], [0.2, 0.1], [2.0, -1.0]])
    diagnosis = diagnose(_TIGHT, (_waves, y0, _TIMES))
    exact = _count(_TIGHT, _waves, y0)[1]
    numbers = _finding(diagnosis, FindingKind.TOLERANCE).numbers
    for factor in (10, 100):
        looser = functools.partial(integrate, rtol=factor * 1e-6, atol=factor * 1e-6)
        cost, states = _count(looser, _waves, y0)
        assert numbers[f"cost_{factor}"] == cost
        assert numbers[f"error_{factor}"] == pytest.approx(_largest_error(states, exact), rel=1e-6)


def test_fixed_steps_within_the_error_are_the_cheapest_ones() -> None:
    y0 = np.asarray([[1.0, 0.5], [0.2, 0.1]])
    diagnosis = diagnose(_TIGHT, (_decay, y0, (0.0, 1.0)), error=1e-3)
    exact = _count(_TIGHT, _decay, y0, (0.0, 1.0))[1]

    def error(num_steps: int) -> float:
        h = -1.0 / num_steps
        polynomial = 1 + h + h**2 / 2 + h**3 / 6 + h**4 / 24  # of every method of order 4 with four stages
        return _largest_error(polynomial**num_steps * y0[None], exact)

    num_steps = next(number for number in (1, 2, 4) if error(number) <= 1e-3)
    numbers = _finding(diagnosis, FindingKind.FIXED_STEPS).numbers
    assert numbers["cost"] == 4 * num_steps
    assert numbers["error"] == pytest.approx(error(num_steps), rel=1e-3)


def test_a_tolerance_below_the_rounding_of_the_states_is_measured_at_it() -> None:
    y0 = 100 * np.ones((2, 2), np.float32)
    solve = functools.partial(integrate, rtol=1e-7, atol=1e-6, smallest_step=1e-3)
    diagnosis = diagnose(solve, (_waves, y0, _TIMES))
    states = _count(solve, _waves, y0)[1]
    tolerance = 1e-7 + 1e-6 / np.sqrt((states.astype(float) ** 2).mean())
    numbers = _finding(diagnosis, FindingKind.ROUNDING).numbers
    assert numbers["least"] == 4 * 2.0**-23
    assert numbers["tolerance"] == pytest.approx(tolerance, rel=1e-5)
    factor = numbers["least"] / numbers["tolerance"]
    looser = functools.partial(solve, rtol=factor * 1e-7, atol=factor * 1e-6)
    assert numbers["cost"] == _count(looser, _waves, y0)[0]
    assert _found(diagnose(solve, (_waves, y0.astype(float), _TIMES)), FindingKind.ROUNDING) is None


def test_rejected_steps_are_counted() -> None:
    def square(t: float, y: Any) -> Any:
        return np.sign(np.sin(20 * t)) + 0 * y

    diagnosis = diagnose(_TIGHT, (square, np.ones((2, 2)), _TIMES))
    are_accepted: list[bool] = []
    _TIGHT(
        square, np.ones((2, 2)), _TIMES, observe=lambda t, h, y, ratio, is_accepted: are_accepted.append(is_accepted)
    )
    assert _finding(diagnosis, FindingKind.REJECTED_STEPS).numbers == {
        "num_rejected": are_accepted.count(False),
        "num_steps": len(are_accepted),
    }
    assert diagnosis.num_rejected == are_accepted.count(False)


def test_the_backward_pass_is_that_of_the_report() -> None:
    call = (_waves, np.ones((3, 2)), _TIMES)
    count = BackwardCount()
    report = Report(0.0, 20, 1, 3, 3, 0, None, nfe_backward=count)
    assert "call `backward()` first" in str(diagnose(_TIGHT, call, report=report))
    count.add(50)
    finding = _finding(diagnose(_TIGHT, call, report=[report, report]), FindingKind.BACKWARD_PASS)
    assert finding.numbers == {"nfe": 40.0, "nfe_backward": 100.0}
    none = Report(0.0, 20, 1, 3, 3, 0, None)
    assert "`report` does not count it" in str(diagnose(_TIGHT, call, report=none))
    assert all("backward" not in reason for reason in diagnose(_TIGHT, call).not_measured)


def test_what_cannot_be_measured_is_named_with_the_reason() -> None:
    context = np.arange(6.0).reshape(3, 2)
    rank = np.arange(3.0)[:, None]
    calls = [
        (lambda t, y: np.cos(9 * t) * y + context, "it returns as many samples whichever are solved"),
        (lambda t, y: np.cos(9 * t) * y.reshape(3, 2), "the changed call raised"),
        (lambda t, y: np.cos(9 * t) * y + rank[: len(y)] * (len(y) == 3), "field knows its batch, or the tolerance"),
    ]
    for field, reason in calls:
        diagnosis = diagnose(_TIGHT, (field, np.ones((3, 2)), _TIMES))
        missing = [each for each in diagnosis.not_measured if each.startswith(FindingKind.COSTLY_SAMPLE.value)]
        assert len(diagnosis.not_measured) == 1
        assert reason in missing[0]
    fixed = functools.partial(integrate, method="rk4", first_step=0.01)
    diagnosis = diagnose(fixed, (_waves, np.ones((3, 2)), _TIMES))
    assert all("fixed steps" in reason for reason in diagnosis.not_measured)
    assert [finding.kind for finding in diagnosis.findings] == [FindingKind.FIXED_STEPS]


def test_a_solve_that_nothing_makes_cheaper_is_left_to_a_penalty() -> None:
    diagnosis = diagnose(
        functools.partial(integrate, first_step=1.0), (lambda t, y: 1.0 + 0 * y, np.ones((1, 1)), (0.0, 1.0))
    )
    assert not [finding for finding in diagnosis.findings if finding.kind is not FindingKind.FIXED_STEPS]


def test_calls_and_random_states_are_left_as_they_are() -> None:
    def writing(t: float, y: Any) -> Any:
        y[:, 0] = 0.0
        return -y

    y0 = np.ones((4, 2))
    before = np.random.get_state()[1].copy()  # pyright: ignore[reportIndexIssue, reportArgumentType]
    diagnose(_TIGHT, (writing, y0, _TIMES))
    assert (y0 == 1).all()
    assert (np.random.get_state()[1] == before).all()  # pyright: ignore[reportIndexIssue, reportArgumentType]


def test_what_cannot_be_diagnosed_is_refused() -> None:
    y0 = np.ones((3, 2))
    call = (_waves, y0, _TIMES)
    with pytest.raises(InputTypeError, match="`solve` is regularized; diagnose the native call"):
        diagnose(regularize(integrate), call)
    with pytest.raises(InputTypeError, match="`calls` must be a call of `solve`"):
        diagnose(_TIGHT, 3)
    with pytest.raises(InputError, match="`calls` is empty"):
        diagnose(_TIGHT, [])
    with pytest.raises(InputTypeError, match="is not a call of `solve`"):
        diagnose(_TIGHT, (_waves,))
    with pytest.raises(CapabilityError, match="steps of a stochastic equation follow its path"):
        diagnose(
            integrate,
            {
                "field": _waves,
                "y0": y0,
                "ts": _TIMES,
                "method": "euler_heun",
                "diffusion": _waves,
                "path": lambda t: 0 * y0,
            },
        )
    with pytest.raises(CapabilityError, match="event"):
        diagnose(integrate, {"field": _waves, "y0": y0, "ts": _TIMES, "event": lambda t, y: 1.0})
