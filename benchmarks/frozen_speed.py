"""The time of a frozen prediction, compiled and not, for one input and for many.

    python benchmarks/frozen_speed.py [--fast] [--seeds N] [--backend torchdiffeq|diffrax] [--device cuda] [--json FILE]

Models are those of `lrnde benchmark digits`, trained with its schedule, without penalty and with the default one, and
frozen within a relative error of 1e-2. A prediction is the solve and the head. All forms of both models take turns in
one process on one thread; figures are medians of paired ratios of processor time (wall time on another device) with
their 95% intervals; the table shows their geometric mean over seeds, with its interval over seeds. Torch: eager,
`torch.compile(fullgraph=True)` and ONNX Runtime (`pip install onnx onnxruntime onnxscript`) or, on CUDA, a graph.
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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import lrnde
from lrnde_benchmarks import Hyperparameters, make_trainer, setting_by_name, task_by_name
from lrnde_benchmarks._cells._frozen_solve import freeze
from lrnde_benchmarks._cells._threads import SINGLE_THREAD
from lrnde_benchmarks._paired_times import paired_times
from lrnde_benchmarks._statistics import Interval, in_words, ratio_interval, repeated_ratio
from lrnde_core import write_text
from overhead import clock_for

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
    setting = setting_by_name(method, steps=hyperparameters.steps, tuning=TASK.tuning)
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


def torch_forms(model: Model, inputs: Any, hyperparameters: Hyperparameters, device: str) -> Forms:
    """The adaptive prediction of torchdiffeq, and those by the plan."""
    import torch
    import torchdiffeq

    from lrnde_benchmarks._backends._torch_solver import OPERATIONS, Network

    network = Network(TASK.problem, hyperparameters, 0)
    network.load_state_dict({name: torch.tensor(value) for name, value in model.weights.items()})
    network.requires_grad_(False)
    network.to(device)
    network.times = network.times.to(device)
    network.weights = dict(network.named_parameters())
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    tolerance = hyperparameters.tolerance
    options = {"first_step": hyperparameters.first_step}
    adaptive = functools.partial(torchdiffeq.odeint, rtol=tolerance, atol=tolerance, method="dopri5", options=options)
    x = torch.tensor(inputs, dtype=torch.float32, device=device)

    class Prediction(torch.nn.Module):
        def __init__(self, solve: Callable[..., Any]) -> None:
            super().__init__()
            self.network = network
            self.solve = solve

        def forward(self, y0: Any) -> Any:
            ys = self.solve(self.network, y0, self.network.times)
            return TASK.problem.outputs(OPERATIONS, self.network.weights, ys)

    def run(predict: Callable[..., Any]) -> None:
        with torch.no_grad():
            predict(x)
        wait()

    native = Prediction(adaptive)
    frozen = Prediction(lrnde.apply_plan(torchdiffeq.odeint, model.plan))
    frozen.eval()
    torch.compiler.reset()  # several networks share this code, and more than 8 versions of it are not compiled
    compiled = torch.compile(frozen, fullgraph=True, dynamic=False)
    exported = _cuda_graph(frozen, x) if device == "cuda" else _onnx_session(frozen, x)
    return {
        "adaptive, eager": lambda: run(native),
        "frozen, eager": lambda: run(frozen),
        "frozen, torch.compile": lambda: run(compiled),
        **exported,
    }


def _onnx_session(predict: Any, x: Any) -> Forms:
    import onnxruntime
    import torch

    program: Any = torch.onnx.export(predict, (x,), dynamo=True, verbose=False)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString(), settings)
    feed = {session.get_inputs()[0].name: x.numpy()}
    return {"frozen, ONNX Runtime": lambda: session.run(None, feed)[0]}


def _cuda_graph(predict: Any, x: Any) -> Forms:
    import torch

    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()
    with torch.no_grad():
        # What libraries set up at the first call cannot be captured.
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            predict(x)
        torch.cuda.synchronize()
        with torch.cuda.graph(graph):
            predict(x)

    def replay() -> None:
        graph.replay()
        torch.cuda.synchronize()

    return {"frozen, CUDA graph": replay}


def jax_forms(model: Model, inputs: Any, hyperparameters: Hyperparameters, device: str) -> Forms:
    """The adaptive prediction of diffrax and that by the plan, both compiled."""
    import jax
    import jax.numpy as jnp

    from lrnde_benchmarks._backends._diffrax import SolveSettings
    from lrnde_benchmarks._backends._jax_programs import predictor

    weights = {name: jnp.asarray(value) for name, value in model.weights.items()}
    x, key = jnp.asarray(inputs, jnp.float32), jax.random.key(0)
    # What is compiled runs where its arguments are.
    weights, x, key = jax.device_put((weights, x, key), jax.devices("cpu" if device == "cpu" else "gpu")[0])
    native = SolveSettings(TASK.problem, hyperparameters.tolerance, hyperparameters.first_step)
    frozen = native._replace(plan=model.plan)
    return {
        "adaptive, jit": lambda: jax.block_until_ready(predictor(native)(weights, x, key)),
        "frozen, jit": lambda: jax.block_until_ready(predictor(frozen)(weights, x, key)),
    }


BACKENDS = {"torchdiffeq": torch_forms, "diffrax": jax_forms}


def time_forms(
    backend: str, seed: int, models: Mapping[str, Model], batch: int, seconds: float, device: str
) -> list[dict[str, Any]]:
    """A row for each model and form, all of them timed in turn against the adaptive unpenalised one."""
    hyperparameters = TASK.hyperparameters
    data = TASK.problem.load(hyperparameters, seed)
    inputs = data.inputs[np.resize(data.test_batches.flatten()[: data.num_tested], batch)]
    calls: dict[tuple[str, str], Callable[[], Any]] = {}
    for name, model in models.items():
        forms = BACKENDS[backend](model, inputs, hyperparameters, device)
        calls |= {(name, form): functools.partial(_repeat, call) for form, call in forms.items()}
    rounds = paired_times(list(calls.values()), seconds, clock_for(device))
    times = dict(zip(calls, zip(*rounds, strict=True), strict=True))
    adaptive = {name: next(own for key, own in times.items() if key[0] == name) for name in models}
    base = next(iter(times.values()))
    return [
        {
            "backend": backend,
            "seed": seed,
            "batch": batch,
            "model": name,
            "form": form,
            "ms": 1e3 * statistics.median(own) / REPEATS,
            "speedup": _speedup(base, own),
            "speedup_own": _speedup(adaptive[name], own),
        }
        for (name, form), own in times.items()
    ]


def _speedup(base: Sequence[float], own: Sequence[float]) -> dict[str, Any]:
    return repeated_ratio([other / each for other, each in zip(base, own, strict=True)])._asdict()


def _repeat(call: Callable[[], Any]) -> None:
    for _ in range(REPEATS):
        call()


def print_table(rows: list[dict[str, Any]]) -> None:
    """Geometric means over seeds, with their intervals; of a single seed, the interval over its repeats."""
    print("\n| backend | model | form | batch | ms | speedup over `none`, adaptive | over its own adaptive solve |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["backend"], f"`{row['model']}`", row["form"], row["batch"]), []).append(row)
    for key, group in sorted(groups.items(), key=lambda item: (item[0][0], item[0][3])):
        cells = [f"{statistics.median(row['ms'] for row in group):.3f}"]
        for name in ("speedup", "speedup_own"):
            found = [Interval(**row[name]) for row in group]
            cells.append(in_words(found[0] if len(found) == 1 else ratio_interval([each.mean for each in found]), 1))
        print(f"| {' | '.join(map(str, key))} | {' | '.join(cells)} |")


def main() -> None:
    """Print the table; write it to a file if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="30 training iterations, fewer repetitions")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--backend", choices=list(BACKENDS), help="only this one")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"], help="of the predictions")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args()
    if options.device == "cpu":
        # Torch and XLA read these when they are imported.
        os.environ.update(SINGLE_THREAD)
    steps = 30 if options.fast else TASK.hyperparameters.steps
    hyperparameters = dataclasses.replace(TASK.hyperparameters, steps=steps)
    trained: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []

    def write() -> None:
        if options.json:
            content = {"steps": steps, "models": trained, "rows": rows}
            write_text(options.json, json.dumps(content, indent=2) + "\n")

    for backend in [options.backend] if options.backend else list(BACKENDS):
        for seed in range(options.seeds):
            models = {method: train(backend, method, seed, hyperparameters) for method in METHODS}
            trained += [model.facts for model in models.values()]
            for batch in BATCHES:
                rows += time_forms(backend, seed, models, batch, 1.0 if options.fast else 5.0, options.device)
                # Here and not at the end: on a device that is lent the time may be up before.
                write()
    print_table(rows)


if __name__ == "__main__":
    main()
