"""The declaration of the torchdiffeq adapter. It imports only the core, so that listing adapters imports no solver."""

from collections.abc import Callable

from lrnde_core import AdapterSpec, hookimpl


@hookimpl
def lrnde_register_adapters(register: Callable[[AdapterSpec], None]) -> None:
    register(
        AdapterSpec(
            name="torchdiffeq",
            target="lrnde_torchdiffeq._adapter:TorchdiffeqAdapter",
            solves=("torchdiffeq:odeint", "torchdiffeq:odeint_adjoint", "torchdiffeq:odeint_event"),
            requires=("torch>=2.11", "torchdiffeq>=0.2.5"),
            install="lrnde[torchdiffeq]",
            api_version=(2, 1),
            freezer="lrnde_torchdiffeq._freeze:TorchdiffeqFreezer",
            driver="lrnde_torchdiffeq._conformance:TorchdiffeqDriver",
        )
    )
