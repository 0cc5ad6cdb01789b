"""The command `lrnde`. Nothing imports it; `python -m lrnde_cli` runs it as well."""

from lrnde_cli._main import main

__all__ = ["main"]
