"""Options that several commands take."""

from pathlib import Path
from typing import Annotated

import typer

JsonOption = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write the result to FILE as JSON, too.")
]


def split(values: list[str] | None) -> tuple[str, ...]:
    """The items of an option that takes commas and may be repeated."""
    return tuple(item.strip() for value in values or () for item in value.split(",") if item.strip())
