"""The command `lrnde`. Exit codes: 0 fine, 1 a check failed or the run was interrupted, 2 bad usage."""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lrnde_core import __version__
from lrnde_core._errors import InputError, LrndeError, PluginError
from lrnde_core._registry import REGISTRY, AdapterInfo

app = typer.Typer(
    help="Locally regularized neural differential equations, for any solver.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

# Import names; what `lrnde[benchmarks]` installs.
_BENCHMARK_LIBRARIES = ("joblib", "matplotlib", "numpy", "optax", "scipy", "sklearn")

JsonOption = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write the result to FILE as JSON, too.")
]


def main() -> None:
    """Run the command line. A user's mistake becomes a message and exit code 2."""
    try:
        app()
    except LrndeError as error:
        _console(is_error=True).print(Text(f"lrnde: {error}", style="red"), soft_wrap=True)
        sys.exit(2)


def _console(*, is_error: bool = False) -> Console:
    return Console(stderr=is_error)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"lrnde {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    del version


@app.command("adapters")
def list_adapters(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Only these.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Also print what each adapter can do.")] = False,
    json_file: JsonOption = None,
) -> None:
    """List the solver adapters: versions, and whether they can be used or why not.

    Loads their libraries to find out.
    """
    infos = REGISTRY.list_adapters()
    if names:
        known = {info.name for info in infos}
        for name in names:
            if name not in known:
                REGISTRY.spec(name)  # raises, naming those that exist
        infos = [info for info in infos if info.name in names]
    console = _console()
    console.print(_adapters_table(infos))
    for info in infos:
        if info.failure is not None:
            console.print(Text(_why_not(info), style="red"), soft_wrap=True)
    if verbose:
        for info in infos:
            _print_capabilities(info, console)
    if json_file is not None:
        _write_json(json_file, [_adapter_values(info) for info in infos])


@app.command("compare")
def compare(
    task: Annotated[
        str,
        typer.Option(
            help="digits (a neural ODE; torchdiffeq, diffrax), spiral-sde or digits-sde (neural SDEs; torchsde, "
            "diffrax), or another task of `lrnde benchmark`."
        ),
    ] = "digits",
    adapters: Annotated[
        list[str] | None,
        typer.Option(help="Backends, separated by commas or the option repeated; all that can be used by default."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            help="Rows, given in the same way: none (always there), default, taylor_derivative, looser_tolerance, "
            "looser_training, weight_decay, steer, predicted_steps, lrnde_unbiased, lrnde_biased, lrnde_stiffness."
        ),
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Number of seeds; 3 by default.")] = None,
    steps: Annotated[int | None, typer.Option(help="Training steps; the task's own number by default.")] = None,
    weight: Annotated[float | None, typer.Option(help="Weight of the penalty in the row `default`.")] = None,
    jobs: Annotated[
        int | None, typer.Option(help="Processes at a time, a seed on a backend each; one per core by default.")
    ] = None,
    fast: Annotated[bool, typer.Option("--fast", help="One seed and a few steps: to see that it runs.")] = False,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for report.json and the plots.")] = Path(
        "lrnde-compare"
    ),
    json_file: JsonOption = None,
) -> None:
    """Train the same neural differential equation with and without the penalty, on every backend, and compare.

    Prints evaluations, quality, training and prediction time side by side, and writes report.json and plots. Takes
    about two minutes on two cores, for a neural SDE about ten. Ctrl-C keeps the seeds that are finished.
    """
    _check_benchmark_libraries("compare")
    from lrnde_benchmarks._commands import _options as _choices
    from lrnde_benchmarks._commands import _run as _command

    options = _choices.Options(
        out=out,
        task=task,
        json=json_file,
        adapters=_split(adapters),
        methods=_split(settings),
        seeds=seeds,
        steps=steps,
        jobs=jobs,
        weight=weight,
        schedule="fast" if fast else "usual",
    )
    if not _command.compare(options, _console()):
        raise typer.Exit(1)


