"""The declaration of the torchsde adapter. It imports only the core, so that listing adapters imports no solver."""

from collections.abc import Callable

from lrnde_core import AdapterSpec, hookimpl


@hookimpl
def lrnde_register_adapters(register: Callable[[AdapterSpec], None]) -> None:
    register(
        AdapterSpec(
            name="torchsde",
            target="lrnde_torchsde._adapter:TorchsdeAdapter",
            solves=("torchsde:sdeint", "torchsde:sdeint_adjoint"),
            requires=("torch>=2.11", "torchsde>=0.2.6"),
            install="lrnde[torchsde]",
            api_version=(2, 1),
            sde_freezer="lrnde_torchsde._freeze:TorchsdeFreezer",
            driver="lrnde_torchsde._conformance:TorchsdeDriver",
        )
    )
