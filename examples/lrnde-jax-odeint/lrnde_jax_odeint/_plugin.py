"""The declaration of the adapter. It imports only the core, so that listing adapters imports no solver."""

from collections.abc import Callable

from lrnde_core import AdapterSpec, hookimpl


@hookimpl
def lrnde_register_adapters(register: Callable[[AdapterSpec], None]) -> None:
    """Register the adapter for `jax.experimental.ode.odeint`."""
    register(
        AdapterSpec(
            name="jax_odeint",
            target="lrnde_jax_odeint._adapter:JaxOdeintAdapter",
            solves=("jax.experimental.ode:odeint",),
            requires=("jax>=0.10.2", "equinox>=0.13.1"),
            install="jax>=0.10.2",
            api_version=(2, 1),
            driver="lrnde_jax_odeint._conformance:JaxOdeintDriver",
        )
    )
