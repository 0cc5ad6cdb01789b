"""How fast a frozen solve predicts, compiled and not, for one input and for many.

    python benchmarks/frozen_speed.py [--fast] [--seeds N] [--backend torchdiffeq|diffrax] [--json FILE]

Models are those of `lrnde benchmark digits`, trained with its schedule, without penalty and with the default one, and
frozen within a relative error of 1e-2. A prediction is the solve and the head. All forms of both models take turns in
one process on one thread; figures are medians of paired ratios of processor time, of which the tables show the median
over seeds. Torch: eager, `torch.compile(fullgraph=True)` and ONNX Runtime (`pip install onnx onnxruntime onnxscript`).
"""

# Parts of torch, jax and the ONNX packages come without types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportPrivateUsage=false, reportMissingImports=false

import argparse
import dataclasses
import functools
import json
import os
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import lrnde_core as lrnde
from lrnde_benchmarks import Hyperparameters, make_trainer, setting_by_name, task_by_name
from lrnde_benchmarks._frozen import freeze
from lrnde_benchmarks._threads import SINGLE_THREAD
from overhead import paired_ratios

ERROR = 1e-2
BATCHES = (1, 512)
# Of each form at its turn, as where one prediction follows another.
REPEATS = 5
METHODS = ("none", "default")
TASK = task_by_name("digits")
Forms = dict[str, Callable[[], Any]]


class Model(NamedTuple):
    """A trained model: its weights, the plan of its frozen solve, and what was measured of both."""

    weights: Mapping[str, Any]
    plan: lrnde.Plan
    facts: dict[str, Any]


def train(backend: str, method: str, seed: int, hyperparameters: Hyperparameters) -> Model:
    """Train, freeze, and measure on the test images."""
    setting = setting_by_name(method, steps=hyperparameters.steps, rivals=TASK.rivals)
    data = TASK.problem.load(hyperparameters, seed)
    trainer = make_trainer(backend, TASK.problem, hyperparameters, setting, data, seed)
    trainer.train(hyperparameters.steps)
    plan, frozen = freeze(trainer, ERROR, data.num_tested)
    adaptive, fixed = trainer.evaluate(), trainer.evaluate(plan)
    facts = {
        "backend": backend,
        "model": method,
        "seed": seed,
        "evaluations": [adaptive.nfe, fixed.nfe],
        "accuracy": [adaptive.score, fixed.score],
        **dataclasses.asdict(frozen),
    }
    print(
        f"{backend}, {method}, seed {seed}: {plan.describe()} ({adaptive.nfe:.0f} adaptive), accuracy "
        f"{fixed.score:.4f} ({adaptive.score:.4f}), error {frozen.error:.1e}, on test images at most "
        f"{frozen.test_errors[-1]:.1e}",
        flush=True,
    )
    return Model(trainer.weights(), plan, facts)


def torch_forms(model: Model, inputs: Any, hyperparameters: Hyperparameters) -> Forms:
    """The adaptive prediction of torchdiffeq, and those by the plan."""
    import onnxruntime
    import torch
    import torchdiffeq

    from lrnde_benchmarks.backends._torch import OPERATIONS, Network

    network = Network(TASK.problem, hyperparameters, 0)
    network.load_state_dict({name: torch.tensor(value) for name, value in model.weights.items()})
    network.requires_grad_(False)
    tolerance = hyperparameters.tolerance
    options = {"first_step": hyperparameters.first_step}
    adaptive = functools.partial(torchdiffeq.odeint, rtol=tolerance, atol=tolerance, method="dopri5", options=options)
    x = torch.tensor(inputs, dtype=torch.float32)

    class Prediction(torch.nn.Module):
        def __init__(self, solve: Callable[..., Any]) -> None:
            super().__init__()
            self.network = network
            self.solve = solve

        def forward(self, y0: Any) -> Any:
            ys = self.solve(self.network, y0, self.network.times)
            return TASK.problem.outputs(OPERATIONS, self.network.weights, ys)

    def run(predict: Callable[..., Any]) -> Any:
        with torch.no_grad():
            return predict(x)

    native, frozen = Prediction(adaptive), Prediction(lrnde.apply_plan(torchdiffeq.odeint, model.plan))
    frozen.eval()
    torch.compiler.reset()  # several networks share this code, and more than 8 versions of it are not compiled
    compiled = torch.compile(frozen, fullgraph=True, dynamic=False)
    program: Any = torch.onnx.export(frozen, (x,), dynamo=True, verbose=False)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString(), settings)
    feed = {session.get_inputs()[0].name: x.numpy()}
    return {
        "adaptive, eager": lambda: run(native),
        "frozen, eager": lambda: run(frozen),
        "frozen, torch.compile": lambda: run(compiled),
        "frozen, ONNX Runtime": lambda: session.run(None, feed)[0],
    }


