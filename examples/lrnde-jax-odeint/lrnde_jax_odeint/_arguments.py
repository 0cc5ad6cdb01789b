"""The arguments of a call, by name."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import ode
from lrnde_core import CapabilityError, NativeArguments, NativeFunction, NativeKeywords, is_traced

from lrnde_jax_odeint._call import JaxOdeintCall
from lrnde_jax_odeint._methods import FACTS

NO_REVERSE_TIME = "`odeint` solves forward only: its times must increase. Negate the time in your field."


def read_call(native: NativeFunction, args: NativeArguments, kwargs: NativeKeywords) -> JaxOdeintCall:
    """Read the arguments of `odeint`. JAX itself refuses invalid ones."""
    bound = inspect.signature(ode.odeint).bind(*args, **kwargs)
    bound.apply_defaults()
    given = dict(bound.arguments)
    func, y0, t, further = (given.pop(name) for name in ("func", "y0", "t", "args"))
    if any(jnp.iscomplexobj(leaf) for leaf in jax.tree.leaves(y0)):
        raise CapabilityError(
            "`y0` is complex; this adapter takes real states. Split it into real and imaginary parts."
        )
    if not is_traced(t) and np.any(np.diff(t) < 0):
        raise CapabilityError(f"`t` decreases. {NO_REVERSE_TIME}")
    return JaxOdeintCall(native, func, y0, t, further, given, FACTS)
