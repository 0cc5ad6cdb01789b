"""Run an example as it is without the penalty, or show what lrnde changes in it.

python examples/without_penalty.py [--diff] examples/latent_ode.py [--iterations N]
"""

import difflib
import re
import sys
from pathlib import Path

# What lrnde needs, and what stands there without it. Every other line that names lrnde goes, with the empty line behind
# it if there is another one in front.
_WITHOUT = (
    # The one line.
    (r"lrnde\.regularize\(([\w.]+)\)", r"\1"),
    (r"^( *)with lrnde\.collect\(\) as reports:\n\1    (.*\n)", r"\1\2"),
    (r"(?<=\n\n)(?:.*\blrnde.*\n)+\n", ""),
    (r"^.*\blrnde.*\n", ""),
    # The one term.
    (r" \+ [\w.-]+ \* reports?(?:\[0\])?\.penalty(?:\.mean\(\))?", ""),
    # What the call returns as well, and in JAX takes as well.
    (r', (?:"report": )?report\b', ""),
    (r", (?:key=)?sample_keys?\b(?:: Any)?", ""),
)


def plain_form(source: str) -> str:
    """The source of an example without the penalty. Raises `ValueError` if that leaves anything of lrnde behind."""
    for pattern, replacement in _WITHOUT:
        source = re.sub(pattern, replacement, source, flags=re.MULTILINE)
    left = re.search(r".*(?:lrnde|report|penal|sample_key).*", source)
    if left:
        raise ValueError(f"{left[0]!r} is left. Write what the penalty needs as the other examples do.")
    return source


def changes(source: str) -> str:
    """What turns the plain form into the example: a unified diff without names and numbers of lines."""
    _, _, *lines = difflib.unified_diff(plain_form(source).splitlines(), source.splitlines(), lineterm="", n=1)
    return "\n".join("@@" if line.startswith("@@") else line for line in lines)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    is_diff = "--diff" in arguments
    sys.argv = [each for each in arguments if each != "--diff"]
    source = Path(sys.argv[0]).read_text(encoding="utf-8")
    if is_diff:
        print(changes(source))
    else:
        exec(compile(plain_form(source), sys.argv[0], "exec"))
