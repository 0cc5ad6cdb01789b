"""Samplers: the choice of the steps of a training solve that the penalty evaluates.

A sampler is used twice. While the native solve runs, a recorder calls `keep` at every accepted step, so that no
trajectory is ever stored. Afterwards `locate` says where in the kept step the sample lies, and `weight` is the factor
by which the cost there estimates the sum over all steps.

All methods are elementwise and take Python numbers or arrays: the torch adapters call them with floats, the JAX
adapters with traced arrays of shape `(num_samples,)`.
"""

import abc
import dataclasses
from typing import Literal, NamedTuple, final

from lrnde_core._arrays import Bits, Count, Number, Real, Truth
from lrnde_core._capabilities import AnyCapability, Capability
from lrnde_core._checks import check_choice
from lrnde_core._draws import fraction, keep_by_size, keep_uniformly

Weighting = Literal["sum", "paper"]
LocalStart = Literal["step", "sample"]
Increment = Literal["path", "fresh"]
Reduction = Literal["mean", "sum", "max"]


class Draw(NamedTuple):
    """The random number behind a sample: `uniform` in [0, 1), and `bits`, floor(2^24 uniform) as unsigned integer."""

    uniform: Real
    bits: Bits


class AcceptedStep(NamedTuple):
    """A recorder's view of an accepted step; all values are unsigned.

    - `index`: 1 for the first accepted step, 2 for the next, ...
    - `elapsed`: time between the start of the solve and the start of this step.
    - `size`: length of the step as the solver took it, possibly beyond the end of the solve.
    - `duration`: length of the whole solve; `None` if an event decides it and it is not known yet.
    """

    index: Count  # pyright: ignore[reportIncompatibleMethodOverride]  # nobody searches a step as a tuple
    elapsed: Real
    size: Real
    duration: Real | None


class DrawnStep(NamedTuple):
    """The kept step once the solve is over; all values are unsigned.

    - `elapsed`: time between the start of the solve and the start of the step.
    - `size`: length of the step, clipped to the end of the solve.
    - `measure`: the length by which it was drawn: `size` if the end was known, else the length as taken.
    - `duration`: sum of `measure` over all steps.
    - `num_accepted`: number of accepted steps.
    - `is_end_known`: whether the end of the solve was known in advance (static).
    """

    elapsed: Real
    size: Real
    measure: Real
    duration: Real
    num_accepted: Count
    is_end_known: bool


class AbstractSampler(abc.ABC):
    """Chooses one accepted step per draw. Frozen, hashable, equal by value."""

    weighting: Weighting
    local_start: LocalStart
    increment: Increment

    reduction: Reduction = "mean"
    """The reduction of the costs of the kept steps to one penalty."""

    @property
    def keeps_every_step(self) -> bool:
        """Whether every accepted step is kept instead of one per draw; `keep` is then not called."""
        return False

    @property
    def is_quadrature(self) -> bool:
        """Whether a point heuristic is integrated over the kept step instead of evaluated at one point of it."""
        return False

    @property
    @abc.abstractmethod
    def needs(self) -> frozenset[AnyCapability]:
        """The capabilities that the adapter and the method must have."""

    @property
    @abc.abstractmethod
    def is_sample_inside_step(self) -> bool:
        """Whether the sample lies inside the kept step instead of at its start."""

    @abc.abstractmethod
    def keep(self, draw: Draw, step: AcceptedStep) -> Truth:
        """Whether this step replaces the one kept so far (bool or boolean array). Pure in `draw` and `step`."""

    @abc.abstractmethod
    def locate(self, draw: Draw, step: DrawnStep) -> Real:
        """The position of the sample inside the kept step, in [0, 1]; uniform given the step."""

    @abc.abstractmethod
    def weight(self, step: DrawnStep) -> Number:
        """The factor for an unbiased estimate `weight * cost` of the sum over steps; 1 for `weighting="paper"`."""


def _check_sampler(sampler: AbstractSampler) -> None:
    check_choice("weighting", sampler.weighting, Weighting, sampler)
    check_choice("local_start", sampler.local_start, LocalStart, sampler)
    check_choice("increment", sampler.increment, Increment, sampler)


def _needs(sampler: AbstractSampler, sampling: Capability) -> frozenset[Capability]:
    restart = (Capability.RESTARTED_STEP,) if sampler.local_start == "sample" else ()
    fresh = (Capability.FRESH_INCREMENT,) if sampler.increment == "fresh" else ()
    return frozenset((sampling, *restart, *fresh))


