"""The declaration of the adapter of `odeint_taylor`. It imports only the core: listing adapters imports no solver."""

from collections.abc import Callable

from lrnde_core import AdapterSpec, hookimpl


@hookimpl
def lrnde_register_adapters(register: Callable[[AdapterSpec], None]) -> None:
    register(
        AdapterSpec(
            name="taylor",
            target="lrnde_taylor._adapter:TaylorAdapter",
            solves=("lrnde_taylor.odeint:odeint_taylor",),
            requires=("torch>=2.11",),
            install="lrnde[taylor]",
            api_version=(2, 1),
            driver="lrnde_taylor._conformance:TaylorDriver",
        )
    )
