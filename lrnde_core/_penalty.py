"""The penalty at one kept step: local step, cost, weight."""

import dataclasses
from typing import NamedTuple, final

from lrnde_core._arrays import Count, Leaves, Real, Scalar, clip, matching
from lrnde_core._capabilities import Capability
from lrnde_core._draws import probe_seed
from lrnde_core._heuristics import AbstractHeuristic, scalar_cost
from lrnde_core._local import LocalState, Tolerances, initial_step
from lrnde_core._method import MethodFacts
from lrnde_core._problem import AbstractLocalProblem
from lrnde_core._recording import Record
from lrnde_core._report import Sample
from lrnde_core._samplers import AbstractSampler, Draw, DrawnStep


class PenaltyTerm(NamedTuple):
    """Weighted cost of one sample (differentiable), and where it was taken."""

    cost: Scalar
    sample: Sample


@final
@dataclasses.dataclass(frozen=True)
class LocalPenalty:
    """The static part of a penalty: hashable, so that a jitted evaluation of it is traced once."""

    heuristic: AbstractHeuristic
    sampler: AbstractSampler
    method: MethodFacts

    def __call__(
        self, problem: AbstractLocalProblem, draw: Draw, record: Record, probes: Leaves | None = None
    ) -> PenaltyTerm:
        """The weighted cost at one kept step. Not elementwise: takes one draw and one record.

        - `probes`: one random direction for every sample; `None` if the draw determines it.
        """
        locate = self._restarted if self._is_restarted else self._as_taken
        local = locate(problem, draw, record, probes)
        weight = self.sampler.weight(record.drawn)
        sample = Sample(
            t=local.t,
            h=local.h,
            weight=weight,
            error_ratio=local.error_ratio(self.heuristic.tolerances[0]) if self.reads_error_ratio else None,
            stiffness=local.stiffness if self.reads_stiffness else None,
            solver_error_ratio=None if self._is_restarted else record.solver_error_ratio,
        )
        cost = scalar_cost(self.heuristic, local)
        return PenaltyTerm(matching(weight, cost) * cost, sample)

    def num_evaluations(self, problem: AbstractLocalProblem, num_samples: Count, num_reused: Count) -> Count | None:
        """Vector-field evaluations of all samples; `None` if the method hides them. Also takes traced numbers.

        `num_reused` samples already have the estimate of their recorded step.
        """
        needed, method = self.heuristic.evaluations, self.method
        step, advance = method.evaluations_per_step, method.evaluations_per_advance
        if step is None or advance is None:
            return None
        derivatives = sum(1 if problem.has_taylor_mode else order for order in needed.derivatives)
        at_point = (needed.at_point + derivatives) * method.evaluations_per_point
        if self.sampler.is_quadrature and at_point > 0:
            assert method.tableau is not None  # refused before the solve
            nodes, reaching = method.tableau.num_quadrature_nodes, method.tableau.num_quadrature_evaluations
            return num_samples * nodes * at_point + (num_samples - num_reused) * reaching
        if not self._is_restarted:
            leading = 0 if method.reads_points else needed.step_to_point * advance
            per_sample = needed.step * step + leading + at_point
            return num_samples * per_sample - num_reused * (needed.step * step)
        reading = advance if self.sampler.is_sample_inside_step and not method.reads_points else 0
        return num_samples * (reading + 2 + needed.step * (step - 1) + at_point)

    @property
    def uses_solver_tolerances(self) -> bool:
        """Whether it compares an error with the tolerances of the solve, and takes one that is only rounding for 0."""
        return Tolerances() in self.heuristic.tolerances

    @property
    def reads_error_ratio(self) -> bool:
        """Whether its samples have an error ratio."""
        return Capability.ERROR_ESTIMATE in self.heuristic.needs

    @property
    def reads_stiffness(self) -> bool:
        """Whether its samples have a stiffness estimate."""
        return Capability.STIFFNESS_ESTIMATE in self.heuristic.needs

    @property
    def reads_point(self) -> bool:
        """Whether it evaluates anything at the sampled point, on a method that `reads_points`."""
        if not self.method.reads_points or self.sampler.is_quadrature:
            return False
        needed = self.heuristic.evaluations
        return (
            needed.at_point > 0
            or bool(needed.derivatives)
            or (self._is_restarted and self.sampler.is_sample_inside_step)
        )

    @property
    def _is_restarted(self) -> bool:
        return self.sampler.local_start == "sample"

    def _as_taken(self, problem: AbstractLocalProblem, draw: Draw, record: Record, probes: Leaves | None) -> LocalState:
        fraction = sampled_fraction(self.sampler, draw, record.drawn)
        return LocalState(
            problem,
            record.t,
            record.h,
            record.y,
            carry=record.carry,
            fraction=fraction,
            is_quadrature=self.sampler.is_quadrature,
            error_order=self.method.error_order,
            stability_interval=self.method.stability_interval,
            estimate=record.estimate,
            point=record.point,
            probe_seed=probe_seed(draw.bits),
            probes=probes,
        )

    def _restarted(
        self, problem: AbstractLocalProblem, draw: Draw, record: Record, probes: Leaves | None
    ) -> LocalState:
        # The reference code's local problem: it starts at the sampled time, with an automatic step and a constant first
        # stage; state, time and step size carry no gradient.
        t, y, remaining = record.t, record.y, record.remaining
        if self.sampler.is_sample_inside_step:
            t, y = self._as_taken(problem, draw, record, None).sampled_point
            remaining = record.remaining - (t - record.t)
            y = problem.detach(y)
        h, velocity = initial_step(problem, t, y, remaining, self.method.order)
        return LocalState(
            problem,
            t,
            h,
            y,
            carry=None,
            fraction=None,
            is_quadrature=False,
            error_order=self.method.error_order,
            stability_interval=self.method.stability_interval,
            first_stage=velocity,
            probe_seed=probe_seed(draw.bits),
            probes=probes,
        )


def sampled_fraction(sampler: AbstractSampler, draw: Draw, step: DrawnStep) -> Real:
    """Where in a kept step the sample lies, from 0 at its start to 1 at its end."""
    return clip(sampler.locate(draw, step), 0.0, 1.0)
