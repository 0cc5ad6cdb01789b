"""The code of the guide to watching a training runs as it stands there."""

import functools
import re
from pathlib import Path
from typing import Any

import pytest

import lrnde
from lrnde_core import FindingKind

_GUIDE = Path(__file__).parents[2] / "docs" / "watch-training.md"
_TEXT = _GUIDE.read_text(encoding="utf-8")
_BLOCKS = re.findall(r"^```python\n(.*?)^```$", _TEXT, re.MULTILINE | re.DOTALL)
_ENTRIES = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`[a-z].*?) \|", _TEXT, re.MULTILINE)))


def test_the_blocks_in_torch() -> None:
    torch, torchdiffeq = pytest.importorskip("torch"), pytest.importorskip("torchdiffeq")
    import lrnde_torch

    layer = torch.nn.Linear(2, 2)
    func = torch.nn.Module()
    func.layer, func.forward = layer, lambda t, y: torch.cos(6 * t) * y + layer(y).tanh()
    logged: list[dict[str, Any]] = []
    printed: list[Any] = []
    namespace: dict[str, Any] = {
        "lrnde": lrnde,
        "lrnde_torch": lrnde_torch,
        "torchdiffeq": torchdiffeq,
        "functools": functools,
        "func": func,
        "t": torch.tensor([0.0, 1.0]),
        "batches": [(x, x) for x in torch.randn(3, 4, 2)],
        "task_loss": lambda ys, target: (ys[-1] - target).square().mean(),
        "optimizer": torch.optim.Adam(func.parameters()),
        "log": logged.append,
        "print": lambda *values: printed.append(values),
    }
    exec(_BLOCKS[0], namespace)
    assert len(logged) == 3
    assert len({frozenset(entries) for entries in logged}) == 1
    assert {name.removeprefix("train/") for name in logged[0]} - {"weight"} <= set(_ENTRIES)
    assert all(entries["train/nfe_backward"] > 0 for entries in logged)
    exec(_BLOCKS[3], namespace)
    exec(_BLOCKS[4], namespace)
    findings = namespace["diagnosis"].findings
    assert [name for name, _ in printed[1:]] == [finding.kind.name for finding in findings]
    assert FindingKind.TOLERANCE in [finding.kind for finding in findings]


def test_the_block_in_jax() -> None:
    jax, diffrax = pytest.importorskip("jax"), pytest.importorskip("diffrax")
    logged: list[dict[str, Any]] = []
    namespace: dict[str, Any] = {
        "jax": jax,
        "solve": lrnde.regularize(diffrax.diffeqsolve),
        "term": diffrax.ODETerm(lambda t, y, params: jax.numpy.tanh(y @ params)),
        "solver": diffrax.Tsit5(),
        "controller": diffrax.PIDController(rtol=1e-3, atol=1e-3),
        "params": jax.numpy.eye(3) / 2,
        "batches": jax.random.normal(jax.random.key(0), (2, 4, 3)),
        "keys": jax.random.split(jax.random.key(1), 2),
        "task_loss": lambda y: (y**2).mean(),
        "log": logged.append,
    }
    exec(_BLOCKS[1], namespace)
    assert len(logged) == 2
    assert {name.removeprefix("train/") for name in logged[0]} <= set(_ENTRIES)
    assert all(value.shape == () for value in logged[0].values())


def test_the_block_in_lightning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lightning, torchdiffeq = pytest.importorskip("lightning"), pytest.importorskip("torchdiffeq")
    import torch

    import lrnde_lightning

    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {
        "lightning": lightning,
        "lrnde_lightning": lrnde_lightning,
        "odeint": lrnde.regularize(torchdiffeq.odeint),
        "func": lambda t, y: -y,
        "t": torch.tensor([0.0, 1.0]),
        "task_loss": lambda ys, target: (ys[-1] - target).square().mean(),
    }
    exec(_BLOCKS[2], namespace)
    x = torch.ones(4, 2)
    assert isinstance(namespace["Classifier"]().training_step((x, x), 0)["report"], lrnde.Report)
    assert any(isinstance(each, lrnde_lightning.LogSolves) for each in namespace["trainer"].callbacks)


def test_the_tables_name_every_entry_and_every_finding() -> None:
    names = set(_ENTRIES)
    fields = set(lrnde.Report._fields) - {"sample", "plan"}
    of_plan = {f"plan_{name}" for name in lrnde.CheckedPlan(error=0.1, gradient_error=0.1).as_dict()}
    assert names == fields | of_plan | {"sample_error_ratio", "sample_stiffness"}
    assert re.findall(r"^\| `([A-Z_]+)` \|", _TEXT, re.MULTILINE) == [kind.name for kind in FindingKind]
