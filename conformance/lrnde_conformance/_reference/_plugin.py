"""The declaration of the reference adapter, which the suite registers when it is asked for."""

from collections.abc import Callable

from lrnde_core import AdapterSpec, hookimpl


@hookimpl
def lrnde_register_adapters(register: Callable[[AdapterSpec], None]) -> None:
    register(
        AdapterSpec(
            name="reference",
            target="lrnde_conformance._reference._adapter:ReferenceAdapter",
            solves=("lrnde_conformance._reference._solver:integrate",),
            requires=("numpy>=1.26",),
            install="numpy",
            api_version=(2, 1),
            freezer="lrnde_conformance._reference._freeze:ReferenceFreezer",
            sde_freezer="lrnde_conformance._reference._freeze:ReferenceSDEFreezer",
            driver="lrnde_conformance._reference._conformance:ReferenceDriver",
        )
    )
