"""A run over several adapters, none of which can stop the others."""

import importlib.metadata
import platform
from collections.abc import Callable, Sequence

from lrnde_conformance._doors._loading import run_selected, why_unchecked
from lrnde_conformance._reports._report import RunReport, Unchecked
from lrnde_conformance._results import CheckResult, Verdict
from lrnde_conformance._runner import RunInterrupted
from lrnde_conformance._selection import Selection


def check_each(
    names: Sequence[str],
    selection: Selection,
    on_result: Callable[[CheckResult], None],
    on_begin: Callable[[int], None],
) -> RunReport:
    """Check each adapter; Ctrl-C ends with a report of what was finished. Callbacks as in `run_checks`."""
    verdicts: list[Verdict] = []
    unchecked: list[Unchecked] = []
    for number, name in enumerate(names):
        try:
            verdicts.append(run_selected(name, selection, on_result, on_begin))
        except KeyboardInterrupt as interruption:
            has_begun = isinstance(interruption, RunInterrupted)
            verdicts.append(interruption.verdict if has_begun else _not_begun(name, selection))
            unchecked += [Unchecked(each, "the run was interrupted", is_usage=False) for each in names[number + 1 :]]
            return RunReport(tuple(verdicts), tuple(unchecked), is_complete=False)
        except Exception as error:  # a plugin may raise anything
            unchecked.append(why_unchecked(name, error))
    return RunReport(tuple(verdicts), tuple(unchecked))


def _not_begun(name: str, selection: Selection) -> Verdict:
    """What is known of an adapter whose library was still being loaded."""
    return Verdict(
        adapter=name,
        origin="interrupted before the first check was through",
        versions={"python": platform.python_version(), "lrnde": importlib.metadata.version("lrnde")},
        device=selection.device,
        capabilities={},
        selection=selection.as_text(),
        num_left_out=0,
        results=(),
        trained={},
        is_complete=False,
    )
