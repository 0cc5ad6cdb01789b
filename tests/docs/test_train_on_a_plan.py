"""The code of the guide to training on a plan runs as it stands there."""

import dataclasses
import functools
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
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
    _run(10, namespace)
    assert namespace["report"].plan.steps == plan.steps


def test_a_torch_training_that_is_loaded_continues_to_the_last_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch, torchdiffeq = pytest.importorskip("torch"), pytest.importorskip("torchdiffeq")
    lrnde_torch = pytest.importorskip("lrnde_torch")
    monkeypatch.chdir(tmp_path)
    t = torch.tensor([0.0, 1.0])

    def made(seed: int) -> dict[str, Any]:
        torch.manual_seed(seed)
        odeint = lrnde.regularize(torchdiffeq.odeint, steps=lrnde.CheckedSteps(period=(2, 4)))
        model = torch.nn.Module()
        model.layer, model.plan_holder = torch.nn.Linear(3, 3), odeint.plan_holder
        optimizer = torch.optim.Adam(model.parameters(), lr=0.3)
        weight = lrnde_torch.WeightHolder(lrnde.GradientRatio(period=2), model.parameters())
        return {"torch": torch, "model": model, "optimizer": optimizer, "weight": weight, "odeint": odeint}

    def train(made: dict[str, Any], inputs: Any) -> list[tuple[float, Any, float]]:
        found: list[tuple[float, Any, float]] = []
        for x in inputs:
            ys, report = made["odeint"](lambda _, y: made["model"].layer(y).tanh(), x, t, rtol=1e-5, atol=1e-5)
            loss = (ys[-1] - x.flip(1)).square().mean()
            made["optimizer"].zero_grad()
            made["weight"].total(loss, report).backward()
            made["optimizer"].step()
            made["weight"].update(report)
            found.append((loss.item(), report.plan, made["weight"].value()))
        return found

    inputs = torch.randn(9, 6, 3, generator=torch.Generator().manual_seed(0))
    whole, resumed = made(0), made(1)
    train(whole, inputs[:4])
    _run(4, whole)
    rest = train(whole, inputs[4:])
    _run(5, resumed)
    assert train(resumed, inputs[4:]) == rest
    assert rest[-1][1].num_checks > 2
    assert all(map(torch.equal, whole["model"].parameters(), resumed["model"].parameters()))


@pytest.fixture(scope="module")
def trained() -> dict[str, Any]:
    """What the training in JAX leaves behind, and its start, on batches that are stiffer from the fifth on."""
    jax, diffrax = pytest.importorskip("jax"), pytest.importorskip("diffrax")
    lrnde_jax = pytest.importorskip("lrnde_jax")
    inputs = jax.random.normal(jax.random.key(0), (12, 20, 3)) * jax.numpy.repeat(
        jax.numpy.asarray([10.0, 0.1]), jax.numpy.asarray([4, 8])
    ).reshape(12, 1, 1)
    namespace: dict[str, Any] = {
        "lrnde": lrnde,
        "lrnde_jax": lrnde_jax,
        "jax": jax,
        "diffrax": diffrax,
        "functools": functools,
        "term": diffrax.ODETerm(lambda t, y, params: jax.numpy.tanh(y @ params)),
        "solver": diffrax.Tsit5(),
        "controller": diffrax.PIDController(rtol=1e-5, atol=1e-5),
        "params": 1.5 * jax.numpy.eye(3),
        "start": 1.5 * jax.numpy.eye(3),
        "inputs": inputs,
        "batches": [(x, x[:, ::-1]) for x in inputs],
        "keys": jax.random.split(jax.random.key(1), 12),
        "task_loss": lambda y, target: ((y - target) ** 2).mean(),
    }
    _run(1, namespace)
    return namespace


def test_the_blocks_in_jax(trained: dict[str, Any]) -> None:
    plan = trained["plan"]
    assert plan.steps is not None
    assert (plan.num_iterations, plan.num_checks) == (12, 2)
    namespace = dict(trained)
    _run(2, namespace)
    _run(3, namespace)
    bounded, check_step, params = (namespace[name] for name in ("steps", "check_step", "params"))
    plan = bounded.check(bounded.init(), lambda fixed: check_step(params, trained["inputs"][0], fixed))
    assert 0 < plan.gradient_error < 0.1


def _by_hand(namespace: dict[str, Any], folder: Path) -> None:
    """What orbax does: arrays in one file, JSON in another."""
    arrays = {"params": np.asarray(namespace["params"]), "step_error": np.asarray(namespace["report"].step_error)}
    np.savez(folder / "arrays.npz", **arrays)
    (folder / "plan.json").write_text(json.dumps(dataclasses.asdict(namespace["plan"])))
    with np.load(folder / "arrays.npz", allow_pickle=False) as found:
        restored = {name: namespace["jax"].numpy.asarray(found[name]) for name in arrays}
    namespace["saved"] = SimpleNamespace(arrays=restored, plan=json.loads((folder / "plan.json").read_text()))


def _by_orbax(namespace: dict[str, Any], folder: Path) -> None:
    namespace |= {"ocp": pytest.importorskip("orbax.checkpoint"), "dataclasses": dataclasses, "path": folder / "saved"}
    _run(6, namespace)
    _run(7, namespace)


@pytest.mark.parametrize("save_and_restore", [_by_hand, _by_orbax])
def test_a_jax_training_that_is_restored_continues_to_the_last_bit(
    save_and_restore: Any, trained: dict[str, Any], tmp_path: Path
) -> None:
    namespace = dict(trained)
    steps, check_step, train_step = (namespace[name] for name in ("steps", "check_step", "train_step"))
    plan, report, params = steps.init(), None, namespace["start"]
    batches = list(zip(namespace["batches"], namespace["keys"], strict=True))
    for (x, target), key in batches[:5]:
        plan = steps.check(plan, functools.partial(check_step, params, x), report)
        params, report = train_step(params, x, target, key, plan.steps)
    namespace |= {"plan": plan, "report": report, "params": params}
    namespace |= {"batches": namespace["batches"][5:], "keys": namespace["keys"][5:]}
    save_and_restore(namespace, tmp_path)
    namespace |= {"plan": None, "report": None, "params": None}
    _run(8, namespace)
    # The last batch before the interruption had shown that errors grow.
    assert plan.num_checks == 1
    assert namespace["plan"].checked_at == 5
    assert namespace["plan"] == trained["plan"]
    np.testing.assert_array_equal(namespace["params"], trained["params"])
