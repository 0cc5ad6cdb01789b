"""The command line as a whole. Exit codes: 0 fine, 1 a check failed or the run was interrupted, 2 bad usage."""

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from lrnde_cli._adapters import list_adapters
from lrnde_cli._benchmark import benchmark
from lrnde_cli._compare import compare
from lrnde_cli._conformance import check_conformance
from lrnde_cli._listing import ListingCommand
from lrnde_cli._new_adapter import new_adapter
from lrnde_core import LrndeError, __version__

app = typer.Typer(
    help="Locally regularized neural differential equations, for any solver.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("adapters")(list_adapters)
app.command("compare", cls=ListingCommand)(compare)
app.command("benchmark", cls=ListingCommand)(benchmark)
app.command("conformance")(check_conformance)
app.command("new-adapter")(new_adapter)


def main() -> None:
    """Run the command line. A user's mistake becomes a message and exit code 2."""
    try:
        app()
    except LrndeError as error:
        Console(stderr=True).print(Text(f"lrnde: {error}", style="red"), soft_wrap=True)
        sys.exit(2)


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
