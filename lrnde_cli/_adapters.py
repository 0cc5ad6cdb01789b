"""`lrnde adapters`: the solver adapters that are installed."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lrnde_cli._options import JsonOption
from lrnde_core import REGISTRY, AdapterInfo, InputError, LrndeError, write_text


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
    console = Console()
    console.print(_adapters_table(infos))
    for info in infos:
        if info.failure is not None:
            console.print(Text(_why_not(info), style="red"), soft_wrap=True)
    if verbose:
        for info in infos:
            _print_capabilities(info, console)
    if json_file is not None:
        _write_json(json_file, [_adapter_values(info) for info in infos])


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
    """The message with the command that fixes it."""
    try:
        REGISTRY.get_adapter(info.name)
    except LrndeError as error:
        return str(error)
    return ""


def _print_capabilities(info: AdapterInfo, console: Console) -> None:
    if info.capabilities is None:
        return
    console.print(Text(f"\n{info.name} ({info.origin}) supports", style="bold"))
    for capability in sorted(info.capabilities.supported, key=lambda capability: capability.name):
        console.print(f"  {capability.name}: {capability.value}", markup=False, highlight=False, soft_wrap=True)
    if info.capabilities.unsupported:
        console.print(Text("and does not support", style="bold"))
    for capability, reason in info.capabilities.unsupported:
        console.print(f"  {capability.name}: {reason}", markup=False, highlight=False, soft_wrap=True)


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
        write_text(path, json.dumps(value, indent=2) + "\n")
    except OSError as error:
        raise InputError(f"`--json {path}` cannot be written: {error.strerror}.") from error
