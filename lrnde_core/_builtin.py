"""The built-in heuristics and samplers, registered by name through the same hooks as a third party's."""

from collections.abc import Callable

from lrnde_core._heuristics import AbstractHeuristic, ErrorEstimate, PredictedSteps, StiffnessEstimate
from lrnde_core._hookspecs import hookimpl
from lrnde_core._point_heuristics import JacobianNorm, KineticEnergy, TaylorDerivative
from lrnde_core._samplers import AbstractSampler, AllSteps, Integral, UniformStep, UniformTime


@hookimpl
def lrnde_register_heuristics(register: Callable[[str, Callable[[], AbstractHeuristic]], None]) -> None:
    register("error_estimate", ErrorEstimate)
    register("jacobian_norm", JacobianNorm)
    register("kinetic_energy", KineticEnergy)
    register("predicted_steps", PredictedSteps)
    register("stiffness_estimate", StiffnessEstimate)
    register("taylor_derivative", TaylorDerivative)


@hookimpl
def lrnde_register_samplers(register: Callable[[str, Callable[[], AbstractSampler]], None]) -> None:
    register("all_steps", AllSteps)
    register("integral", Integral)
    register("uniform_step", UniformStep)
    register("uniform_time", UniformTime)
