"""The table of precision and compilers says what happens: each cell is tried, and its penalty has a closed form."""

import functools
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("diffrax")
pytest.importorskip("optax")
pytest.importorskip("torchdiffeq")
pytest.importorskip("torchsde")

from lrnde import LrndeError
from tests.docs import precision_jax, precision_torch
from tests.docs.precision_problem import Seen, check

_PAGE = Path(__file__).parents[2] / "docs" / "precision.md"
_COLUMNS = (*precision_torch.SOLVES, "diffrax")
_TITLES = list(dict.fromkeys([*precision_torch.ROWS, *precision_jax.ROWS]))
# The sentence by which torch's compiler passes on why it leaves a call alone.
_OURS = re.compile(r"lrnde chooses and counts steps in Python[^:]*")

Try = Callable[[], Seen]


def _tries(title: str, column: str) -> dict[str, tuple[Try, Try]]:
    """By solver call: the row, and the one that its end is compared with."""
    if column == "diffrax":
        found = precision_jax.ROWS.get(title)
        return {} if found is None else {"diffeqsolve": (found, precision_jax.in_float32)}
    row = precision_torch.ROWS.get(title)
    if row is None:
        return {}
    tries: dict[str, tuple[Try, Try]] = {}
    for name, solve in precision_torch.SOLVES[column].items():
        plain = functools.partial(precision_torch.in_float32, solve)
        if row in precision_torch.LOW_PRECISION:
            plain = functools.partial(row, precision_torch.BARE[column][name])
        tries[name] = (functools.partial(row, solve), plain)
    return tries


def _outcome(tried: Try, plain: Try) -> str:
    try:
        check(tried(), plain())
    except LrndeError as error:
        return str(error).partition(". ")[0]
    except Exception as error:
        if ours := _OURS.search(str(error)):
            return ours[0]
        raise
    return "works"


def _cell(outcomes: Mapping[str, str]) -> str:
    if len(set(outcomes.values())) < 2:
        return next(iter(outcomes.values()), "")
    return "; ".join(f"`{name}`: {outcome}" for name, outcome in outcomes.items())


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
@pytest.mark.parametrize("title", _TITLES)
def test_a_row_is_what_happens(title: str) -> None:
    cells = [_cell({name: _outcome(*pair) for name, pair in _tries(title, column).items()}) for column in _COLUMNS]
    line = f"| {' | '.join([title, *cells])} |"
    assert line in _PAGE.read_text("utf-8").splitlines()


def test_the_table_has_these_rows() -> None:
    lines = [line for line in _PAGE.read_text("utf-8").splitlines() if line.startswith("| ")]
    header, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert header == ["", *_COLUMNS]
    assert [row[0] for row in rows] == _TITLES


def test_a_wrong_penalty_is_noticed() -> None:
    seen: Any = precision_torch.in_float32(precision_torch.SOLVES["torchdiffeq"]["odeint"])
    (point,) = seen.points
    for wrong in (point._replace(penalty=1.001 * point.penalty), point._replace(gradient=0 * point.gradient)):
        with pytest.raises(AssertionError):
            check(seen._replace(points=[wrong]), seen)