def jax_forms(model: Model, inputs: Any, hyperparameters: Hyperparameters) -> Forms:
    """The adaptive prediction of diffrax and that by the plan, both compiled."""
    import jax
    import jax.numpy as jnp

    from lrnde_benchmarks.backends._diffrax import Method
    from lrnde_benchmarks.backends._jax import predictor

    weights = {name: jnp.asarray(value) for name, value in model.weights.items()}
    x, key = jnp.asarray(inputs, jnp.float32), jax.random.key(0)
    native = Method(TASK.problem, hyperparameters.tolerance, hyperparameters.first_step)
    frozen = native._replace(plan=model.plan)
    return {
        "adaptive, jit": lambda: jax.block_until_ready(predictor(native)(weights, x, key)),
        "frozen, jit": lambda: jax.block_until_ready(predictor(frozen)(weights, x, key)),
    }


BACKENDS = {"torchdiffeq": torch_forms, "diffrax": jax_forms}


def time_forms(
    backend: str, seed: int, models: Mapping[str, Model], batch: int, seconds: float
) -> list[dict[str, Any]]:
    """A row for each model and form, all of them timed in turn against the adaptive unpenalised one."""
    hyperparameters = TASK.hyperparameters
    data = TASK.problem.load(hyperparameters, seed)
    inputs = data.inputs[np.resize(data.test_batches.flatten()[: data.num_tested], batch)]
    calls: dict[tuple[str, str], Callable[[], Any]] = {}
    for name, model in models.items():
        forms = BACKENDS[backend](model, inputs, hyperparameters)
        calls |= {(name, form): functools.partial(_repeat, call) for form, call in forms.items()}
    first, *others = calls
    ratios, base_seconds = paired_ratios(calls[first], [calls[key] for key in others], seconds)
    times = dict(zip(calls, [1.0, *ratios], strict=True))
    adaptive = {name: next(time for key, time in times.items() if key[0] == name) for name in models}
    return [
        {
            "backend": backend,
            "seed": seed,
            "batch": batch,
            "model": name,
            "form": form,
            "ms": 1e3 * base_seconds * time / REPEATS,
            "speedup": 1 / time,
            "speedup_own": adaptive[name] / time,
        }
        for (name, form), time in times.items()
    ]


def _repeat(call: Callable[[], Any]) -> None:
    for _ in range(REPEATS):
        call()


def print_table(rows: list[dict[str, Any]]) -> None:
    """Medians over seeds, with the smallest and the largest."""
    print("\n| backend | model | form | batch | ms | times as fast as `none`, adaptive | as its own adaptive solve |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["backend"], f"`{row['model']}`", row["form"], row["batch"]), []).append(row)
    for key, group in sorted(groups.items(), key=lambda item: (item[0][0], item[0][3])):
        cells = [f"{statistics.median(row['ms'] for row in group):.3f}"]
        for name in ("speedup", "speedup_own"):
            values = [row[name] for row in group]
            cells.append(f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})")
        print(f"| {' | '.join(map(str, key))} | {' | '.join(cells)} |")


def main() -> None:
    """Print the table; write it to a file if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="30 training iterations, fewer repetitions")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--backend", choices=list(BACKENDS), help="only this one")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args()
    # Torch and XLA read these when they are imported.
    os.environ.update(SINGLE_THREAD)
    steps = 30 if options.fast else TASK.hyperparameters.steps
    hyperparameters = dataclasses.replace(TASK.hyperparameters, steps=steps)
    trained: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for backend in [options.backend] if options.backend else list(BACKENDS):
        for seed in range(options.seeds):
            models = {method: train(backend, method, seed, hyperparameters) for method in METHODS}
            trained += [model.facts for model in models.values()]
            for batch in BATCHES:
                rows += time_forms(backend, seed, models, batch, 1.0 if options.fast else 5.0)
    print_table(rows)
    if options.json:
        content = {"steps": steps, "models": trained, "rows": rows}
        options.json.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
