"""Devices, versions and adapters here. Fails where torch or JAX does not see the device that is asked for."""

import argparse
import importlib.metadata
import json
import platform
from pathlib import Path
from typing import Any

from lrnde_gpu._report import write_text

_DISTRIBUTIONS = (
    *("torch", "torchdiffeq", "torchsde", "jax", "jaxlib", "diffrax", "equinox", "optax"),
    *("numpy", "array-api-compat", "pluggy", "pytest"),
)


def find(device: str) -> dict[str, Any]:
    """Versions, the device's name in torch and in JAX (`None` where it sees none), and which adapters are usable."""
    import lrnde

    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "versions": {name: _version(name) for name in _DISTRIBUTIONS},
        "devices": {"torch": _torch_device(device), "jax": _jax_device(device)},
        "adapters": {
            info.name: "usable" if info.failure is None else info.failure.describe() for info in lrnde.list_adapters()
        },
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _torch_device(device: str) -> str | None:
    try:
        import torch
    except ImportError:
        return None
    if device == "cpu":
        return platform.machine()
    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def _jax_device(device: str) -> str | None:
    try:
        import jax

        return jax.devices("cpu" if device == "cpu" else "gpu")[0].device_kind
    except (ImportError, RuntimeError):
        return None


def main() -> None:
    """Print what there is; write it to a file if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = find(options.device)
    text = json.dumps(found, indent=2)
    print(text)
    if options.json:
        write_text(options.json, text + "\n")
    if missing := [library for library, name in found["devices"].items() if name is None]:
        raise SystemExit(f"No {options.device} device for {' and '.join(missing)}.")


if __name__ == "__main__":
    main()
