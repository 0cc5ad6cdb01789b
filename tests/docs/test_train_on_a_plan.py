"""The code of the guide to training on a plan runs as it stands there."""

import functools
import re
from pathlib import Path
from typing import Any

import pytest

import lrnde

_GUIDE = Path(__file__).parents[2] / "docs" / "train-on-a-plan.md"
_BLOCKS = re.findall(r"^```python\n(.*?)^```$", _GUIDE.read_text(), re.MULTILINE | re.DOTALL)


def _run(block: int, namespace: dict[str, Any]) -> None:
    exec(_BLOCKS[block], namespace)


def test_the_blocks_in_torch() -> None:
    torch, torchdiffeq = pytest.importorskip("torch"), pytest.importorskip("torchdiffeq")
    torch.manual_seed(0)
    model = torch.nn.Module()
    layer = torch.nn.Linear(3, 3)
    model.layer, model.func = layer, lambda t, y: layer(y).tanh()
    inputs = torch.randn(12, 20, 3, generator=torch.Generator().manual_seed(0))
    namespace: dict[str, Any] = {
        "lrnde": lrnde,
        "torchdiffeq": torchdiffeq,
        "functools": functools,
        "model": model,
        "t": torch.tensor([0.0, 1.0]),
        "batches": [(x, x.flip(1)) for x in inputs],
        "task_loss": lambda ys, target: (ys[-1] - target).square().mean(),
        "optimizer": torch.optim.Adam(model.parameters()),
        "print": lambda plan: None,
    }
    _run(0, namespace)
    plan = namespace["report"].plan
    assert plan.steps is not None
    assert (plan.num_iterations, plan.num_checks) == (12, 2)
    assert "plan_holder._extra_state" in model.state_dict()
    namespace["calls"] = [(model.func, x, namespace["t"]) for x in inputs]
    _run(5, namespace)
    assert namespace["report"].plan.steps == plan.steps


def test_the_blocks_in_jax() -> None:
    jax, diffrax = pytest.importorskip("jax"), pytest.importorskip("diffrax")
    lrnde_jax = pytest.importorskip("lrnde_jax")
    inputs = jax.random.normal(jax.random.key(0), (12, 20, 3))
    namespace: dict[str, Any] = {
        "lrnde": lrnde,
        "lrnde_jax": lrnde_jax,
        "jax": jax,
        "diffrax": diffrax,
        "functools": functools,
        "term": diffrax.ODETerm(lambda t, y, params: jax.numpy.tanh(y @ params)),
        "solver": diffrax.Tsit5(),
        "controller": diffrax.PIDController(rtol=1e-5, atol=1e-5),
        "params": jax.numpy.eye(3) / 2,
        "batches": [(x, x[:, ::-1]) for x in inputs],
        "keys": jax.random.split(jax.random.key(1), 12),
        "task_loss": lambda y, target: ((y - target) ** 2).mean(),
    }
    _run(1, namespace)
    plan = namespace["plan"]
    assert plan.steps is not None
    assert (plan.num_iterations, plan.num_checks) == (12, 2)
    _run(2, namespace)
    _run(3, namespace)
    bounded, check_step, params = (namespace[name] for name in ("steps", "check_step", "params"))
    plan = bounded.check(bounded.init(), lambda fixed: check_step(params, inputs[0], fixed))
    assert 0 < plan.gradient_error < 0.1
