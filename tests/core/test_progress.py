"""The log of a search, with the time left."""

import logging

import pytest

from lrnde_core._plans._progress import SearchProgress


def test_the_time_left_is_in_proportion_to_the_cost_of_what_is_left(caplog: pytest.LogCaptureFixture) -> None:
    times = iter([10.0, 13.0, 20.0, 30.0])
    with caplog.at_level(logging.INFO, "lrnde"):
        progress = SearchProgress("freeze", [1, 2, 5], lambda: next(times))
        for result in ("first", "second", "third"):
            progress.tried(result)
    assert caplog.messages == [
        "freeze: 1 of 3 candidates tried: first; about 21 s left if all are tried",
        "freeze: 2 of 3 candidates tried: second; about 17 s left if all are tried",
        "freeze: 3 of 3 candidates tried: third",
    ]


def test_nothing_is_shown_unless_it_is_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    SearchProgress("freeze", [1]).tried("first")
    assert capfd.readouterr() == ("", "")
