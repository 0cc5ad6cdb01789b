"""The memory of a penalised solve: one state for each draw, whatever the number of steps."""

from lrnde_conformance._checks._check import check
from lrnde_conformance._experiments._designs import trajectory
from lrnde_conformance._experiments._experiment import Experiment
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._failure import CheckSkipped, ConformanceFailure
from lrnde_core import Capability


@check(
    "memory.independent-of-steps",
    law=12,
    tier="optional",
    needs=[Capability.UNIFORM_TIME],
    is_slow=True,
    hint="replace the kept step when the sampler says so, rather than collecting all of them",
)
def memory_independent_of_steps(subject: Subject, _: str) -> None:
    """What the penalty adds to the memory of a solve (torch: for the backward pass) does not grow with its steps."""
    fixed = next((m for m in subject.driver.methods if not m.is_adaptive), None)
    if fixed is None:
        msg = "no method takes a number of steps that can be asked for"
        raise CheckSkipped(msg)
    if subject.backend.held_bytes(lambda: None) is None:
        msg = f"the memory of a program of {subject.backend.name} is planned when it is compiled, from the shapes alone"
        raise CheckSkipped(msg)
    coarse = trajectory(subject, fixed, "taylor-at-step" if subject.supports(Capability.POINT_HEURISTICS) else "error")
    added = [_added(subject, coarse.but(first_step=coarse.first_step / factor)) for factor in (8, 64)]
    if added[1] > 1.5 * added[0] + 8192:
        raise ConformanceFailure(
            "What the penalty adds to the memory of a solve grows with the number of its steps.",
            got=f"{added[1]} bytes at 512 steps",
            expected=f"about the {added[0]} bytes of 64 steps",
            tolerance="half as much again, and 8192 bytes",
            cause="every step is recorded, or the recorded state keeps the graph of the solve",
            hint="keep one state for each draw, without its gradient",
        )


def _added(subject: Subject, experiment: Experiment) -> int:
    backend = subject.backend

    def bare() -> object:
        return subject.solve_bare(experiment)

    def penalised() -> object:
        return subject.solve(experiment)

    bare()
    penalised()
    with_penalty, without = (backend.held_bytes(call) for call in (penalised, bare))
    assert with_penalty is not None
    assert without is not None
    return with_penalty - without
