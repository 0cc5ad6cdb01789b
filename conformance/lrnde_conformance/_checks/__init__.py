"""The checks, by what they are about; `ALL` holds each of them."""

from lrnde_conformance._checks import (
    _adjoint,
    _backward_counts,
    _batches,
    _counts,
    _declarations,
    _directions,
    _events,
    _every_step,
    _freezing_promise,
    _freezing_sde,
    _freezing_steps,
    _freezing_traces,
    _gradient,
    _identity,
    _interface,
    _laws,
    _memory,
    _no_trace,
    _noise,
    _penalty,
    _poison,
    _probes,
    _reduction,
    _refusal,
    _restarted,
    _silence,
    _step_sampling,
    _time_sampling,
    _transforms,
    _vectors,
    _zero_error,
)
from lrnde_conformance._checks._check import Check

_MODULES = (
    _interface,
    _declarations,
    _identity,
    _silence,
    _penalty,
    _restarted,
    _noise,
    _gradient,
    _adjoint,
    _vectors,
    _time_sampling,
    _step_sampling,
    _every_step,
    _events,
    _zero_error,
    _poison,
    _probes,
    _counts,
    _backward_counts,
    _no_trace,
    _directions,
    _batches,
    _transforms,
    _refusal,
    _memory,
    _reduction,
    _freezing_steps,
    _freezing_promise,
    _freezing_traces,
    _freezing_sde,
    _laws,
)

ALL: tuple[Check, ...] = tuple(
    value for module in _MODULES for value in vars(module).values() if isinstance(value, Check)
)
"""Each check once; those of the interface first, but for the one that looks at what the others did."""

__all__ = ["ALL"]
