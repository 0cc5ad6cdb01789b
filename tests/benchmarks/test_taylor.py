"""The row `tl_node`: it trains by few steps, learns its midpoints, and is refused where there is noise."""

import dataclasses

import pytest

import lrnde
from lrnde_benchmarks._backends._make_trainer import make_trainer
from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._methods import setting_by_name
from lrnde_benchmarks._settings import ExpansionSettings, Setting
from lrnde_benchmarks._tasks._by_name import TASKS

_SMALL = Hyperparameters(steps=8, chunk=4, learning_rate=1e-2)


@pytest.mark.parametrize("adapter", list(TASKS["digits"].solvers))
def test_it_trains_the_task_in_two_steps(adapter: str) -> None:
    task = TASKS["digits"]
    setting = setting_by_name("tl_node", steps=8, tuning=task.tuning)
    assert setting.expansion is not None
    outcomes: list[float] = []
    # The period decides what the midpoints are, and so, a little, the solution. Each of them is compiled anew.
    for period in (2, 100) if adapter == "torchdiffeq" else (2,):
        learning = dataclasses.replace(setting.expansion, period=period, learning_rate=0.1)
        own = dataclasses.replace(setting, expansion=learning)
        trainer = make_trainer(adapter, task.problem, _SMALL, own, task.problem.load(_SMALL, seed=0), seed=0)
        trainer.prepare()
        before = trainer.evaluate()
        trainer.train(8)
        after = trainer.evaluate()
        assert (after.nfe, after.num_accepted) == (6, 2)
        assert after.score > before.score + 0.2
        assert trainer.step_times() == pytest.approx([0.5, 1.0])
        assert trainer.predict_once() > 0
        outcomes.append(float(trainer.states()[0].sum()))
    assert len(set(outcomes)) == len(outcomes)


def test_it_is_refused_where_there_is_noise() -> None:
    task = TASKS["digits-sde"]
    setting = Setting("tl_node", expansion=ExpansionSettings())
    with pytest.raises(lrnde.CapabilityError, match="`tl_node` expands the solution in time, which noise does not"):
        make_trainer("torchsde", task.problem, task.fast, setting, task.problem.load(task.fast, 0), 0)
