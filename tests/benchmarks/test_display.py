"""Tests of what is shown while cells are trained."""

import io

import pytest
from rich.console import Console
from rich.progress import Progress

from lrnde_benchmarks._commands._display import Display, in_words, remaining_seconds
from lrnde_benchmarks._settings import Setting
from lrnde_benchmarks._study import Job

JOBS = [Job("diffrax", seed, (Setting("none"),)) for seed in range(4)]


def test_the_rest_takes_as_long_as_what_was_done_so_far() -> None:
    assert remaining_seconds(10.0, 25, 100) == 30.0
    assert remaining_seconds(10.0, 100, 100) == 0.0
    assert remaining_seconds(10.0, 0, 100) is None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, ""), (40.0, "about 40 s left"), (130.0, "about 2 min left"), (9000.0, "about 2.5 h left")],
)
def test_durations_are_said_in_words(seconds: float | None, words: str) -> None:
    assert in_words(seconds) == words


def test_without_a_terminal_there_is_a_line_per_cell_with_an_estimate() -> None:
    console = Console(width=80, file=io.StringIO(), record=True)
    times = iter([0.0, 60.0, 90.0])
    display = Display(JOBS, 100, console, None, clock=lambda: next(times))
    display.progress([50, 50, 0, 0])
    # The first is through whatever was counted last, so 150 of 400 iterations took 60 s.
    display.finished(JOBS[0])
    display.progress([100, 100, 0, 0])
    display.finished(JOBS[1])
    lines = console.export_text().splitlines()
    assert lines == ["finished 1 of 4 trainings; about 2 min left", "finished 2 of 4 trainings; about 2 min left"]


def test_on_a_terminal_there_is_a_bar_for_each_running_cell() -> None:
    with Progress(console=Console(file=io.StringIO())) as bars:
        display = Display(JOBS, 100, Console(file=io.StringIO()), bars)
        display.progress([50, 10, 0, 0])
        assert [bar.description for bar in bars.tasks[1:]] == [JOBS[0].label, JOBS[1].label]
        assert bars.tasks[0].completed == 60
        display.finished(JOBS[0])
        display.progress([100, 20, 5, 0])
        assert [bar.description for bar in bars.tasks[1:]] == [JOBS[1].label, JOBS[2].label]
        assert bars.tasks[0].completed == 125
        assert bars.tasks[0].description == "finished 1 of 4 trainings"
