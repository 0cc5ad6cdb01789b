"""Discovery: what is broken is kept with its cause, and everything else keeps working.

Distributions are made up as folders with metadata, as pip would leave them.
"""

import importlib.metadata
import itertools
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lrnde_conformance import ReferenceAdapter
from lrnde_core import (
    AdapterNotFoundError,
    AdapterSpec,
    ErrorEstimate,
    InputError,
    PluginError,
    PluginWarning,
    UniformTime,
    UnknownNameError,
    diagnose,
    freeze,
    hookimpl,
    regularize,
)
from lrnde_core._registry import Registry
from tests.core import toy

Install = Callable[..., str]
_counter = itertools.count()

_PLUGIN = """
from lrnde_core import AdapterSpec, hookimpl

@hookimpl
def lrnde_register_adapters(register):
    register(AdapterSpec(name={name!r}, target={target!r}, solves=({solve!r},), requires={requires!r},
                         install="made-up[all]", api_version={api_version!r}))
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs a distribution with one plugin module; returns the module's name."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "made_up.py").write_text("def solve(): ...\ndef other(): ...\n")

    def install(name: str, source: str, *, distribution: str = "made-up", version: str = "1.2") -> str:
        module = f"made_up_plugin_{next(_counter)}"
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(source))
        folder = tmp_path / f"{distribution.replace('-', '_')}-{version}.dist-info"
        folder.mkdir(exist_ok=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (folder / "entry_points.txt").write_text(f"[lrnde.adapters]\n{name} = {module}\n")
        return module

    yield install
    for name in set(sys.modules) - before:
        if name.startswith("made_up"):
            del sys.modules[name]


def _plugin(name: str = "made", **changes: Any) -> str:
    fields = {"target": toy.TARGET, "solve": "made_up:solve", "requires": (), "api_version": (2, 0)}
    return _PLUGIN.format(name=name, **{**fields, **changes})


def _registry_with_warning(message: str) -> Registry:
    registry = Registry()
    with pytest.warns(PluginWarning, match=message):
        registry.claimable()
    _check_others(registry)
    return registry


def _check_others(registry: Registry) -> None:
    registry.register(toy)
    assert registry.get_adapter("toy") == ReferenceAdapter()
    assert registry.heuristic("error_estimate") == ErrorEstimate()
    assert {"diffrax:diffeqsolve", "torchdiffeq:odeint"} <= set(registry.claimable())


def test_an_installed_plugin_is_found_and_loaded_once(install: Install) -> None:
    install("made", _plugin())
    registry = Registry()
    (info,) = [info for info in registry.list_adapters() if info.name == "made"]
    assert (info.origin, info.solves, info.failure) == ("made-up 1.2", ("made_up:solve",), None)
    assert registry.get_adapter("made") is registry.get_adapter("made")
    assert "made_up:solve" in registry.claimable()


def test_specs_and_origins_are_known_without_loading_anything(install: Install) -> None:
    module = install("made", _plugin(target="no_such_module_at_all:Adapter"))
    registry = Registry()
    (spec,) = [spec for spec in registry.specs() if spec.name == "made"]
    assert spec is registry.spec("made")
    assert spec.solves == ("made_up:solve",)
    assert registry.origin("made") == "made-up 1.2"
    assert module in sys.modules
    registry.register(toy)
    assert registry.origin("toy") == "registered at run time"


def test_a_broken_import_is_quarantined_with_its_cause(install: Install) -> None:
    install("made", "import a_library_that_is_not_there")
    registry = _registry_with_warning(r"`made` cannot be used \(made-up 1.2, import: ModuleNotFoundError")
    with pytest.raises(
        PluginError, match=r"`made` is broken \(made-up 1.2, import.*LRNDE_BLOCK_PLUGINS=made"
    ) as caught:
        registry.get_adapter("made")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            _plugin().replace("lrnde_register_adapters", "lrnde_register_adapter"),
            "unknown hook 'lrnde_register_adapter'",
        ),
        (_plugin().replace("@hookimpl", ""), "implements no lrnde hook; mark `lrnde_register_adapters`"),
        (_plugin().replace("(register):", "(register, solver):"), "hook implementation must accept|Argument"),
        (_plugin(target="no_colon"), r'`no_colon` in the spec of `made` is not of the form "package.module:name"'),
        (_plugin(requires=("torch >> 2",)), "`torch >> 2` in the spec of `made` is not a requirement"),
        (_plugin() + "    raise OSError('disk')", "register: OSError: disk"),
        (_plugin().replace("AdapterSpec(", "dict("), "was given a `dict`; it needs an `AdapterSpec`"),
    ],
    ids=["misspelt", "unmarked", "argument", "target", "requirement", "raises", "type"],
)
def test_a_faulty_plugin_is_quarantined(install: Install, source: str, message: str) -> None:
    install("made", source)
    registry = _registry_with_warning(message)
    with pytest.raises(PluginError, match=f"(?s)`made` is broken.*(?:{message})"):
        registry.get_adapter("made")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": "no_such_module_at_all:Adapter"}, "(?s)`made` is broken.*made-up 1.2, target: ModuleNotFoundError"),
        ({"target": "tests.core.toy:Missing"}, "target: AttributeError"),
        ({"target": "types:SimpleNamespace"}, "makes a `SimpleNamespace`, not an `AbstractAdapter`"),
        ({"solve": "no_such_solver:solve"}, r"none of the solver calls .*`no_such_solver:solve` \(No module named"),
        ({"solve": "math:solve"}, r"none of the solver calls .*`math:solve` \(module 'math' has no attribute"),
        ({"api_version": (3, 0)}, "written for adapter API 3.0, this is 2.1; update lrnde"),
        ({"api_version": (2, 9)}, "written for adapter API 2.9, this is 2.1; update lrnde"),
        ({"api_version": (1, 9)}, "written for adapter API 1.9, this is 2.1; update it"),
        (
            {"requires": ("surely-not-there>=3",)},
            r"needs `surely-not-there>=3`, and none is installed.*pip install 'made-up\[all\]'",
        ),
        ({"requires": ("pytest>=999",)}, r"needs `pytest>=999`, and \d.* is installed"),
    ],
    ids=["module", "attribute", "type", "solver", "call", "newer-major", "newer-minor", "older", "missing", "too-old"],
)
def test_an_adapter_that_can_not_be_loaded_says_why(install: Install, changes: dict[str, Any], message: str) -> None:
    install("made", _plugin(**changes))
    registry = Registry()
    for _ in range(2):  # from the cause that was stored, too
        with pytest.raises(PluginError, match=message) as caught:
            registry.get_adapter("made")
        assert caught.value.__cause__ is not None
    (info,) = [info for info in registry.list_adapters() if info.name == "made"]
    assert info.failure is not None
    _check_others(registry)


def test_two_plugins_of_one_name_are_refused_by_both_names(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("first", _plugin("made"), distribution="made-first")
    install("second", _plugin("made"), distribution="made-second", version="3.4")
    registry = _registry_with_warning(r"`second`.*made-second 3.4, duplicate.*`made` is taken by made-first 1.2")
    # Neither is picked, whatever the order in which they are found.
    with pytest.raises(PluginError, match=r"`made` is declared by both made-first 1.2 and made-second 3.4.*Remove one"):
        registry.get_adapter("made")
    monkeypatch.setenv("LRNDE_BLOCK_PLUGINS", "second")
    assert Registry().get_adapter("made") is not None


def test_two_plugins_of_several_names_are_refused_in_all(install: Install) -> None:
    both = f"""
    from lrnde_core import AdapterSpec, hookimpl

    @hookimpl
    def lrnde_register_adapters(register):
        for name in ("made", "made_too"):
            register(AdapterSpec(name=name, target={toy.TARGET!r}, solves=("made_up:solve",), requires=(),
                                 install="made-up", api_version=(2, 0)))
    """
    install("first", both, distribution="made-first")
    install("second", both, distribution="made-second", version="3.4")
    registry = _registry_with_warning(r"`second`.*made-second 3.4, duplicate.*`made` is taken by made-first 1.2")
    for name in ("made", "made_too"):
        with pytest.raises(PluginError, match=rf"`{name}` is declared by both made-first 1.2 and made-second 3.4"):
            registry.get_adapter(name)


def test_two_entry_points_of_one_name_do_not_hide_each_other(install: Install) -> None:
    install("made", _plugin("made"), distribution="made-first")
    install("made", "import a_library_that_is_not_there", distribution="made-second", version="3.4")
    registry = _registry_with_warning("made-second 3.4, import: ModuleNotFoundError")
    assert registry.get_adapter("made") is not None
    failures = [info.failure for info in registry.list_adapters() if info.failure is not None and info.name == "made"]
    assert [failure.origin for failure in failures] == ["made-second 3.4"]


def test_all_plugins_are_loaded_where_the_warning_is_an_error(install: Install) -> None:
    install("a_broken_one", "import a_library_that_is_not_there")
    registry = Registry()
    with pytest.raises(PluginWarning, match="`a_broken_one` cannot be used"):
        registry.claimable()
    _check_others(registry)


@pytest.mark.parametrize(
    ("find", "arguments"), [(regularize, {}), (freeze, {"calibration": []}), (diagnose, {"calls": ()})]
)
def test_the_warning_names_the_line_of_the_user(
    install: Install, monkeypatch: pytest.MonkeyPatch, find: Callable[..., object], arguments: dict[str, Any]
) -> None:
    if hasattr(regularize, "__wrapped__"):
        pytest.skip("checks of shapes put frames of their own between the caller and the library")
    install("made", "raise OSError")
    monkeypatch.setattr("lrnde_core._solver.REGISTRY", Registry())
    with pytest.warns(PluginWarning, match="`made` cannot be used") as caught, pytest.raises(AdapterNotFoundError):
        find(print, **arguments)
    assert [warning.filename for warning in caught] == [__file__]


def test_one_spec_twice_in_a_plugin_is_refused() -> None:
    spec = AdapterSpec("twin", toy.TARGET, ("made_up:solve",), (), "made-up", (1, 0))

    class Plugin:
        @hookimpl
        def lrnde_register_adapters(self, register: Callable[[AdapterSpec], None]) -> None:
            register(spec)
            register(spec)

        @hookimpl
        def lrnde_register_samplers(self, register: Callable[[str, Any], None]) -> None:
            register("mine", UniformTime)

    registry = Registry()
    with pytest.raises(PluginError, match="the adapter name `twin` is registered twice"):
        registry.register(Plugin())
    with pytest.raises(UnknownNameError, match="no sampler `mine`"):
        registry.sampler("mine")


def test_a_plugin_may_have_lazy_attributes_that_fail(install: Install) -> None:
    lazy = "def __dir__(): return [*globals(), 'lazy']\ndef __getattr__(name): raise ImportError(f'no {name}')\n"
    install("made", lazy + _plugin())
    assert Registry().get_adapter("made") is not None


def test_an_adapter_is_blocked_by_its_own_name_too(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    # The error for a broken adapter gives the adapter's name, which need not be that of the entry point.
    install("an_entry_point", _plugin("made"))
    monkeypatch.setenv("LRNDE_BLOCK_PLUGINS", "made")
    assert "made" not in {info.name for info in Registry().list_adapters()}


def test_blocked_plugins_are_not_imported(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    module = install("made", "raise RuntimeError('imported')")
    monkeypatch.setenv("LRNDE_BLOCK_PLUGINS", "other, made ,diffrax")
    registry = Registry()
    names = {info.name for info in registry.list_adapters()}
    assert "torchdiffeq" in names
    assert not names & {"made", "diffrax"}
    assert module not in sys.modules
    with pytest.raises(AdapterNotFoundError, match=r"no adapter `diffrax`; known are .*`torchdiffeq`"):
        registry.get_adapter("diffrax")


def test_run_time_registration_serves_adapters_heuristics_and_samplers() -> None:
    class Plugin:
        @hookimpl
        def lrnde_register_heuristics(self, register: Callable[[str, Any], None]) -> None:
            register("strict_error", lambda: ErrorEstimate(1e-6, 1e-6))

    registry = Registry()
    registry.register(Plugin())
    assert registry.heuristic("strict_error") == ErrorEstimate(1e-6, 1e-6)
    with pytest.raises(PluginError, match=r"duplicate.*the heuristic name `strict_error` is taken"):
        registry.register(Plugin())
    with pytest.raises(PluginError, match="implements no lrnde hook"):
        registry.register(SimpleNamespace())


@pytest.mark.parametrize(
    ("ask", "error", "message"),
    [
        (
            lambda r: r.get_adapter("torchdifeq"),
            AdapterNotFoundError,
            "no adapter `torchdifeq`.*Did you mean `torchdiffeq`",
        ),
        (lambda r: r.spec("difrax"), AdapterNotFoundError, "no adapter `difrax`.*Did you mean `diffrax`"),
        (lambda r: r.origin("difrax"), AdapterNotFoundError, "no adapter `difrax`.*Did you mean `diffrax`"),
        (lambda r: r.heuristic("eror_estimate"), UnknownNameError, "no heuristic.*Did you mean `error_estimate`"),
        (
            lambda r: r.sampler("uniform"),
            UnknownNameError,
            "no sampler `uniform`; known are `all_steps`, `integral`, `uniform_step`, `uniform_time`",
        ),
    ],
)
def test_unknown_names_get_a_suggestion(ask: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ask(Registry())


def test_concurrent_first_use_discovers_once(install: Install) -> None:
    module = install(
        "made", "import builtins\nbuiltins.made_up_count = getattr(builtins, 'made_up_count', 0) + 1\n" + _plugin()
    )
    registry, names = Registry(), []
    threads = [threading.Thread(target=lambda: names.append(len(registry.claimable()))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(names)) == 1
    assert names[0] >= 5
    assert module in sys.modules


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Code that hangs until the test is over; what else is imported takes less than the limit on a busy machine too."""
    event = threading.Event()
    monkeypatch.setattr("builtins.made_up_event", event, raising=False)
    monkeypatch.setenv("LRNDE_PLUGIN_SECONDS", "3")
    yield "import builtins\nbuiltins.made_up_event.wait()\n"
    event.set()


