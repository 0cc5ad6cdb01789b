"""`freeze_sde` with torchsde, against Euler's method in numpy along the same Brownian paths."""

import functools
import itertools
from typing import Any

import numpy as np
import pytest
import torch
import torchsde

import lrnde

NUM_PATHS = 40
Y0 = torch.full((NUM_PATHS, 1), 1.5, dtype=torch.float64)
TS = torch.tensor([0.0, 1.0], dtype=torch.float64)
FINE = functools.partial(torchsde.sdeint, method="euler", dt=2.0**-6)


class Decay(torch.nn.Module):
    """dy = -2 y dt + (0.3 + 0.1 y) dW."""

    sde_type, noise_type = "ito", "diagonal"

    def f(self, t: Any, y: torch.Tensor) -> torch.Tensor:
        del t
        return -2 * y

    def g(self, t: Any, y: torch.Tensor) -> torch.Tensor:
        del t
        return 0.3 + 0.1 * y


def motion(seed: int) -> torchsde.BrownianInterval:
    return torchsde.BrownianInterval(0.0, 1.0, size=(NUM_PATHS, 1), dtype=torch.float64, entropy=seed)


def moments(ys: torch.Tensor) -> torch.Tensor:
    return torch.cat([ys[-1], ys[-1] ** 2], 1)


def euler(path: Any, num_steps: int) -> np.ndarray:
    y, times = Y0.numpy(), np.linspace(0, 1, num_steps + 1)
    for start, end in itertools.pairwise(times):
        y = y - 2 * y * (end - start) + (0.3 + 0.1 * y) * path(torch.tensor(start), torch.tensor(end)).numpy()
    return np.concatenate([y, y**2], 1)


def test_the_fewest_steps_within_the_error_are_kept_and_the_error_is_that_of_the_statistics(
    caplog: pytest.LogCaptureFixture,
) -> None:
    paths = [motion(seed) for seed in range(4)]
    calibration = [(Decay(), Y0, TS, path) for path in paths]
    with caplog.at_level("INFO", "lrnde"):
        frozen, report = lrnde.freeze_sde(FINE, calibration=calibration, statistic=moments, error=0.15)
    assert len(caplog.messages) == len(report.trials)
    native = [euler(path, 64) for path in paths]
    scale = np.concatenate(native).std(0)
    for trial in report.trials:
        for half, found in ((0, trial.search), (1, trial.held_back)):
            pairs = zip(paths[half::2], native[half::2], strict=True)
            ours = [euler(path, trial.num_steps) - known for path, known in pairs]
            expected = np.abs(np.concatenate(ours).mean(0) / scale).max()
            assert found is None or found.estimate == pytest.approx(expected, rel=1e-6)
    assert [trial.num_steps for trial in report.trials[:-1]] == [
        trial.num_steps for trial in report.trials if trial.held_back is None or trial.held_back.bound > 0.15
    ]
    assert report.error.bound <= 0.15
    # torchsde evaluates drift and diffusion once more to check their shapes.
    assert (report.num_evaluations, report.native_evaluations) == (2 * report.plan.num_steps + 2, 130)
    assert report.num_paths == 2 * NUM_PATHS
    plan = lrnde.SDEPlan.from_json(report.plan.to_json())
    again = lrnde.apply_sde_plan(FINE, plan)(Decay(), Y0, TS, bm=motion(9))
    assert torch.equal(frozen(Decay(), Y0, TS, motion(9)), again)


def test_an_adaptive_solve_gives_way_to_fixed_steps_with_gradient() -> None:
    solve = functools.partial(torchsde.sdeint, method="milstein", adaptive=True, rtol=1e-2, atol=1e-2, dt=0.1)
    calibration = [(Decay(), Y0, TS, motion(seed)) for seed in range(2)]
    frozen, report = lrnde.freeze_sde(solve, calibration=calibration, statistic=lambda ys: ys[-1], error=0.2)
    assert report.native_evaluations is not None
    assert report.num_evaluations is not None
    assert report.num_evaluations < 0.5 * report.native_evaluations
    y0 = Y0.clone().requires_grad_()
    frozen(Decay(), y0, TS).sum().backward()
    assert y0.grad is not None
    assert bool((y0.grad > 0).all())


