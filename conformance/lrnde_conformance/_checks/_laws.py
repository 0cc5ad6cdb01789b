"""The laws that no declaration takes away: where a check of them does not apply, another one ran. Runs last."""

from lrnde_conformance._checks._check import check
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._failure import CheckSkipped, ConformanceFailure
from lrnde_conformance._results import Outcome

UNDECLARABLE = frozenset({1, 3, 4, 9, 10, 11, 12, 14})
"""The laws without which a penalty is not one."""


@check(
    "interface.laws",
    law=0,
    cases=lambda subject: [] if subject.has_all else [""],
    hint="name the published scheme of the method in the driver (`Method(..., scheme=...)`), so that the suite can "
    "compute its steps, or leave the method out",
)
def interface_laws(subject: Subject, _: str) -> None:
    """Of laws 1, 3, 4, 9 to 12 and 14, what is not applicable is held by another check, which ran."""
    open_items = {
        name: ended.held_by
        for name, ended in subject.ended.items()
        if ended.law in UNDECLARABLE and ended.outcome is Outcome.NOT_APPLICABLE
    }
    for name, held_by in open_items.items():
        if held_by and held_by not in subject.ended:
            msg = f"`{held_by}`, which holds a law in place of `{name}`, is not among the checks that ran"
            raise CheckSkipped(msg)
        if not held_by or not subject.ended[held_by].outcome.has_run:
            raise ConformanceFailure(
                f"`{name}` is not applicable, and no other check holds law {subject.ended[name].law} in its place.",
                got=f"`{held_by}` did not run either" if held_by else "no other check of it knows this method",
                expected="a check of the same law that ran: this law cannot be declared away",
            )