def test_a_plugin_that_hangs_is_named_and_the_others_go_on(install: Install, waiting: str) -> None:
    module = install("made", waiting + _plugin())
    registry = _registry_with_warning(
        r"`made` cannot be used \(made-up 1.2, import: TimeoutError: its import has taken more than 3 seconds, and "
        r"is at .*threading.py, line \d+; `LRNDE_PLUGIN_SECONDS` sets another limit\). The others are not affected. "
        "Set LRNDE_BLOCK_PLUGINS=made"
    )
    with pytest.raises(PluginError, match="`made` is broken"):
        registry.get_adapter("made")
    assert module in sys.modules


def test_an_adapter_whose_library_hangs_is_named_when_all_are_listed(
    install: Install, monkeypatch: pytest.MonkeyPatch, waiting: str
) -> None:
    library = install("blocked", waiting, distribution="made-library")
    # No other library has to be there at once.
    others = [point.name for point in importlib.metadata.entry_points(group="lrnde.adapters")]
    monkeypatch.setenv("LRNDE_BLOCK_PLUGINS", ",".join(others))
    monkeypatch.setattr("lrnde_core._registry._LIBRARY_FACTOR", 1.0)
    install("made", _plugin(target=f"{library}:Adapter"))
    install("other", _plugin("other", solve="made_up:other"), distribution="made-other")
    failures = {info.name: info.failure for info in Registry().list_adapters()}
    assert failures["other"] is None
    assert failures["made"] is not None
    assert "made-up 1.2, target: TimeoutError" in failures["made"].describe()


