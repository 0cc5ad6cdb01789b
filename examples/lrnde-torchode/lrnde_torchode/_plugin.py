"""The declaration of the adapter. It imports only the core, so that listing adapters imports no solver."""

from collections.abc import Callable

from lrnde_core import AdapterSpec, hookimpl


@hookimpl
def lrnde_register_adapters(register: Callable[[AdapterSpec], None]) -> None:
    """Register the adapter for torchode."""
    register(
        AdapterSpec(
            name="torchode",
            target="lrnde_torchode._adapter:TorchodeAdapter",
            solves=(
                "torchode:solve_ivp",
                "torchode:AutoDiffAdjoint.solve",
                "torchode:BacksolveAdjoint.solve",
                "torchode:JointBacksolveAdjoint.solve",
            ),
            requires=("torch>=2.11", "torchode>=1.0.1,<2"),
            install="torchode",
            api_version=(2, 1),
            freezer="lrnde_torchode._freeze:TorchodeFreezer",
            driver="lrnde_torchode._conformance:TorchodeDriver",
        )
    )
