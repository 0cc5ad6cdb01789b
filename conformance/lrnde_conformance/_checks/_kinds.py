"""Capabilities that are kinds of solves: what belongs to them among the methods of a driver."""

from collections.abc import Callable, Mapping

from lrnde_conformance._method import Method
from lrnde_core import Capability

KINDS: Mapping[Capability, Callable[[Method], bool]] = {
    Capability.ADAPTIVE_ODE: lambda m: m.is_adaptive and not m.is_stochastic,
    Capability.FIXED_STEP_ODE: lambda m: not m.is_adaptive and not m.is_stochastic,
    Capability.IMPLICIT_ODE: lambda m: m.is_implicit,
    Capability.CONTROLLED_ODE: lambda m: m.control is not None,
    Capability.ADAPTIVE_SDE: lambda m: m.is_adaptive and m.is_stochastic,
    Capability.FIXED_STEP_SDE: lambda m: not m.is_adaptive and m.is_stochastic,
    Capability.ITO_SDE: lambda m: m.calculus == "ito",
    Capability.STRATONOVICH_SDE: lambda m: m.calculus == "stratonovich",
    Capability.ADDITIVE_NOISE: lambda m: m.noise == "additive",
    Capability.DIAGONAL_NOISE: lambda m: m.noise == "diagonal",
    Capability.GENERAL_NOISE: lambda m: m.noise == "general",
}
"""A driver has a method of each kind that is declared supported, on which the checks of methods run, and none of those
that are declared unsupported: then nothing in a call can ask for them."""
