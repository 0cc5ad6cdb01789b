"""One penalised solve of the suite, as a value, and what it measured."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any, Literal, final

import numpy as np

import lrnde_core
from lrnde_conformance._method import Method
from lrnde_conformance._problems import Problem

_UNIFORM_TIME = lrnde_core.UniformTime()
COSTS: dict[str, lrnde_core.AbstractHeuristic] = {
    "error": lrnde_core.ErrorEstimate(),
    "predicted": lrnde_core.PredictedSteps(),
    "stiffness": lrnde_core.StiffnessEstimate(),
    "taylor": lrnde_core.TaylorDerivative(2),
    "taylor-at-step": lrnde_core.TaylorDerivative(2, at="step"),
}
"""The heuristics behind the oracle's costs."""


@final
@dataclasses.dataclass(frozen=True)
class Experiment:
    """One penalised solve. Hashable; the problem is compared by identity.

    - `ts`: output times. `rtol`, `atol`, `first_step`: as in `Task`. `cost`: name of the heuristic, one of `COSTS`.
    - `own_heuristic`: used in its place, where there is one.
    - `sampler`, `gradient`: as for `lrnde_core.regularize`. `draws`: one uniform for each sample.
    - `is_split`: whether the state is a tuple of one array per column; `is_mixed`: the first of them float32, whatever
      the others are.
    - `is_batched`: as for `lrnde_core.regularize`. `event_at`: when an event ends the solve. `smallest_step`: as in
      `Task`. `jump_at`: where the field jumps.
    - `steps`: as for `lrnde_core.regularize`; `plan`: then of the call.
    """

    method: Method
    problem: Problem
    ts: tuple[float, ...]
    rtol: float
    atol: float
    first_step: float
    cost: str = "error"
    own_heuristic: lrnde_core.AbstractHeuristic | None = None
    sampler: lrnde_core.AbstractSampler = _UNIFORM_TIME
    draws: tuple[float, ...] = (0.37,)
    gradient: Literal["local", "full"] = "local"
    adjoint: str | None = None
    dtype: str = "float64"
    is_split: bool = False
    is_mixed: bool = False
    is_batched: bool = False
    event_at: float | None = None
    smallest_step: float | None = None
    jump_at: float | None = None
    steps: lrnde_core.CheckedSteps | None = None
    plan: lrnde_core.FixedSteps | None = None

    @property
    def heuristic(self) -> lrnde_core.AbstractHeuristic:
        """The heuristic, with its own tolerances where the steps are fixed."""
        if self.own_heuristic is not None:
            return self.own_heuristic
        if not self.method.is_adaptive and self.cost in ("error", "predicted"):
            make = lrnde_core.ErrorEstimate if self.cost == "error" else lrnde_core.PredictedSteps
            return make(rtol=self.rtol, atol=self.atol)
        return COSTS[self.cost]

    @property
    def regularization(self) -> dict[str, Any]:
        """The arguments of `regularize`."""
        return {
            "heuristic": self.heuristic,
            "sampler": self.sampler,
            "gradient": self.gradient,
            "num_samples": len(self.draws),
            "batched": self.is_batched,
            "steps": self.steps,
        }

    @property
    def call_arguments(self) -> dict[str, Any]:
        """The arguments of the regularized call but for the draws."""
        return {} if self.steps is None else {"plan": self.plan}

    def key(self, static: Collection[str]) -> tuple[Any, ...]:
        """What a compiled program of it depends on; the rest are its arguments.

        - `static`: names of numbers that the solver needs when it is compiled.
        """
        # Tolerances of a fixed step are the heuristic's, and so part of the program.
        penalty = (self.heuristic, self.sampler, len(self.draws), self.gradient, self.is_batched)
        penalty = (*penalty, self.steps, self.plan)
        return (*self.bare_key(static), *penalty)

    def bare_key(self, static: Collection[str]) -> tuple[Any, ...]:
        """What a compiled program of the bare solve depends on."""
        return (
            self.method,
            self.problem.formula,
            self.problem.y0.shape,
            len(self.ts),
            self.adjoint,
            self.dtype,
            self.is_split,
            self.is_mixed,
            self.event_at is None,
            self.smallest_step is None,
            self.jump_at is None,
            *(getattr(self, name) for name in sorted(static)),
        )

    def constants(self, static: Collection[str]) -> dict[str, Any]:
        """The arguments of a compiled program of it, but for parameters and initial state."""
        constants: dict[str, Any] = {
            "ts": np.array(self.ts),
            "draws": np.array(self.draws),
            "rtol": self.rtol,
            "atol": self.atol,
            "first_step": self.first_step,
        }
        problem = self.problem
        if problem.amplitude is not None:
            constants |= {"amplitude": problem.amplitude, "frequency": problem.frequency}
        chosen = {"event_at": self.event_at, "smallest_step": self.smallest_step, "jump_at": self.jump_at}
        constants |= {name: value for name, value in chosen.items() if value is not None}
        return {name: value for name, value in constants.items() if name not in static}

    def but(self, **changes: Any) -> "Experiment":
        """The same but for some fields."""
        return dataclasses.replace(self, **changes)


@final
@dataclasses.dataclass(frozen=True, eq=False)
class Measurement:
    """What a penalised solve said, as numpy arrays and Python numbers; `None` where the report has `None`.

    - `states`: at the output times, shape `(times, batch, size)`. `penalty`: a scalar; `penalty_dtype`: its dtype.
    - `gradient`: of the penalty, by name of parameter; `y0` is one of them. Empty where it was not asked for.
    - `nfe` ... `step_error`: of the report. `t` ... `solver_error_ratio`: of its sample, shape `(num_samples,)`.
    - `shapes`: of the arrays of penalty and sample, by name, as the report has them. `has_sample`: whether it has one.
    """

    states: np.ndarray
    penalty: float
    penalty_dtype: str
    gradient: Mapping[str, np.ndarray]
    nfe: int | None
    nfe_extra: int | None
    nfe_diffusion: int | None
    num_steps: int | None
    num_accepted: int | None
    num_rejected: int | None
    num_forced: int | None
    num_unresolved: int | None
    step_error: float | None
    shapes: Mapping[str, tuple[int, ...]]
    has_sample: bool
    t: np.ndarray
    h: np.ndarray
    weight: np.ndarray
    error_ratio: np.ndarray | None
    stiffness: np.ndarray | None
    solver_error_ratio: np.ndarray | None