@app.command("benchmark")
def benchmark(
    task: Annotated[
        str,
        typer.Argument(
            metavar="TASK",
            help="digits, mnist (neural ODEs); digits-sde, mnist-sde, spiral-sde (neural SDEs); dynamics, "
            "dynamics-brusselator (trajectories); density, density-gaussians, density-tabular (normalizing flows).",
        ),
    ],
    methods: Annotated[
        list[str] | None,
        typer.Option(
            help="Rows, separated by commas or the option repeated; all that suit the task by default. none, "
            "looser_tolerance and looser_training are always there; others: weight_decay, steer, default, "
            "taylor_derivative, predicted_steps, lrnde_unbiased, lrnde_biased, lrnde_stiffness."
        ),
    ] = None,
    adapters: Annotated[
        list[str] | None, typer.Option(help="Backends, given in the same way; all that can be used by default.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Number of seeds; 3 by default, 1 with --fast.")] = None,
    steps: Annotated[int | None, typer.Option(help="Training steps; the schedule's own number by default.")] = None,
    fast: Annotated[bool, typer.Option("--fast", help="A shortened schedule: about a minute a training.")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="The published schedule, where the usual one is shorter (mnist, mnist-sde).")
    ] = False,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the data, for tasks that do not bring their own.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(help="Processes at a time, a training each; one per core by default.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the results; lrnde-benchmark/TASK by default.", show_default=False),
    ] = None,
    checkpoint_minutes: Annotated[
        float, typer.Option(metavar="M", help="A training can go on from where it was M minutes ago, or little more.")
    ] = 5.0,
    json_file: JsonOption = None,
) -> None:
    """Train a task by many methods on every backend, and compare them with the unpenalised model of the same backend.

    Each training is kept in a file as soon as it is finished, and checkpoints of it before, so the same command goes on
    where it was interrupted.
    Prints one table, and writes report.json and plots. Exit code 1: interrupted, or a training failed.
    """
    _check_benchmark_libraries("benchmark")
    from lrnde_benchmarks._commands import _options as _choices
    from lrnde_benchmarks._commands import _run as _command

    if fast and full:
        raise InputError("`--fast` and `--full` were both given; choose one schedule.")
    options = _choices.Options(
        out=Path("lrnde-benchmark") / task if out is None else out,
        task=task,
        json=json_file,
        adapters=_split(adapters),
        methods=_split(methods),
        seeds=seeds,
        steps=steps,
        jobs=jobs,
        data=data,
        schedule="fast" if fast else "full" if full else "usual",
        checkpoint_minutes=checkpoint_minutes,
    )
    if not _command.benchmark(options, _console()):
        raise typer.Exit(1)


@app.command("conformance")
def check_conformance(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="Adapters by name, or drivers as package.module:Class; all adapters that are installed by default.",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    dtype: Annotated[
        str | None, typer.Option(help="float32 or float64; by default each check's own.", show_default=False)
    ] = None,
    tier: Annotated[str, typer.Option(help="core, optional or all.")] = "all",
    select: Annotated[
        str, typer.Option("-k", metavar="TEXT", help="Only checks whose id contains it, or any of 'ONE or ANOTHER'.")
    ] = "",
    fast: Annotated[bool, typer.Option("--fast", help="Leave out what takes long, and try fewer methods.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Print each check when it is through, and why any was skipped.")
    ] = False,
    json_file: JsonOption = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write JUnit XML.")] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="Write Markdown tables.")] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write one HTML page that stands alone.")] = None,
    badge: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a badge: .json for shields.io, or .svg.")
    ] = None,
    list_checks: Annotated[bool, typer.Option("--list", help="List the checks and exit.")] = False,
) -> None:
    """Check adapters against the laws of the protocol.

    Exit code 0: nothing failed. 1: a check failed, an adapter is broken, or Ctrl-C (which keeps the checks that are
    finished). 2: bad usage.
    """
    if importlib.util.find_spec("numpy") is None:
        raise PluginError("`lrnde conformance` needs `numpy`, not installed here. Install it with `pip install numpy`.")
    from lrnde_conformance import _command

    if list_checks:
        _command.list_checks(_console())
        return
    options = _command.Options(
        names=tuple(names or ()),
        device=device,
        dtype=dtype,
        tier=tier,
        select=select,
        is_fast=fast,
        is_verbose=verbose,
        json=json_file,
        junit=junit,
        markdown=markdown,
        html=html,
        badge=badge,
    )
    code = _command.conformance(options, _console())
    if code:
        raise typer.Exit(code)


