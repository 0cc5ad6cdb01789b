"""`lrnde new-adapter`: the skeleton of an adapter."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lrnde_cli._libraries import check_numpy


def new_adapter(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="The adapter's name: the solver's import name, or one of yours with --solve."
        ),
    ],
    backend: Annotated[str, typer.Option(help="Whose arrays it takes: torch, jax or numpy.")] = "torch",
    solve: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:FUNCTION",
            help="The call to claim, or MODULE:CLASS.METHOD; NAME:solve by default.",
            show_default=False,
        ),
    ] = None,
    requires: Annotated[
        list[str] | None,
        typer.Option(
            metavar="REQUIREMENT",
            help="What the solver is installed from, as pip takes it, such as 'jax>=0.8'; may be repeated. The "
            "installed distribution of the call's module by default.",
            show_default=False,
        ),
    ] = None,
    install: Annotated[
        str | None,
        typer.Option(
            metavar="PACKAGES",
            help="What users pass to `pip install` to get the solver; the names in --requires by default.",
            show_default=False,
        ),
    ] = None,
    parent: Annotated[Path, typer.Option(metavar="DIR", help="Where to make the folder lrnde-NAME.")] = Path(),
) -> None:
    """Write the skeleton of an adapter for another solver: a package, its conformance driver, and its test."""
    check_numpy("new-adapter")
    from lrnde_conformance import _scaffold

    folder = _scaffold.write_adapter(
        name, backend=backend, solve=solve, requires=requires or (), install=install, parent=parent
    )
    console = Console()
    console.print(f"Written: {folder}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"Next: pip install --editable {folder} && lrnde conformance {name}", markup=False, soft_wrap=True)
