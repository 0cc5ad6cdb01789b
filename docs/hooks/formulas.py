"""Formulas as MathML, written when the site is built: browsers typeset them without a script or a font of ours."""

import html
import re
from typing import Any

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError

_FORMULA = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\(?:\((?P<inline>.*?)\\\)|\[(?P<block>.*?)\\\])</(?P=tag)>', re.DOTALL
)


def on_page_content(content: str, **_: Any) -> str:
    """The page with each formula that `pymdownx.arithmatex` marked."""
    return _FORMULA.sub(_as_mathml, content)


def _as_mathml(formula: re.Match[str]) -> str:
    block = formula["block"]
    latex = html.unescape(formula["inline"] if block is None else block)
    mathml = convert(latex, display="inline" if block is None else "block")
    if "\\" in mathml:  # a command that it does not know, or a delimiter after `\big`: use `\left` and `\right`
        msg = f"There is LaTeX left over in the formula {latex!r}: {mathml}"
        raise PluginError(msg)
    return mathml if block is None else f'<div class="formula">{mathml}</div>'