class Trained(Decay):
    """In training mode, with a buffer and a state that it writes to; after `until` not a number."""

    def __init__(self, until: float = 2.0) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(1, dtype=torch.float64)
        self.until = until

    def f(self, t: Any, y: torch.Tensor) -> torch.Tensor:
        self.norm(y.clamp_(max=10.0))
        return -2 * y if t < self.until else y * torch.nan


def test_nothing_of_the_users_is_changed() -> None:
    sde, y0, state = Trained(), 20.0 * Y0, str(np.random.get_state())
    # New noise in each solve: its entropy is drawn from numpy's global state.
    lrnde.freeze_sde(FINE, calibration=[(sde, y0, TS)] * 2, statistic=lambda ys: ys[-1], error=100.0)
    assert sde.norm.num_batches_tracked == 0
    assert torch.equal(y0, 20.0 * Y0)
    assert str(np.random.get_state()) == state


def test_a_native_solve_that_is_not_finite_is_refused_whatever_the_statistic_says() -> None:
    calibration = [(Trained(until), Y0, TS, motion(0)) for until in (2.0, 0.5)]
    with pytest.raises(lrnde.InputError, match=r"`calibration\[1\]` failed: 40 of its 40 paths are not finite"):
        lrnde.freeze_sde(FINE, calibration=calibration, statistic=lambda ys: (ys[-1] > 0).double())


def test_new_noise_in_each_solve_tells_too_little() -> None:
    with pytest.raises(lrnde.InputError, match=r"same Brownian paths"):
        lrnde.freeze_sde(FINE, calibration=[(Decay(), Y0, TS)] * 2, statistic=lambda ys: ys[-1], error=0.05)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"calibration": [(Decay(), Y0[:9], TS)] * 2}, "30 are needed"),
        ({"calibration": [(Decay(), Y0, TS)]}, "at least 2"),
        ({"statistic": lambda ys: ys[0]}, "same on every path"),
        (
            {"statistic": lambda ys: ys[-1].mean(0)},
            r"`calibration\[0\]`, which solves 40 paths.*taken for you",
        ),
        ({"statistic": lambda ys: ys}, "which solves 40 paths"),
        ({"calibration": [(Decay(), Y0, TS[1:])] * 2}, "has no length"),
        ({"candidates": []}, "empty"),
        ({"candidates": [0]}, "whole number"),
        ({"error": 0}, "positive"),
    ],
)
def test_bad_input_is_told(settings: dict[str, Any], message: str) -> None:
    usual = {"calibration": [(Decay(), Y0, TS)] * 2, "statistic": lambda ys: ys[-1]}
    with pytest.raises(lrnde.InputError, match=message):
        lrnde.freeze_sde(FINE, **{**usual, **settings})


@pytest.mark.parametrize("ts", [2 * TS, 100 + TS.float()])
def test_the_steps_divide_any_interval(ts: torch.Tensor) -> None:
    times: list[float] = []

    class Timed(Decay):
        def f(self, t: Any, y: torch.Tensor) -> torch.Tensor:
            times.append(float(t))
            return super().f(t, y)

    frozen = lrnde.apply_sde_plan(FINE, lrnde.SDEPlan(4))
    assert frozen(Timed(), Y0.to(ts.dtype), ts).dtype == ts.dtype
    expected = float(ts[0]) + float(ts[1] - ts[0]) * np.arange(4) / 4
    # The first is torchsde's check of shapes. Each of four steps is four roundings longer, and rounded.
    np.testing.assert_allclose(times[1:], expected, rtol=4 * 5 * torch.finfo(ts.dtype).eps)


def test_calls_of_other_intervals_are_calibrated_together() -> None:
    paths = [torchsde.BrownianInterval(0.0, end, size=(NUM_PATHS, 1), dtype=torch.float64) for end in (1.0, 2.0)]
    calls = [(Decay(), Y0, end * TS, path) for end, path in zip((1.0, 2.0), paths, strict=True)]
    report = lrnde.freeze_sde(FINE, calibration=calls, statistic=lambda ys: ys[-1], error=1.0, candidates=[8])[1]
    assert report.num_evaluations == 2 * 8 + 2


def test_freeze_names_its_stochastic_counterpart() -> None:
    with pytest.raises(lrnde.CapabilityError, match="Use `freeze_sde`"):
        lrnde.freeze(FINE, calibration=[(Decay(), Y0, TS)] * 2)
