"""Tests of the one-line notation of a sweep's candidates."""

import pytest

from lrnde_benchmarks._commands._candidate_parser import DEFAULT_CANDIDATES, parse_candidate
from lrnde_benchmarks._settings import Penalty
from lrnde_core import (
    Constant,
    ErrorEstimate,
    InputError,
    StiffnessEstimate,
    TaylorDerivative,
    UniformStep,
    UniformTime,
    UnknownNameError,
)


def test_a_line_stands_for_a_setting_per_weight() -> None:
    settings = parse_candidate("taylor_derivative/uniform_time/0.1|0.3")
    assert [setting.name for setting in settings] == [
        "taylor_derivative/uniform_time/0.1",
        "taylor_derivative/uniform_time/0.3",
    ]
    assert settings[0].penalty == settings[1].penalty == Penalty(TaylorDerivative(2), UniformTime())
    assert settings[1].weight == Constant(0.3)


def test_fields_and_number_of_samples_are_read() -> None:
    (setting,) = parse_candidate("taylor_derivative:order=3,at=step/uniform_step:weighting=paper/1/4")
    assert setting.penalty == Penalty(TaylorDerivative(3, at="step"), UniformStep(weighting="paper"), num_samples=4)


def test_heuristics_add_and_scale() -> None:
    (setting,) = parse_candidate("error_estimate+0.1*stiffness_estimate/uniform_time/1")
    assert setting.penalty is not None
    assert setting.penalty.heuristic == ErrorEstimate() + 0.1 * StiffnessEstimate()


def test_weight_decay_has_no_penalty() -> None:
    settings = parse_candidate("weight_decay/0.1|1")
    assert [(setting.penalty, setting.weight_decay) for setting in settings] == [(None, 0.1), (None, 1.0)]


def test_default_candidates_are_readable_and_differ() -> None:
    settings = [setting for text in DEFAULT_CANDIDATES for setting in parse_candidate(text)]
    assert len({setting.name for setting in settings}) == len(settings)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("taylor_derivative", "is not a candidate"),
        ("taylor_derivative/uniform_time/much", "`much` is not a number"),
        ("taylor_derivative:ordre=3/uniform_time/1", "ordre"),
        ("taylor_derivative:order=1/uniform_time/1", "at least 2"),
    ],
)
def test_an_unreadable_line_is_refused(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        parse_candidate(text)


def test_an_unknown_heuristic_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="no heuristic `tailor`"):
        parse_candidate("tailor/uniform_time/1")
