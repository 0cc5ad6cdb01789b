"""Tests of work that is timed in turn, by a clock that only the work moves."""

import gc

from lrnde_benchmarks._paired_times import paired_ratios, paired_times


class Clock:
    """Each iteration takes its own time, and all take three times as long in every other round."""

    def __init__(self) -> None:
        self.now = 0.0
        self.rounds = 0

    def iteration(self, seconds: float, *, begins_round: bool = False) -> None:
        self.rounds += begins_round
        self.now += seconds * (3.0 if self.rounds % 2 else 1.0)

    def __call__(self) -> float:
        return self.now


def test_a_machine_whose_speed_changes_leaves_ratios_exact() -> None:
    clock = Clock()
    (twice, half), bare = paired_ratios(
        lambda: clock.iteration(1.0, begins_round=True),
        [lambda: clock.iteration(2.0), lambda: clock.iteration(0.5)],
        seconds=0.0,
        clock=clock,
    )
    assert twice == (2.0, 2.0, 2.0, True)
    assert half == (0.5, 0.5, 0.5, True)
    assert 1.0 <= bare <= 3.0


def test_there_are_ten_rounds_at_least_and_collections_are_on_again() -> None:
    assert gc.isenabled()
    assert len(paired_times([lambda: None, lambda: None], seconds=0.0)) == 10
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
