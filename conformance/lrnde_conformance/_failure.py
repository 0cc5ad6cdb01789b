"""The exceptions that end a check: the law does not hold, or the check does not apply."""

from typing import Any, final

# Characters of a value in a message: its beginning and its end.
_MOST_SHOWN = 600


@final
class ConformanceFailure(AssertionError):  # noqa: N818 (it is a verdict rather than an error of the suite)
    """A law that does not hold, in words: what was found, what was expected, and where to look.

    - `message`: one sentence. `got`, `expected`, `tolerance`, `seed`: as far as they apply.
    - `cause`: the likely cause. `hint`: what to do next.
    """

    def __init__(
        self,
        message: str,
        *,
        got: Any = None,
        expected: Any = None,
        tolerance: Any = None,
        seed: int | None = None,
        cause: str = "",
        hint: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        named = {
            "got": got,
            "expected": expected,
            "tolerance": tolerance,
            "seed": seed,
            "likely cause": cause or None,
            "next step": hint or None,
        }
        self.details = {name: _shown(value) for name, value in named.items() if value is not None}


@final
class CheckSkipped(Exception):  # noqa: N818
    """A check that does not apply, with the reason; never for a check that could have run."""


@final
class CheckNotApplicable(Exception):  # noqa: N818
    """A check that needs what the driver declares its solver not to have, and knows no other route.

    - `reason`: what it needs. `held_by`: the id of a check that holds the same law here, if there is one.
    """

    def __init__(self, reason: str, *, held_by: str = "") -> None:
        super().__init__(f"{reason}; `{held_by}` holds this law here" if held_by else reason)
        self.held_by = held_by


def _shown(value: Any) -> str:
    text, half = str(value), _MOST_SHOWN // 2
    return text if len(text) <= _MOST_SHOWN else f"{text[:half]} ... {text[-half:]}"
