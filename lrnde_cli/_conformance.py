"""`lrnde conformance`: adapters checked against the laws of the protocol."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lrnde_cli._libraries import check_numpy
from lrnde_cli._options import JsonOption


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
    fast: Annotated[bool, typer.Option("--fast", help="Leave out slow checks, and try fewer methods.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Print each check when it finishes, and why any was skipped.")
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
    check_numpy("conformance")
    from lrnde_conformance._doors import _command

    if list_checks:
        _command.list_checks(Console())
        return
    options = _command.ConformanceOptions(
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
    code = _command.conformance(options, Console())
    if code:
        raise typer.Exit(code)
