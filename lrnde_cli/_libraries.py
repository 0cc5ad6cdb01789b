"""The libraries that commands need beyond those of the core."""

import importlib.util

from lrnde_core import PluginError

# Import names; what `lrnde[benchmarks]` installs.
_BENCHMARKS = ("joblib", "matplotlib", "numpy", "optax", "scipy", "sklearn")


def missing_for_benchmarks() -> list[str]:
    """The libraries of `lrnde compare` and `lrnde benchmark` that are not installed."""
    return _missing(_BENCHMARKS)


def check_benchmarks(command: str) -> None:
    """Raise `PluginError` if a library of `lrnde compare` or `lrnde benchmark` is not installed."""
    _check(command, missing_for_benchmarks(), "'lrnde[benchmarks]'")


def check_dask(command: str) -> None:
    """Raise `PluginError` if Dask's distributed scheduler is not installed."""
    _check(command, _missing(("distributed",)), "'lrnde[dask]'")


def check_numpy(command: str) -> None:
    """Raise `PluginError` if numpy is not installed."""
    _check(command, _missing(("numpy",)), "numpy")


def _missing(names: tuple[str, ...]) -> list[str]:
    return [name for name in names if importlib.util.find_spec(name) is None]


def _check(command: str, missing: list[str], requirement: str) -> None:
    if missing:
        raise PluginError(
            f"`lrnde {command}` needs {', '.join(f'`{name}`' for name in missing)}, not installed here. Install it "
            f"with `pip install {requirement}`."
        )
