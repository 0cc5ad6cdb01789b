"""The adapter of `odeint`."""

from typing import ClassVar, final

import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from lrnde_core import (
    SDE_CAPABILITIES,
    AbstractCall,
    Capabilities,
    Capability,
    NativeArguments,
    NativeFunction,
    NativeKeywords,
    Scalar,
)
from lrnde_jax import NO_COLLECT, AbstractJaxAdapter

from lrnde_jax_odeint._arguments import NO_REVERSE_TIME, read_call
from lrnde_jax_odeint._call import JaxOdeintCall

_CONTINUOUS = "`odeint` differentiates by an adjoint equation, which does not see its steps. Use diffrax."


@final
class JaxOdeintAdapter(AbstractJaxAdapter):
    """Ordinary differential equations by `jax.experimental.ode.odeint`."""

    capabilities: ClassVar[Capabilities] = Capabilities.declare(
        {
            Capability.FIXED_STEP_ODE: "`odeint` has no fixed steps. Use diffrax.",
            Capability.IMPLICIT_ODE: "`odeint` has no implicit method. Use diffrax.",
            Capability.CONTROLLED_ODE: "`odeint` has no controlled equations. Write the control into the field.",
            Capability.EVENTS: "`odeint` has no events. Use diffrax.",
            **dict.fromkeys(SDE_CAPABILITIES, "`odeint` has no stochastic equations. Use diffrax."),
            **dict.fromkeys((Capability.FULL_GRADIENT, Capability.ALL_STEPS, Capability.RUNNING_COST), _CONTINUOUS),
            Capability.REVERSE_TIME: NO_REVERSE_TIME,
            Capability.COLLECT: NO_COLLECT,
            Capability.FREEZE: "this adapter has no freezer. Freeze the same field with diffrax.",
            Capability.CHECKED_STEPS: "this adapter has no freezer. Train the same field with diffrax.",
        }
    )

    def bind(self, solve: str, native: NativeFunction, args: NativeArguments, kwargs: NativeKeywords) -> JaxOdeintCall:
        del solve  # there is but one
        return read_call(native, args, kwargs)

    def zero_penalty(self, call: AbstractCall) -> Scalar:
        assert isinstance(call, JaxOdeintCall)
        return jnp.zeros((), ravel_pytree(call.y0)[0].dtype)
