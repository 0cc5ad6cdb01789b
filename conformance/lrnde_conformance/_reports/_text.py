"""Text from a plugin, made fit for a report: nothing in it can end a cell, open a tag or steer a terminal."""

import html
import re
import unicodedata

# Characters that a markdown renderer may take for markup, in a table cell or a list item.
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+!|~$^])")


def clean(text: object) -> str:
    r"""`text` with all that does not print written out, such as `\x1b`; new lines and tabs stay.

    Control characters steer terminals and are forbidden in XML, lone surrogates cannot be encoded, and characters that
    turn the direction of writing make a name look like another.
    """
    return "".join(character if _prints(character) else _written_out(character) for character in str(text))


def one_line(text: object) -> str:
    """`text` cleaned, on one line."""
    return " ".join(clean(text).split())


def for_markdown(text: object) -> str:
    """`text` as a Markdown table cell: on one line, with neither markup nor HTML."""
    escaped = html.escape(one_line(text), quote=False)
    return _MARKDOWN.sub(r"\\\1", escaped).replace("://", ":&#47;&#47;").replace("@", "&#64;")


def _prints(character: str) -> bool:
    if character in "\n\t":
        return True
    # Cc and Cf: control and format characters, those of direction among them; Cs: surrogates; Cn: not a character.
    return unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Cn", "Zl", "Zp")


def _written_out(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
