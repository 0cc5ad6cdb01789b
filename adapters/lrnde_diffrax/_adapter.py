"""The adapter for `diffrax.diffeqsolve`."""

from typing import ClassVar, final

import jax.numpy as jnp

from lrnde_core import (
    AbstractCall,
    Capabilities,
    Capability,
    NativeArguments,
    NativeFunction,
    NativeKeywords,
    Scalar,
)
from lrnde_diffrax._arguments import read_arguments
from lrnde_diffrax._call import DiffraxCall, read_call
from lrnde_diffrax._stepped import SteppedCall
from lrnde_jax import NO_COLLECT, AbstractJaxAdapter


@final
class DiffraxAdapter(AbstractJaxAdapter):
    """Ordinary, smoothly controlled and stochastic equations, under any of diffrax's adjoints."""

    capabilities: ClassVar[Capabilities] = Capabilities.declare({Capability.COLLECT: NO_COLLECT})

    def bind(self, solve: str, native: NativeFunction, args: NativeArguments, kwargs: NativeKeywords) -> AbstractCall:
        del solve
        return read_call(read_arguments(native, args, kwargs))

    def zero_penalty(self, call: AbstractCall) -> Scalar:
        native = call.native if isinstance(call, SteppedCall) else call
        assert isinstance(native, DiffraxCall)
        return jnp.zeros((), native.arguments.state_dtype)
