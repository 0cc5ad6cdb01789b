"""Checking several adapters, none of which can stop the others."""

import importlib.metadata
import platform
from collections.abc import Callable, Sequence

from lrnde_conformance._installed import origin
from lrnde_conformance._loading import run_selected, why_unchecked
from lrnde_conformance._report import Report, Unchecked
from lrnde_conformance._results import CheckResult, Verdict
from lrnde_conformance._selection import Selection


def check_each(names: Sequence[str], selection: Selection, on_result: Callable[[CheckResult], None]) -> Report:
    """Check each adapter; Ctrl-C ends with a report of what was finished."""
    verdicts: list[Verdict] = []
    unchecked: list[Unchecked] = []
    for number, name in enumerate(names):
        results: list[CheckResult] = []

        def keep(result: CheckResult, results: list[CheckResult] = results) -> None:
            results.append(result)
            on_result(result)

        try:
            verdicts.append(run_selected(name, selection, keep))
        except KeyboardInterrupt:
            verdicts.append(_unfinished(name, selection, results))
            unchecked += [Unchecked(each, "the run was interrupted", is_usage=False) for each in names[number + 1 :]]
            return Report(tuple(verdicts), tuple(unchecked), is_complete=False)
        except Exception as error:  # a plugin may raise anything
            unchecked.append(why_unchecked(name, error))
    return Report(tuple(verdicts), tuple(unchecked))


def _unfinished(name: str, selection: Selection, results: Sequence[CheckResult]) -> Verdict:
    """What was finished, without what a run finds out at its end."""
    return Verdict(
        adapter=results[0].adapter if results else name,
        origin=origin(results[0].adapter) if results else "interrupted before the first check was through",
        versions={"python": platform.python_version(), "lrnde": importlib.metadata.version("lrnde")},
        device=selection.device,
        capabilities={},
        selection=selection.as_text(),
        results=tuple(results),
        trained={},
        is_complete=False,
    )
