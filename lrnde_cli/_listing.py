"""The lists of tasks and methods at the end of the help of `lrnde compare` and `lrnde benchmark`."""

from collections.abc import Set
from typing import Any, final

from rich.markup import escape
from typer.core import TyperCommand

from lrnde_cli._libraries import missing_for_benchmarks


@final
class ListingCommand(TyperCommand):
    """A command whose help ends with the available tasks and methods.

    They are read from `lrnde_benchmarks` only when the help is shown, because that imports numpy and scikit-learn.
    """

    def format_help(self, ctx: Any, formatter: Any) -> None:
        lists = _lists({parameter.name for parameter in self.params})
        self.epilog = lists if self.rich_markup_mode is None else escape(lists)
        super().format_help(ctx, formatter)


def _lists(options: Set[str | None]) -> str:
    """A line for each task, with those of `options` that it uses, and one with the methods."""
    if missing_for_benchmarks():
        return "The tasks and methods are listed here once `pip install 'lrnde[benchmarks]'` is done."
    from lrnde_benchmarks import METHOD_NAMES, TASKS

    lines = ["Tasks, and the adapters that train them:"]
    for task in TASKS.values():
        uses = {"data": task.with_folder is not None, "full": task.full is not None}
        flags = [f"--{name}" for name, is_used in uses.items() if is_used and name in options]
        takes = f"; takes {', '.join(flags)}" if flags else ""
        lines.append(f"{task.name}: {task.title} ({', '.join(task.solvers)}){takes}")
    lines.append(f"Methods: {', '.join(METHOD_NAMES)}")
    # Here, a blank line ends a line.
    return "\n\n".join(lines)