def test_a_plugin_may_use_the_registry_while_it_is_imported(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry()
    monkeypatch.setattr("builtins.made_up_registry", registry, raising=False)
    install("made", "import builtins\nbuiltins.made_up_registry.claimable()\n" + _plugin())
    assert "made_up:solve" in registry.claimable()


def test_a_package_with_a_plugin_may_use_the_registry_while_it_is_imported(
    tmp_path: Path, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In another thread, its plugin would wait for the package, and the package for the plugin.
    package = install("made", "", distribution="made-package")
    code = {"__init__": "import builtins\nNAMES = builtins.made_up_registry.claimable()\n", "plugin": _plugin()}
    folder = tmp_path / f"{package}s"
    folder.mkdir()
    for name, source in code.items():
        (folder / f"{name}.py").write_text(source)
    (tmp_path / "made_package-1.2.dist-info" / "entry_points.txt").write_text(
        f"[lrnde.adapters]\nmade = {package}s.plugin\n"
    )
    monkeypatch.setattr("builtins.made_up_registry", Registry(), raising=False)
    assert "made_up:solve" in importlib.import_module(f"{package}s").NAMES


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan"])
def test_a_limit_that_is_no_time_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("LRNDE_PLUGIN_SECONDS", text)
    with pytest.raises(InputError, match=f"`LRNDE_PLUGIN_SECONDS={text}`: must be a positive number of seconds"):
        Registry().claimable()


def test_errors_are_both_ours_and_built_in() -> None:
    assert issubclass(PluginError, ImportError)
    assert issubclass(AdapterNotFoundError, LookupError)
    assert issubclass(InputError, ValueError)
