"""Point heuristics: the cost at one point of the solution instead of a whole step.

They see the vector field at a point; for a stochastic equation, only the drift.
"""

import abc
import dataclasses
import functools
from typing import Literal, final

from lrnde_core._arrays import Leaves, Scalar, Time, mean_square
from lrnde_core._capabilities import AnyCapability, Capability
from lrnde_core._checks import check_choice
from lrnde_core._draws import Probe
from lrnde_core._errors import InputError, InputTypeError, described
from lrnde_core._heuristics import AbstractHeuristic, Evaluations
from lrnde_core._local import LocalState, Tolerances

At = Literal["time", "step"]
Convention = Literal["rnode", "taynode"]
Mode = Literal["vjp", "jvp"]


class AbstractPointHeuristic(AbstractHeuristic):
    r"""The integral of a `density` over time, estimated at one point of one step: the density there times $|h|$.

    - `at`: `"time"` evaluates at the sampled time, in the state reached by one step from the start of the recorded one
      (unbiased). `"step"` evaluates at the start of the step, so it does not need that step: a left Riemann sum over
      the steps of the solve.
    """

    at: At = "time"

    @property
    @abc.abstractmethod
    def evaluations_at_point(self) -> Evaluations:
        """The evaluations that the density needs."""

    @abc.abstractmethod
    def density(self, local: LocalState, t: Time, y: Leaves) -> Scalar:
        """The cost per unit of time at `(t, y)`; a scalar of the state's real dtype."""

    @property
    def needs(self) -> frozenset[AnyCapability]:
        inside = (Capability.POINT_INSIDE_STEP,) if self.at == "time" else ()
        return frozenset({Capability.POINT_HEURISTICS, *inside, *self._further_needs()})

    def _further_needs(self) -> tuple[Capability, ...]:
        return ()

    @property
    def evaluations(self) -> Evaluations:
        declared = self.evaluations_at_point
        if not isinstance(declared, Evaluations):
            raise InputTypeError(
                f"`{type(self).__name__}.evaluations_at_point` is {described(declared)}; it must be an `Evaluations`, "
                "such as `lrnde_core.Evaluations(at_point=1)`."
            )
        return dataclasses.replace(declared, step_to_point=self.at == "time")

    @property
    def tolerances(self) -> tuple[Tolerances, ...]:
        return ()

    def cost(self, local: LocalState) -> Scalar:
        return local.size * local.mean_over_points(self.at, functools.partial(self.density, local))


@final
@dataclasses.dataclass(frozen=True)
class TaylorDerivative(AbstractPointHeuristic):
    r"""The mean square of a derivative of the solution, $|h| \cdot \mathrm{mean}((\mathrm{d}^K y/\mathrm{d}t^K)^2)$.

    Summed over steps, the integral over time that TayNODE penalises. The mean is over all elements of the state, the
    batch included; there is no factor 1/2 and no factorial. For a stochastic equation, it is the derivative along the
    drift.

    - `order`: K, at least 2. The cost grows with it: in JAX about like K (Taylor series), in torch like $2^K$.
    - `at`: as for every `AbstractPointHeuristic`. `"step"` is off by 5 to 15% with 4 to 7 steps.

    Source: Kelly et al., NeurIPS 2020, equation (1), in the convention of its code; sampled at one time here.
    """

    order: int = 2
    at: At = "time"

    def __post_init__(self) -> None:
        if isinstance(self.order, bool) or not isinstance(self.order, int):
            raise InputTypeError(f"`TaylorDerivative(order={self.order!r})`: `order` must be an integer, at least 2.")
        if self.order < 2:
            raise InputError(
                f"`TaylorDerivative(order={self.order})`: `order` must be at least 2; of the first derivative, the "
                "vector field itself, use `KineticEnergy()`."
            )
        check_choice("at", self.at, At, self)

    @property
    def evaluations_at_point(self) -> Evaluations:
        return Evaluations(derivatives=(self.order,))

    def density(self, local: LocalState, t: Time, y: Leaves) -> Scalar:
        return mean_square(local.total_derivative(self.order, t, y))


@final
@dataclasses.dataclass(frozen=True)
class KineticEnergy(AbstractPointHeuristic):
    r"""The kinetic energy of the solution, $|h| \cdot \tfrac12 \mathrm{mean}(f(t, y)^2)$.

    Summed over steps, the integral over time that RNODE penalises. The mean is over all elements of the state, the
    batch included. For a stochastic equation, f is the drift.

    - `convention`: `"rnode"` as above; `"taynode"` leaves out the factor 1/2, as TayNODE's code does. Some codes
      (DiffEqFlux, RegNeuralDE) sum over the d elements of a member of the batch; for that, multiply by d:
      `d * KineticEnergy("taynode")`.
    - `at`: as for every `AbstractPointHeuristic`.

    Source: Finlay et al., ICML 2020, in the convention of its code; sampled at one time here.
    """

    convention: Convention = "rnode"
    at: At = "time"

    def __post_init__(self) -> None:
        check_choice("convention", self.convention, Convention, self)
        check_choice("at", self.at, At, self)

    @property
    def evaluations_at_point(self) -> Evaluations:
        return Evaluations(at_point=1)

    def density(self, local: LocalState, t: Time, y: Leaves) -> Scalar:
        factor = 0.5 if self.convention == "rnode" else 1.0
        return factor * mean_square(local.vector_field(t, y))


@final
@dataclasses.dataclass(frozen=True)
class JacobianNorm(AbstractPointHeuristic):
    r"""The Jacobian's squared Frobenius norm over the number of elements, by a probe: $|h|\,\mathrm{mean}((e^T J)^2)$.

    $J = \partial f / \partial y$ of the whole state, a batch included, and the mean is over all elements of the state.
    With $\mathbb{E}\,e e^T = 1$ both modes estimate $\|J\|_F^2 / n$ without bias, n the number of elements. Where f
    acts on the members of a batch one by one, J is block-diagonal and this is the mean over the members of
    $\|J_b\|_F^2 / d$, d the elements of each. No factor 1/2. For a stochastic equation, f is the drift.

    - `probe`: distribution of e: `"gaussian"`, or `"rademacher"` for random signs, which vary less. Each sample has one
      e, determined by its draw unless the call has `probes=`. The heuristics of a sum share it.
    - `mode`: `"vjp"` for $e^T J$, as in RNODE's code, `"jvp"` for $J e$, as in TayNODE's. Gradients of `"vjp"` are
      cheaper in torch, and exist for more operations.
    - `at`: as for every `AbstractPointHeuristic`.

    To sum over the d elements of a member of the batch (RegNeuralDE), multiply by d: `d * JacobianNorm()`. The norm
    $\|e^T J_b\|$ without the square (DiffEqFlux) is not available, since the batch axis is unknown here.

    Source: Finlay et al., ICML 2020, in the convention of its code; sampled at one time here.
    """

    probe: Probe = "gaussian"
    mode: Mode = "vjp"
    at: At = "time"

    def __post_init__(self) -> None:
        check_choice("probe", self.probe, Probe, self)
        check_choice("mode", self.mode, Mode, self)
        check_choice("at", self.at, At, self)

    def _further_needs(self) -> tuple[Capability, ...]:
        return (Capability.REVERSE_PRODUCTS,) if self.mode == "vjp" else ()

    @property
    def evaluations_at_point(self) -> Evaluations:
        return Evaluations(at_point=1, probe=True)

    def density(self, local: LocalState, t: Time, y: Leaves) -> Scalar:
        multiply = local.transposed_jacobian_product if self.mode == "vjp" else local.jacobian_product
        return mean_square(multiply(t, y, local.probe(self.probe)))
