"""Options of `pytest --pyargs lrnde_conformance`. The suite itself is imported only where one of them is given."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

_SUITE = "lrnde_conformance"


def pytest_addoption(parser: "pytest.Parser") -> None:
    """Declare the options; without `--lrnde-adapter` they mean nothing."""
    group = parser.getgroup("lrnde", f"conformance of lrnde adapters (with --pyargs {_SUITE})")
    group.addoption(
        "--lrnde-adapter",
        action="append",
        default=[],
        metavar="NAME",
        help="Check this adapter, by name or as package.module:Class; may be repeated.",
    )
    group.addoption("--lrnde-device", default="cpu", metavar="DEVICE", help="cpu (the default) or cuda.")
    group.addoption("--lrnde-dtype", default=None, metavar="DTYPE", help="float32 or float64 alone.")
    group.addoption("--lrnde-tier", default="all", metavar="TIER", help="core, optional or all (the default).")
    group.addoption("--lrnde-fast", action="store_true", help="Leave out what takes long, and try fewer methods.")


def pytest_configure(config: "pytest.Config") -> None:
    """Open the door where it is asked for."""
    import pytest

    asks_for_suite = any(argument.partition("::")[0].partition(".")[0] == _SUITE for argument in config.args)
    if not config.getoption("lrnde_adapter"):
        if config.getoption("pyargs") and asks_for_suite:
            raise pytest.UsageError(
                f"`--pyargs {_SUITE}` checks an adapter: name it with `--lrnde-adapter=NAME` or "
                "`--lrnde-adapter=package.module:Class`."
            )
        return
    try:
        from lrnde_conformance._doors import _pytest_plugin
    except ModuleNotFoundError as error:
        raise pytest.UsageError(
            f"`--lrnde-adapter` needs `{error.name}`, not installed here; `pip install {error.name}` brings it."
        ) from error
    config.pluginmanager.register(_pytest_plugin.make_door(config), "lrnde-conformance-door")
