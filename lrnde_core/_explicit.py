"""One step of an explicit Runge--Kutta method, built on two operations of the backend."""

import abc
import functools

from lrnde_core._arrays import Leaves, Time, array_namespace, subtract
from lrnde_core._problem import QuadratureNode, StepEstimate
from lrnde_core._tableau import ExplicitTableau


class AbstractStages(abc.ABC):
    """The two backend operations of an explicit Runge--Kutta step, for `explicit_step`."""

    @abc.abstractmethod
    def increment(self, t: Time, h: Time, abscissa: float, y: Leaves) -> Leaves:
        """h f(t + abscissa h, y): one evaluation of the vector field."""

    @abc.abstractmethod
    def combine(self, y: Leaves, weights: tuple[float, ...], increments: list[Leaves]) -> Leaves:
        """y + sum_j weights[j] increments[j], leaf by leaf; zero weights are skipped."""


def explicit_step(
    stages: AbstractStages, tableau: ExplicitTableau, t: Time, h: Time, y: Leaves, first_increment: Leaves | None
) -> StepEstimate:
    """Take one step of an explicit Runge--Kutta method: `num_stages` evaluations, one fewer with `first_increment`."""
    increments, stage_states = take_stages(stages, tableau, t, h, y, first_increment, tableau.num_stages)
    return read_stages(stages, tableau, y, increments, stage_states)


def take_stages(
    stages: AbstractStages,
    tableau: ExplicitTableau,
    t: Time,
    h: Time,
    y: Leaves,
    first_increment: Leaves | None,
    num_evaluated: int,
) -> tuple[list[Leaves], list[Leaves]]:
    """The increments of the first `num_evaluated` stages, and the states of all stages that they reach."""
    increments = [stages.increment(t, h, 0.0, y) if first_increment is None else first_increment]
    stage_states = [y]
    for row, abscissa in zip(tableau.a[:num_evaluated], tableau.c[1:], strict=False):
        stage_states.append(stages.combine(y, row, increments))
        if len(increments) < num_evaluated:
            increments.append(stages.increment(t, h, abscissa, stage_states[-1]))
    return increments, stage_states


def explicit_advance(stages: AbstractStages, tableau: ExplicitTableau, t: Time, h: Time, y: Leaves) -> Leaves:
    """Only the solution of `explicit_step`: one evaluation fewer if only the error needs the last stage."""
    increments, stage_states = take_stages(stages, tableau, t, h, y, None, tableau.evaluations_per_advance)
    return read_solution(stages, tableau, y, increments, stage_states)


def read_solution(
    stages: AbstractStages, tableau: ExplicitTableau, y: Leaves, increments: list[Leaves], stage_states: list[Leaves]
) -> Leaves:
    """Read the solution at the end of a step off its stages."""
    return stage_states[-1] if tableau.is_last_stage_solution else stages.combine(y, tableau.b, increments)


def explicit_nodes(
    stages: AbstractStages, tableau: ExplicitTableau, t: Time, h: Time, y: Leaves
) -> tuple[QuadratureNode, ...]:
    """The nodes of the quadrature rule of a step: `tableau.num_quadrature_evaluations` evaluations."""
    increments: list[Leaves] = []
    stage_states = [y]
    for row, abscissa in zip(tableau.a[: tableau.num_quadrature_evaluations], tableau.c, strict=False):
        increments.append(stages.increment(t, h, abscissa, stage_states[-1]))
        stage_states.append(stages.combine(y, row, increments))
    return _nodes(tableau, stage_states)


def doubled_step(
    stages: AbstractStages, tableau: ExplicitTableau, t: Time, h: Time, y: Leaves, first_increment: Leaves | None
) -> StepEstimate:
    """Take a step as a whole and in two halves; their difference estimates the error: 3 `num_stages` - 1 evaluations.

    The solution is that of the halves, as in every library that uses step doubling.

    Source: Hairer, Norsett and Wanner, "Solving Ordinary Differential Equations I", section II.4, without
    extrapolation.
    """
    first = stages.increment(t, h, 0.0, y) if first_increment is None else first_increment
    whole = explicit_step(stages, tableau, t, h, y, first)
    middle = explicit_step(stages, tableau, t, 0.5 * h, y, tuple(0.5 * leaf for leaf in first))
    end = explicit_step(stages, tableau, t + 0.5 * h, 0.5 * h, middle.y1, None)
    return StepEstimate(end.y1, subtract(end.y1, whole.y1), whole.magnitude, None, 2.0)


def read_stages(
    stages: AbstractStages,
    tableau: ExplicitTableau,
    y: Leaves,
    increments: list[Leaves],
    stage_states: list[Leaves],
) -> StepEstimate:
    """Read solution, error estimate, magnitude and stiffness pair off the stages of an explicit Runge--Kutta step."""
    y1 = read_solution(stages, tableau, y, increments, stage_states)
    error, rounding_factor = None, 1.0
    if tableau.error is not None:
        rounding_factor = sum(abs(weight) for weight in tableau.error)
        xp = array_namespace(*y)
        error = stages.combine(tuple(xp.zeros_like(leaf) for leaf in y), tableau.error, increments)
    stage_difference = None
    if tableau.has_stiffness_pair:
        stage_difference = (
            subtract(increments[-1], increments[-2]),
            subtract(stage_states[-1], stage_states[-2]),
        )
    return StepEstimate(
        y1, error, largest_magnitude(increments), stage_difference, rounding_factor, _nodes(tableau, stage_states)
    )


def _nodes(tableau: ExplicitTableau, stage_states: list[Leaves]) -> tuple[QuadratureNode, ...]:
    rule = zip(tableau.b, tableau.c, stage_states, strict=False)
    return tuple(QuadratureNode(*node) for node in rule if node[0] != 0)


def largest_magnitude(increments: list[Leaves]) -> Leaves:
    """The elementwise maximum of abs over several state-shaped tuples."""
    xp = array_namespace(*increments[0])
    return tuple(
        functools.reduce(xp.maximum, (xp.abs(leaf) for leaf in leaves)) for leaves in zip(*increments, strict=True)
    )
