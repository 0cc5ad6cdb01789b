"""The origin of an exception: the line that raised it, and the last line before it that is the plugin author's."""

from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import NamedTuple, final

from lrnde_core import LrndeError

_SUITE = "lrnde_conformance"
_REFERENCE = "lrnde_conformance._reference"


@final
class Origin(NamedTuple):
    """Both as `file:line, in function`; empty where there is no such line.

    - `raised_at`: the innermost line outside of the suite. `theirs`: that of the plugin or of its driver.
    """

    raised_at: str
    theirs: str


def packages_of(modules: Sequence[str]) -> tuple[str, ...]:
    """The packages that these modules are part of; of the suite's own only that of its reference adapter."""
    roots = dict.fromkeys(module.partition(".")[0] for module in modules)
    return tuple(_REFERENCE if root == _SUITE else root for root in roots)


def origin_of(error: BaseException, packages: Sequence[str]) -> Origin:
    """The origin of an exception; `packages`: those of the plugin's author."""

    def is_theirs(module: str) -> bool:
        return any(f"{module}.".startswith(f"{package}.") for package in packages)

    def is_outside(module: str) -> bool:
        return is_theirs(module) or module.partition(".")[0] != _SUITE

    return Origin(_last(error, is_outside), _last(error, is_theirs))


def _last(error: BaseException, belongs: Callable[[str], bool]) -> str:
    places = [
        f"{frame.f_code.co_filename}:{line}, in {frame.f_code.co_qualname}"
        for frame, line in _frames(error)
        if belongs(frame.f_globals.get("__name__", ""))
    ]
    return places[-1] if places else ""


def _frames(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    traceback = error.__traceback__
    while traceback is not None:
        yield traceback.tb_frame, traceback.tb_lineno
        traceback = traceback.tb_next
    if isinstance(error, LrndeError) and error.__cause__ is not None:
        # The core says what went wrong, such as that only the penalty did; where it did, the cause says.
        yield from _frames(error.__cause__)
