"""The report as one HTML page that opens from disk: it fetches nothing and runs no script but its own.

The content security policy names the hashes of the one style and the one script, so that nothing a plugin says can add
to them.
"""

import base64
import hashlib

from lrnde_conformance._reports._report import RunReport
from lrnde_conformance._reports._templates import read_asset, render


def as_html(report: RunReport) -> str:
    """The page. Needs jinja2."""
    from markupsafe import Markup

    style, script = read_asset("report.css"), read_asset("report.js")
    return render(
        "report.html.jinja",
        report=report,
        style=Markup(style),
        script=Markup(script),
        style_hash=_hash(style),
        script_hash=_hash(script),
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