@app.command("new-adapter")
def new_adapter(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The solver library, as Python imports it.")],
    backend: Annotated[str, typer.Option(help="Whose arrays it takes: torch, jax or numpy.")] = "torch",
    solve: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:FUNCTION",
            help="The call to claim, or MODULE:CLASS.METHOD; NAME:solve by default.",
            show_default=False,
        ),
    ] = None,
    parent: Annotated[Path, typer.Option(metavar="DIR", help="Where to make the folder lrnde-NAME.")] = Path(),
) -> None:
    """Write the skeleton of an adapter for another solver: a package, its conformance driver, and its test."""
    if importlib.util.find_spec("numpy") is None:
        raise PluginError("`lrnde new-adapter` needs `numpy`, not installed here. Install it with `pip install numpy`.")
    from lrnde_conformance import _scaffold

    folder = _scaffold.write_adapter(name, backend=backend, solve=solve, parent=parent)
    console = _console()
    console.print(f"Written: {folder}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"Next: pip install --editable {folder} && lrnde conformance {name}", markup=False, soft_wrap=True)


def _split(values: list[str] | None) -> tuple[str, ...]:
    """The items of options that take commas and may be repeated."""
    return tuple(item.strip() for value in values or () for item in value.split(",") if item.strip())


def _check_benchmark_libraries(command: str) -> None:
    missing = [name for name in _BENCHMARK_LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        raise PluginError(
            f"`lrnde {command}` needs {', '.join(f'`{name}`' for name in missing)}, not installed here. Install it "
            "with `pip install 'lrnde[benchmarks]'`."
        )


def _adapters_table(infos: list[AdapterInfo]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("adapter", overflow="fold")
    table.add_column("solver calls", overflow="fold")
    table.add_column("installed", overflow="fold")
    table.add_column("usable")
    for info in infos:
        versions = "\n".join(f"{name} {version}" for name, version in info.versions.items())
        solves = "\n".join(path.replace(":", ".") for path in info.solves)
        usable = Text("yes", style="green") if info.failure is None else Text("no", style="red")
        table.add_row(info.name, solves, versions or "none", usable)
    return table


def _why_not(info: AdapterInfo) -> str:
    """The message with the command that repairs it."""
    try:
        REGISTRY.get_adapter(info.name)
    except LrndeError as error:
        return str(error)
    return ""


def _print_capabilities(info: AdapterInfo, console: Console) -> None:
    if info.capabilities is None:
        return
    console.print(Text(f"\n{info.name} ({info.origin}) supports", style="bold"))
    for capability in sorted(info.capabilities.supported, key=lambda capability: capability.value):
        console.print(f"  {capability.value}", markup=False, highlight=False)
    if info.capabilities.unsupported:
        console.print(Text("and does not support", style="bold"))
    for capability, reason in info.capabilities.unsupported:
        console.print(f"  {capability.value}: {reason}", markup=False, highlight=False)


def _adapter_values(info: AdapterInfo) -> dict[str, Any]:
    capabilities = info.capabilities
    return {
        "name": info.name,
        "origin": info.origin,
        "solves": list(info.solves),
        "versions": dict(info.versions),
        "usable": info.failure is None,
        "reason": None if info.failure is None else _why_not(info),
        "supported": [] if capabilities is None else sorted(each.name for each in capabilities.supported),
        "unsupported": {} if capabilities is None else {each.name: reason for each, reason in capabilities.unsupported},
    }


def _write_json(path: Path, value: Any) -> None:
    try:
        path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"`--json {path}` cannot be written: {error.strerror}.") from error
