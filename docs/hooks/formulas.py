"""Formulas as MathML, written when the site is built: browsers typeset them without a script or a font of ours."""

import html
import re
from typing import Any

from latex2mathml.converter import convert

_FORMULA = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\(?:\((?P<inline>.*?)\\\)|\[(?P<block>.*?)\\\])</(?P=tag)>', re.DOTALL
)


def on_page_content(content: str, **_: Any) -> str:
    """The page with each formula that `pymdownx.arithmatex` marked."""
    return _FORMULA.sub(_as_mathml, content)


def _as_mathml(formula: re.Match[str]) -> str:
    block = formula["block"]
    if block is None:
        return convert(html.unescape(formula["inline"]))
    return f'<div class="formula">{convert(html.unescape(block), display="block")}</div>'
