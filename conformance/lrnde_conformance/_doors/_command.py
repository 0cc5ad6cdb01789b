"""The door of the command line, `lrnde conformance`: it runs the checks, shows progress and writes the reports."""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Generator
from pathlib import Path
from typing import final

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

import lrnde_core
from lrnde_conformance._checks import ALL
from lrnde_conformance._doors._check_each import check_each
from lrnde_conformance._doors._loading import find_names, import_from_here
from lrnde_conformance._reports._badge import as_badge, check_badge_options
from lrnde_conformance._reports._html import as_html
from lrnde_conformance._reports._json import as_json
from lrnde_conformance._reports._junit import as_junit
from lrnde_conformance._reports._markdown import as_markdown
from lrnde_conformance._reports._report import RunReport, law_title
from lrnde_conformance._reports._templates import check_templates
from lrnde_conformance._reports._terminal import print_report, result_line
from lrnde_conformance._reports._text import one_line
from lrnde_conformance._results import CheckResult
from lrnde_conformance._selection import ALLOWED, Selection
from lrnde_core import InputError

_FORMS: dict[str, Callable[[RunReport], str]] = {
    "json": as_json,
    "junit": as_junit,
    "markdown": as_markdown,
    "html": as_html,
}


@final
@dataclasses.dataclass(frozen=True)
class ConformanceOptions:
    """The options of `lrnde conformance`; empty or `None` where not given.

    - `names`: adapters, or `package.module:Class`; all that are installed if empty.
    - `device`, `dtype`, `tier`, `select`, `is_fast`: as in `run_checks`.
    - `json`, `junit`, `markdown`, `html`, `badge`: files to write.
    """

    names: tuple[str, ...]
    device: str = "cpu"
    dtype: str | None = None
    tier: str = "all"
    select: str = ""
    is_fast: bool = False
    is_verbose: bool = False
    json: Path | None = None
    junit: Path | None = None
    markdown: Path | None = None
    html: Path | None = None
    badge: Path | None = None

    @property
    def files(self) -> dict[str, Path]:
        """The files that were asked for, by option."""
        given = {name: getattr(self, name) for name in (*_FORMS, "badge")}
        return {name: path for name, path in given.items() if path is not None}


def list_checks(console: Console) -> None:
    """Print every check with its tier and law, and what it checks; in a pipe one on a line, separated by tabs."""
    if not console.is_terminal:
        for check in ALL:
            columns = (check.id, check.tier, law_title(check.law), check.doc)
            console.print(Text("\t".join(columns)), soft_wrap=True)
        return
    table = Table(box=box.SIMPLE_HEAD)
    # Ids are there to be copied.
    table.add_column("check", no_wrap=True, min_width=max(len(check.id) for check in ALL))
    table.add_column("tier")
    table.add_column("law")
    table.add_column("what it checks")
    for check in ALL:
        table.add_row(check.id, check.tier, law_title(check.law), Text(check.doc))
    console.print(table)


def conformance(options: ConformanceOptions, console: Console) -> int:
    """Check the adapters and write the reports; the exit code.

    Raises `InputError` or `AdapterNotFoundError` for what is known before the run.
    """
    for name, values in ALLOWED.items():
        if getattr(options, name) not in values:
            accepted = ", ".join(value for value in values if value is not None)
            raise InputError(f"`--{name} {getattr(options, name)}`: must be one of {accepted}.")
    selection = Selection(options.tier, options.select, options.device, options.dtype, options.is_fast)
    import_from_here(options.names)
    names, left_out = find_names(options.names)
    _check_files(options, names, selection)
    if left_out:
        text = f"Left out, their libraries are not installed: {', '.join(left_out)} (`lrnde adapters` says more)."
        console.print(Text(one_line(text)), soft_wrap=True)
    with _showing(console, is_verbose=options.is_verbose) as (on_result, on_begin):
        report = check_each(names, selection, on_result, on_begin)
    print_report(report, console, is_verbose=options.is_verbose)
    written = [str(path) for path in _write(options, report)]
    if written:
        console.print(f"Written: {', '.join(written)}", markup=False, highlight=False, soft_wrap=True)
    if not report.is_complete:
        num_results = sum(len(verdict.results) for verdict in report.verdicts)
        console.print(f"Interrupted after {num_results} checks.", style="yellow", highlight=False)
    if options.badge is None:
        return report.exit_code
    try:
        badge = as_badge(report, options.badge)
    except InputError as error:
        console.print(Text(str(error), style="red"), soft_wrap=True)
        return report.exit_code or 2
    write_text(options.badge, badge, "--badge")
    console.print(f"Written: {options.badge}", markup=False, highlight=False, soft_wrap=True)
    return report.exit_code


def write_text(path: Path, text: str, option: str) -> None:
    """Write a report. Raises `InputError` naming the `option` where the file cannot be written."""
    try:
        lrnde_core.write_text(path, text)
    except OSError as error:
        raise InputError(f"`{option} {path}` cannot be written: {error.strerror}. Choose another file.") from error


def _check_files(options: ConformanceOptions, names: tuple[str, ...], selection: Selection) -> None:
    """A file that cannot be written should show before the run, not after it."""
    check_badge_options(options.badge, names, selection)
    if options.html is not None:
        check_templates("--html")
    seen: dict[Path, str] = {}
    for name, path in options.files.items():
        other = seen.setdefault(path.absolute(), name)
        if other != name:
            raise InputError(f"`--{other}` and `--{name}` both name {path}. Give each a separate file.")
        if path.is_dir():
            raise InputError(f"`--{name} {path}` is a folder. Name a file.")
        folder = path.absolute().parent
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            raise InputError(f"`--{name} {path}`: the folder {folder} does not exist or cannot be written to.")


def _write(options: ConformanceOptions, report: RunReport) -> list[Path]:
    written: list[Path] = []
    for name, form in _FORMS.items():
        path = options.files.get(name)
        if path is not None:
            write_text(path, form(report), f"--{name}")
            written.append(path)
    return written


@contextlib.contextmanager
def _showing(
    console: Console, *, is_verbose: bool
) -> Generator[tuple[Callable[[CheckResult], None], Callable[[int], None]]]:
    """A bar with the time left on a terminal; with `is_verbose` a line per finished check, wherever it goes to.

    Yields what to call with each result, and with the number of results before those of an adapter.
    """
    if not console.is_terminal:
        yield (lambda result: console.print(result_line(result), soft_wrap=True)) if is_verbose else _ignore, _ignore
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("starting", total=None)
        count = total = 0

        def begin(num_results: int) -> None:
            nonlocal count, total
            count, total = 0, num_results
            progress.reset(task, total=total)

        def show(result: CheckResult) -> None:
            nonlocal count
            count += 1
            text = f"{result.adapter}: {count} of {max(count, total)} checks, {result.id}"
            progress.update(task, completed=count, description=one_line(text)[: max(20, console.width - 43)])
            if is_verbose:
                progress.console.print(result_line(result), soft_wrap=True)

        yield show, begin


def _ignore(value: object) -> None:
    del value
