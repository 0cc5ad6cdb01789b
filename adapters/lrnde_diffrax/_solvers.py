"""What diffrax's solvers are, as far as a local step needs to know."""

import functools
from typing import Any

import diffrax

from lrnde_core import EULER, ExplicitTableau

_WHOLE_STEP_SOLVERS = (
    diffrax.Euler,
    diffrax.EulerHeun,
    diffrax.ItoMilstein,
    diffrax.ReversibleHeun,
    diffrax.StratonovichMilstein,
)


def solver_name(solver: Any) -> str:
    """The solver's class as the user wrote it, such as `HalfSolver(Heun)`."""
    name = type(solver).__name__
    return f"{name}({solver_name(solver.solver)})" if isinstance(solver, diffrax.AbstractWrappedSolver) else name


def solver_code(solver: Any) -> str:
    """The solver as one would write it, such as `diffrax.HalfSolver(diffrax.Heun())`."""
    inner = solver_code(solver.solver) if isinstance(solver, diffrax.AbstractWrappedSolver) else ""
    return f"diffrax.{type(solver).__name__}({inner})"


def estimates_error(solver: Any) -> bool:
    """Whether a step of the solver comes with an estimate of its error."""
    if isinstance(solver, diffrax.AbstractAdaptiveSolver):  # sees through diffrax's wrappers
        return True
    if isinstance(solver, diffrax.AbstractWrappedSolver):
        return estimates_error(solver.solver)
    # Some stochastic Runge--Kutta solvers have an estimate without being marked as adaptive.
    return isinstance(solver, diffrax.AbstractSRK) and solver.tableau.b_error is not None


def has_hidden_state(solver: Any) -> bool:
    """Whether the solver carries a second state, the one that the recorder can follow."""
    return type(solver) is diffrax.ReversibleHeun


def has_unknown_memory(solver: Any) -> bool:
    """Whether the solver carries more from step to step than the recorder can follow or a step can evaluate again."""
    # Sees through diffrax's wrappers.
    memory = diffrax.ReversibleHeun | diffrax.LeapfrogMidpoint
    return isinstance(solver, memory) and not has_hidden_state(solver)


def is_doubling(solver: Any) -> bool:
    """Whether the error is estimated by doing a step whole and in two halves."""
    return type(solver) is diffrax.HalfSolver


def asks_for_whole_steps(solver: Any) -> bool:
    """Whether a step is known to ask controls for its own start and end alone, or for those of its halves."""
    if is_doubling(solver):
        return not is_doubling(solver.solver) and asks_for_whole_steps(solver.solver)
    # A class of the user's may ask for other times.
    is_own = type(solver).__module__.partition(".")[0] == diffrax.__name__
    return is_own and isinstance(solver, (diffrax.AbstractRungeKutta, *_WHOLE_STEP_SOLVERS))


def rounding_factor(solver: Any) -> float:
    """How roundings of the increments add up in the error estimate; see `lrnde_core.StepEstimate`."""
    if is_doubling(solver):
        return 2.0
    if isinstance(solver, diffrax.AbstractWrappedSolver):
        return rounding_factor(solver.solver)
    if isinstance(solver, diffrax.AbstractRungeKutta) and isinstance(solver.tableau, diffrax.ButcherTableau):
        return float(abs(solver.tableau.b_error).sum())
    if isinstance(solver, diffrax.AbstractSRK) and solver.tableau.b_error is not None:
        return float(abs(solver.tableau.b_error).sum())
    return 1.0


def adds_terms_apart(solver: Any) -> bool:
    """Whether the error estimate sums the increments of drift and noise apart, or those of several steps.

    They may cancel in the new state while their roundings in the estimate do not.
    """
    if is_doubling(solver) or isinstance(solver, diffrax.AbstractWrappedSolver):
        return True
    # These sum whole stages.
    return not isinstance(solver, diffrax.AbstractRungeKutta | diffrax.ReversibleHeun)


def explicit_tableau(solver: Any) -> ExplicitTableau | None:
    """The tableau of an explicit Runge--Kutta solver that steps as its tableau says, else `None`."""
    if type(solver) is diffrax.Euler:
        return EULER
    if isinstance(solver, diffrax.AbstractWrappedSolver) or not isinstance(solver, diffrax.AbstractERK):
        return None
    return _convert(_ByIdentity(solver.tableau)) if isinstance(solver.tableau, diffrax.ButcherTableau) else None


class _ByIdentity:
    """Makes a value hashable by identity: diffrax's tableaus hold arrays, and are constants of their classes."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByIdentity) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


@functools.lru_cache(maxsize=64)
def _convert(tableau: _ByIdentity) -> ExplicitTableau:
    butcher = tableau.value
    return ExplicitTableau(
        a=tuple(tuple(row.tolist()) for row in butcher.a_lower),
        b=tuple(butcher.b_sol.tolist()),
        c=(0.0, *butcher.c.tolist()),
        error=tuple(butcher.b_error.tolist()),
    )
