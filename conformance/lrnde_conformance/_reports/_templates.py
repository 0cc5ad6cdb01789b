"""The templates of the reports, filled in by jinja2: whatever a plugin says is cleaned and escaped on its way in."""

import functools
import importlib.util
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lrnde_conformance._reports._report import (
    check_times,
    headline,
    law_results,
    law_title,
    shown_by_id,
    status,
    summary,
    total_time,
)
from lrnde_conformance._reports._step_plot import step_plot
from lrnde_conformance._reports._text import clean, one_line
from lrnde_conformance._results import Outcome
from lrnde_core import PluginError

if TYPE_CHECKING:
    from jinja2 import Environment

_STATUS: Mapping[Outcome, str] = {
    Outcome.PASSED: "passed",
    Outcome.FAILED: "fault",
    Outcome.SKIPPED: "skipped",
    Outcome.NOT_APPLICABLE: "skipped",
    Outcome.EXPECTED_FAILURE: "expected",
    Outcome.UNEXPECTED_PASS: "fault",
}


def check_templates(option: str) -> None:
    """Raise `PluginError` naming the `option` where jinja2 is not installed."""
    if importlib.util.find_spec("jinja2") is None:
        raise PluginError(f"`{option}` needs `jinja2`, not installed here. Install it with `pip install jinja2`.")


def render(name: str, **values: Any) -> str:
    """The text of a template. Strings among the values are escaped, `Markup` is not."""
    return _environment().get_template(name).render(values)


def read_asset(name: str) -> str:
    """The text of a file beside the templates, as it stands."""
    environment = _environment()
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


@functools.cache
def _environment() -> "Environment":
    # Imported here, for a run that writes no HTML does not need it.
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lrnde_conformance._reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_cleaned,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["one_line"] = one_line
    names: dict[str, Any] = {
        "check_times": check_times,
        "shown_by_id": shown_by_id,
        "headline": headline,
        "law_results": law_results,
        "law_title": law_title,
        "outcome_status": _STATUS,
        "status": status,
        "step_plot": step_plot,
        "summary": summary,
        "total_time": total_time,
    }
    environment.globals.update(names)
    return environment


def _cleaned(value: Any) -> Any:
    """What is about to be escaped, without characters that do not print; markup of the templates as it is."""
    return value if hasattr(value, "__html__") else clean(value)