@final
@dataclasses.dataclass(frozen=True)
class UniformTime(AbstractSampler):
    """The step that covers a time drawn uniformly from the interval of the solve (the paper's "unbiased" sampling).

    - `weighting`: `"sum"` weights with duration / size, which makes the penalty an unbiased estimate of the sum of the
      cost over all steps; `"paper"` weights with 1, as the reference code does.
    - `local_start`: `"step"` takes the local step as the solver took it. `"sample"` restarts at the sampled time with
      an automatic first step and a constant first stage, as the reference code does.
    - `increment`: for stochastic equations. `"path"` takes the local step along the Brownian path of the solve itself.
      `"fresh"` draws a new increment, a function of the draw, as the reference code does.

    If an event decides the end of the solve, a reservoir weighted by step size replaces the drawn time.

    Source: Pal, Edelman and Rackauckas, ICML 2023, section 3.2.
    """

    weighting: Weighting = "sum"
    local_start: LocalStart = "step"
    increment: Increment = "path"

    def __post_init__(self) -> None:
        _check_sampler(self)

    @property
    def needs(self) -> frozenset[AnyCapability]:
        return _needs(self, Capability.UNIFORM_TIME)

    @property
    def is_sample_inside_step(self) -> bool:
        return True

    def keep(self, draw: Draw, step: AcceptedStep) -> Truth:
        if step.duration is None:
            return keep_by_size(draw.bits, step.index, step.elapsed, step.size)
        # The last step that starts at or before the drawn time is the one that covers it.
        return step.elapsed <= draw.uniform * step.duration

    def locate(self, draw: Draw, step: DrawnStep) -> Real:
        if not step.is_end_known:
            return fraction(draw.bits, step.size)
        return (draw.uniform * step.duration - step.elapsed) / step.size

    def weight(self, step: DrawnStep) -> Number:
        return 1.0 if self.weighting == "paper" else step.duration / step.measure


@final
@dataclasses.dataclass(frozen=True)
class UniformStep(AbstractSampler):
    """A random accepted step, each with the same probability (the paper's "biased" sampling).

    - `weighting`: `"sum"` weights with the number of accepted steps, `"paper"` with 1.
    - `local_start`, `increment`: as for `UniformTime`.

    Source: Pal, Edelman and Rackauckas, ICML 2023, section 3.2; reservoir by Vitter, 1985.
    """

    weighting: Weighting = "sum"
    local_start: LocalStart = "step"
    increment: Increment = "path"

    def __post_init__(self) -> None:
        _check_sampler(self)

    @property
    def needs(self) -> frozenset[AnyCapability]:
        return _needs(self, Capability.UNIFORM_STEP)

    @property
    def is_sample_inside_step(self) -> bool:
        # The reference code restarts at the start of a step, so no step to the sample is needed.
        return self.local_start == "step"

    def keep(self, draw: Draw, step: AcceptedStep) -> Truth:
        return keep_uniformly(draw.bits, step.index)

    def locate(self, draw: Draw, step: DrawnStep) -> Real:
        return fraction(draw.bits, step.size)

    def weight(self, step: DrawnStep) -> Number:
        return 1.0 if self.weighting == "paper" else step.num_accepted


class _AbstractEveryStep(AbstractSampler):
    """The base of the samplers that look at every accepted step, and so draw nothing."""

    weighting = "sum"
    local_start = "step"
    increment = "path"

    @property
    def keeps_every_step(self) -> bool:
        return True

    @property
    def needs(self) -> frozenset[AnyCapability]:
        return frozenset({Capability.ALL_STEPS, Capability.FULL_GRADIENT})

    @property
    def is_sample_inside_step(self) -> bool:
        return True

    def keep(self, draw: Draw, step: AcceptedStep) -> Truth:
        del draw, step
        return True

    def locate(self, draw: Draw, step: DrawnStep) -> Real:
        del draw, step
        return 0.5

    def weight(self, step: DrawnStep) -> Number:
        del step
        return 1.0


@final
@dataclasses.dataclass(frozen=True)
class AllSteps(_AbstractEveryStep):
    """Every accepted step: the global regularizers, whose gradient goes through the whole solve.

    Needs an adjoint that differentiates through the solve (it implies `gradient="full"`): torchdiffeq's `odeint`,
    torchsde's `sdeint`, diffrax's checkpointed and direct adjoints. Elsewhere `UniformStep()` and `UniformTime()`
    estimate the same sum, without bias and from one step.

    - `reduction`: `"sum"`, `"mean"` or `"max"` over the steps.

    A point heuristic is evaluated in the middle of each step (the midpoint rule).

    Source: Pal et al., ICML 2021 (ERNODE, SRNODE), whose code takes the mean of the error and the maximum of the
    stiffness.
    """

    reduction: Reduction = "sum"

    def __post_init__(self) -> None:
        check_choice("reduction", self.reduction, Reduction, self)


@final
@dataclasses.dataclass(frozen=True)
class Integral(_AbstractEveryStep):
    r"""The integral over time of a point heuristic, a running cost as RNODE and TayNODE are published.

    The method's own quadrature rule computes it, $\sum_i |h| \sum_j b_j\, c(t_j, g_j)$ over its stages $g_j$ with
    weights $b_j$. An additional state with derivative $c$ would give the same value, but there is no such state: it has
    no effect on step size control, and the solution is that of the bare call. Needs what `AllSteps` needs, and an
    explicit Runge--Kutta method. `UniformTime()` is its unbiased estimate from one time, with any adjoint.

    Source: Finlay et al., ICML 2020; Kelly et al., NeurIPS 2020.
    """

    reduction = "sum"

    @property
    def is_quadrature(self) -> bool:
        return True

    @property
    def needs(self) -> frozenset[AnyCapability]:
        return super().needs | {Capability.RUNNING_COST}
