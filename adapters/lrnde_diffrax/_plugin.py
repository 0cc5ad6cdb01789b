"""The declaration of the diffrax adapter. It imports only the core, so that listing adapters imports no solver."""

from collections.abc import Callable

from lrnde_core import AdapterSpec, hookimpl


@hookimpl
def lrnde_register_adapters(register: Callable[[AdapterSpec], None]) -> None:
    register(
        AdapterSpec(
            name="diffrax",
            target="lrnde_diffrax._adapter:DiffraxAdapter",
            solves=("diffrax:diffeqsolve",),
            requires=("jax>=0.8", "equinox>=0.13.1", "diffrax>=0.7"),
            install="lrnde[diffrax]",
            api_version=(2, 1),
            freezer="lrnde_diffrax._freeze:DiffraxFreezer",
            sde_freezer="lrnde_diffrax._freeze:DiffraxSDEFreezer",
            driver="lrnde_diffrax._conformance:DiffraxDriver",
        )
    )
