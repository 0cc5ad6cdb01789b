"""Tests of the four doors, on stubs: they agree, their exit codes, and what they say about a user's mistake."""

import dataclasses
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from lrnde_conformance import CheckResult, ConformanceFailure, Outcome, Subject
from lrnde_conformance._checks._check import check
from lrnde_conformance._doors._planned import PlannedCheck
from lrnde_conformance._doors._python import check_adapter, parametrize_with_checks
from lrnde_core import AdapterNotFoundError, InputError, InputTypeError
from tests.commands import Command
from tests.conformance import verdicts
from tests.conformance.stub_suite import CHECKS, CLEAN, FAULTY, OUTCOMES, CleanDriver, FaultyDriver, contract, install

# A check of the stub warns; only pytest's own door sets the filters of pytest aside.
pytestmark = pytest.mark.filterwarnings("ignore:made up")

_ROOT = Path(__file__).parents[2]
_HAS_ENTRY_POINT = bool(importlib.metadata.entry_points(group="pytest11", name="lrnde"))


@pytest.fixture(autouse=True)
def stub_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)


@pytest.fixture
def lrnde(command: Command) -> Callable[..., tuple[int, str]]:
    """`lrnde conformance` in this process: exit code, and all that it printed."""

    def run(*args: str) -> tuple[int, str]:
        code, out, err = command("conformance", *args)
        return code, out + err

    return run


def _pytest(folder: Path, *args: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run pytest in a separate process, in a folder that has nothing to do with the repository."""
    paths = [str(_ROOT), str(_ROOT / "conformance"), os.environ.get("PYTHONPATH", "")]
    plugins = ["no:cacheprovider", "no:torchtyping", "tests.conformance.stub_suite"]
    if not _HAS_ENTRY_POINT:
        plugins.insert(0, "lrnde_pytest._options")
    command = [sys.executable, "-m", "pytest", *(f"-p{plugin}" for plugin in plugins), *args]
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def _outcomes_of_junit(path: Path, adapter: str) -> dict[str, str]:
    """Check id to outcome, of pytest's own JUnit XML."""
    found: dict[str, str] = {}
    for case in ET.parse(path).iter("testcase"):
        name = re.fullmatch(rf"\w+\[{adapter}-(.+)\]", case.get("name", ""))
        assert name is not None
        failure, skipped = case.find("failure"), case.find("skipped")
        if failure is not None:
            is_unexpected = "but passed" in (failure.get("message") or "")
            found[name[1]] = "unexpected pass" if is_unexpected else "failed"
        elif skipped is not None:
            found[name[1]] = "expected failure" if skipped.get("type") == "pytest.xfail" else "skipped"
        else:
            found[name[1]] = "passed"
    return found


def test_check_adapter_tells_every_outcome() -> None:
    seen: list[CheckResult] = []
    verdict = check_adapter(FaultyDriver, callback=seen.append)
    assert {result.id: result.outcome.value for result in verdict.results} == OUTCOMES
    assert list(verdict.results) == seen
    assert not verdict.conforms
    assert check_adapter(CleanDriver).conforms


@pytest.mark.parametrize("adapter", [FAULTY, FaultyDriver, FaultyDriver(), "faulty"])
def test_an_adapter_can_be_named_in_several_ways(adapter: Any) -> None:
    check_adapter(FaultyDriver, select=contract.id)  # registers it, so that it has a name
    assert check_adapter(adapter, select="penalty").results[-1].reason == "The penalty is off."


def test_check_adapter_raises_at_the_first_fault() -> None:
    with pytest.raises(ConformanceFailure, match=r"`penalty.value` of `faulty` \(law 3 Penalty\): The penalty is off"):
        check_adapter(FaultyDriver, on_fail="raise")
    assert check_adapter(CleanDriver, on_fail="raise").conforms


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"on_fail": "warn"}, "`on_fail='warn'`: must be"),
        ({"tier": "most"}, "`tier='most'`"),
        ({"device": "tpu"}, "`device='tpu'`"),
        ({"dtype": "int8"}, "`dtype='int8'`"),
        ({"select": "nothing-of-the-kind"}, "No check matches"),
    ],
)
def test_arguments_that_there_are_not_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=re.escape(words)):
        check_adapter(CleanDriver, **arguments)
    with pytest.raises(InputError if "on_fail" not in arguments else TypeError):
        parametrize_with_checks([CleanDriver], **arguments)


def test_a_generator_is_refused_and_so_is_nothing() -> None:
    with pytest.raises(InputTypeError, match="was given a `generator`; it needs a list"):
        parametrize_with_checks(driver for driver in [CleanDriver])  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="name at least one adapter"):
        parametrize_with_checks([])
    with pytest.raises(AdapterNotFoundError, match="no adapter `clear`"):
        parametrize_with_checks(["clear"])


def test_the_command_shows_a_verdict_for_each(lrnde: Callable[..., tuple[int, str]]) -> None:
    code, text = lrnde(CLEAN, FAULTY)
    assert code == 1
    assert "clean conforms: core 6/6, optional 1/1, 2 skipped" in text
    assert "faulty does not conform" in text
    for words in ("got", "2.0", "expected", "1.0", "tolerance", "1e-8", "likely cause", "made up", "divide by two"):
        assert words in text
    assert "ZeroDivisionError: division by zero" in text
    assert lrnde(CLEAN)[0] == 0


def test_the_command_prints_each_check_when_asked(lrnde: Callable[..., tuple[int, str]]) -> None:
    assert "identity.solution-one" not in lrnde(CLEAN)[1]
    text = lrnde(CLEAN, "-v")[1]
    assert "passed  clean-identity.solution-one" in text
    assert "skipped  clean-shape.jit: declared unsupported" in text


def test_the_command_lists_the_checks(lrnde: Callable[..., tuple[int, str]]) -> None:
    code, text = lrnde("--list")
    assert code == 0
    for each in CHECKS:
        assert each.id in text
    assert "Contract and purpose" in text
    assert "3 Penalty" in text


def test_the_command_selects(lrnde: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    def ids(*args: str) -> set[str]:
        path = tmp_path / "report.json"
        lrnde(FAULTY, "--json", str(path), *args)
        return {each["id"] for each in json.loads(path.read_text())["adapters"][0]["checks"]}

    assert ids() == set(OUTCOMES)
    assert ids("-k", "penalty or solution-two") == {"penalty.value", "identity.solution-two"}
    assert ids("--tier", "optional") == {"counts.rejected", "shape.jit", "shape.vmap"}
    assert ids("--fast") == set(OUTCOMES) - {"gradient.value"}


def test_the_command_writes_every_report(lrnde: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    files = {"json": "r.json", "junit": "r.xml", "markdown": "r.md", "html": "r.html", "badge": "r.svg"}
    options = [word for name, file in files.items() for word in (f"--{name}", str(tmp_path / file))]
    code, text = lrnde(CLEAN, *options)
    assert code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(files.values())
    assert text.count("Written:") == 2
    assert "core 6/6, optional 1/1" in (tmp_path / "r.svg").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["clear"], "There is no adapter `clear`"),
        (["no.such:Module"], "`no.such:Module` cannot be imported"),
        (["json:JSONDecoder"], "neither the name of an adapter nor"),
        ([CLEAN, "-k", "nothing-of-the-kind"], "No check matches"),
        ([CLEAN, "-k", "shape"], "nothing was run"),
        ([CLEAN, "--tier", "most"], "`--tier most`: must be one of core, optional, all"),
        ([CLEAN, "--device", "cuda"], "`stub` finds no device `cuda` here (no cuda in a stub)"),
        ([FAULTY, "--device", "cuda"], "cannot be checked on `cuda`: A stub has no device."),
        ([CLEAN, "--json", "/no/such/folder/r.json"], "does not exist or cannot be written to"),
        ([CLEAN, "--json", "/"], "is a folder"),
        ([CLEAN, "--json", "r.x", "--html", "r.x"], "both name r.x"),
        ([CLEAN, "--badge", "r.png"], "must end in .json"),
        ([CLEAN, "--badge", "r.svg", "--fast"], "Drop `-k`, `--fast`"),
        ([CLEAN, FAULTY, "--badge", "r.svg"], "2 were named"),
        ([CLEAN, "--no-such-option"], "No such option"),
    ],
)
def test_a_mistake_is_bad_usage_in_words(
    lrnde: Callable[..., tuple[int, str]], arguments: list[str], words: str
) -> None:
    code, text = lrnde(*arguments)
    assert code == 2
    assert words in " ".join(text.split())
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("failures", "words"),
    [
        ({"no.such": "why"}, "expects `no.such` to fail, and there is no such"),
        ({"counts.nfe": " "}, "without a reason"),
    ],
)
def test_expected_failures_are_checked(
    lrnde: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch, failures: dict[str, str], words: str
) -> None:
    monkeypatch.setattr(CleanDriver, "expected_failures", failures)
    code, text = lrnde(CLEAN)
    assert code == 2
    assert words in text


@pytest.mark.parametrize("option", ["--html", "--badge"])
def test_a_report_whose_library_is_missing_is_refused_before_the_run(
    lrnde: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, option: str
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    code, text = lrnde(CLEAN, option, str(tmp_path / "made.svg"))
    assert code == 2
    assert f"`{option}` needs `jinja2`, not installed here" in " ".join(text.split())
    assert "conforms" not in text
    assert lrnde(CLEAN, "--json", str(tmp_path / "made.json"))[0] == 0


def test_ctrl_c_keeps_what_was_finished(
    lrnde: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    @check("identity.interrupted", law=1)
    def interrupted(subject: Subject, case: str) -> None:
        """Ends like Ctrl-C."""
        subject.trained["after"] = {"times": [0.0], "sizes": [1.0]}
        raise KeyboardInterrupt

    install(monkeypatch, (*CHECKS[:2], interrupted, *CHECKS[2:]))
    paths = {name: tmp_path / f"report.{name}" for name in ("json", "junit", "html")}
    options = [word for name, path in paths.items() for word in (f"--{name}", str(path))]
    code, text = lrnde(CLEAN, FAULTY, *options)
    assert code == 1
    assert "Interrupted after 3 checks" in text
    assert "clean interrupted" in text
    value = json.loads(paths["json"].read_text())
    assert value["complete"] is False
    assert [each["id"] for each in value["adapters"][0]["checks"]] == list(OUTCOMES)[:3]
    assert [each["name"] for each in value["unchecked"]] == [FAULTY]
    # What a run knows apart from its checks is kept too.
    assert value["adapters"][0]["versions"]["stub"] == "0"
    assert value["adapters"][0]["capabilities"]["JIT"] == "A stub has no compiler."
    assert value["adapters"][0]["trained"]["after"]["sizes"] == [1.0]
    assert 'message="The run was interrupted' in paths["junit"].read_text()
    assert "The run was interrupted" in paths["html"].read_text()
    code, text = lrnde(CLEAN, "--badge", str(tmp_path / "badge.svg"))
    assert code == 1
    assert "No badge was written" in text
    assert not (tmp_path / "badge.svg").exists()


@pytest.mark.parametrize("when", ["loading", "contract"])
def test_ctrl_c_before_the_first_check_is_through(
    lrnde: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, when: str
) -> None:
    def interrupt(*args: Any) -> Any:
        raise KeyboardInterrupt

    if when == "loading":
        monkeypatch.setattr("lrnde_conformance._doors._loading.load_driver", interrupt)
    else:
        install(monkeypatch, (dataclasses.replace(contract, run=interrupt), *CHECKS[1:]))
    path = tmp_path / "report.json"
    code, text = lrnde(CLEAN, FAULTY, "--json", str(path))
    assert code == 1
    assert "Interrupted after 0 checks" in text
    value = json.loads(path.read_text())
    (verdict,) = value["adapters"]
    assert (verdict["verdict"], verdict["checks"]) == ("interrupted", [])
    assert verdict["name"] == (CLEAN if when == "loading" else "clean")


def test_pytest_agrees_with_the_command(lrnde: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    report, junit = tmp_path / "report.json", tmp_path / "junit.xml"
    lrnde(FAULTY, "--json", str(report))
    expected = {each["id"]: each["status"] for each in json.loads(report.read_text())["adapters"][0]["checks"]}
    done = _pytest(
        tmp_path,
        "--pyargs",
        "lrnde_conformance",
        f"--lrnde-adapter={FAULTY}",
        f"--junit-xml={junit}",
        "-W",
        "error",
        "-ra",
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert _outcomes_of_junit(junit, "faulty") == expected == OUTCOMES
    assert "declared unsupported: just-in-time compilation: none" in done.stdout
    assert "the library hides one call" in done.stdout
    assert "next step: divide by two" in done.stdout
    assert "Traceback" not in done.stdout


def test_a_test_of_ones_own_agrees_too(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(
        textwrap.dedent(f"""
        from lrnde_conformance._doors._python import parametrize_with_checks

        @parametrize_with_checks([{FAULTY!r}])
        def test_conformance(check):
            check()
        """)
    )
    junit = tmp_path / "junit.xml"
    done = _pytest(tmp_path, f"--junit-xml={junit}")
    assert done.returncode == 1, done.stdout + done.stderr
    assert _outcomes_of_junit(junit, "faulty") == OUTCOMES


def test_pytest_selects_by_id(tmp_path: Path) -> None:
    suite = ["--pyargs", "lrnde_conformance", f"--lrnde-adapter={CLEAN}", f"--lrnde-adapter={FAULTY}"]
    done = _pytest(tmp_path, *suite, "-k", "faulty-counts.nfe or clean-identity.solution-two", "-v")
    assert done.returncode == 0, done.stdout
    assert "test_conformance[clean-identity.solution-two] PASSED" in done.stdout
    assert "1 passed, 16 deselected, 1 xfailed" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--pyargs", "lrnde_conformance"], "name it with `--lrnde-adapter=NAME`"),
        (["--pyargs", "lrnde_conformance", "--lrnde-adapter=clear"], "There is no adapter `clear`"),
        (["--pyargs", "lrnde_conformance", f"--lrnde-adapter={CLEAN}", "--lrnde-tier=most"], "`tier='most'`"),
        (
            ["--pyargs", "lrnde_conformance", f"--lrnde-adapter={CLEAN}", "--lrnde-device=cuda"],
            "finds no device `cuda`",
        ),
        (["--pyargs", "lrnde_conformance", f"--lrnde-adapter={CLEAN}", "-k", "shape"], "so nothing was checked"),
        ([f"--lrnde-adapter={CLEAN}", "test_other.py"], "add `--pyargs lrnde_conformance`"),
    ],
)
def test_a_mistake_is_bad_usage_in_pytest_too(tmp_path: Path, arguments: list[str], words: str) -> None:
    (tmp_path / "test_other.py").write_text("def test_other(): pass\n")
    done = _pytest(tmp_path, *arguments)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR, done.stdout + done.stderr
    assert words in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_pytest_alone_imports_nothing_of_the_suite(tmp_path: Path) -> None:
    code = (
        "import sys, pytest\n"
        "pytest.main(['--collect-only', '-pno:cacheprovider', '-pno:torchtyping', *sys.argv[1:]])\n"
        "assert 'lrnde_pytest._options' in sys.modules\n"
        "print(sorted({'lrnde_core', 'lrnde_conformance'} & set(sys.modules)))"
    )
    extra = [] if _HAS_ENTRY_POINT else ["-p", "lrnde_pytest._options"]
    done = subprocess.run(
        [sys.executable, "-c", code, *extra], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_suite_needs_no_pytest() -> None:
    code = (
        "import sys\nsys.modules['pytest'] = None\n"
        "from lrnde_conformance import run_checks\n"
        "from lrnde_conformance._doors import _command, _python\n"
        "print(sorted({'torch', 'jax'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


_BROKEN = {
    "imports": "import no_such_library",
    "untyped": """
        from lrnde_core import hookimpl
        @hookimpl
        def lrnde_register_adapters(register): register("not a spec")
    """,
    "misspelt": """
        from lrnde_core import hookimpl
        @hookimpl
        def lrnde_register_adaptors(register): pass
    """,
    "oldest": "{spec}\nregister_one('oldest', 'json:JSONDecoder', (0, 1))",
    "wrong": "{spec}\nregister_one('wrong', 'json:JSONDecoder', (2, 0))",
    "abstract": "{spec}\nregister_one('abstract', 'lrnde_core:AbstractAdapter', (2, 0))",
    "missing": "{spec}\nregister_one('missing', 'made_up_plugins.missing:Adapter', (2, 0))",
    "twice": "{spec}\nregister_one('torchsde', 'json:JSONDecoder', (2, 0))",
    "raises": """
        {spec}
        register_one('raises', 'made_up_plugins.raises:Adapter', (2, 0), 'made_up_plugins.raises:Driver')
        from tests.conformance import stub_suite
        from lrnde_core import AbstractAdapter
        from lrnde_conformance import AbstractDriver, Method, NumpyBackend
        class Adapter(AbstractAdapter):
            capabilities = stub_suite.CleanAdapter.capabilities
            random_argument = "seed"
            def bind(self, *args): raise ZeroDivisionError("division by zero in bind")
            draw = check_draw = evaluate = zero_penalty = bind
        class Driver(AbstractDriver):
            adapter = "raises"
            methods = (Method("one", None),)
            backend = property(lambda self: NumpyBackend())
            def native(self, task): return print
            def call(self, solve, task, **extra): return solve(task.y0, **extra)
            def states(self, result): return result
    """,
}
_SPEC = """
from lrnde_core import AdapterSpec, hookimpl
_specs = []
def register_one(name, target, api_version, driver=None):
    _specs.append(AdapterSpec(name, target, ("math:fsum",), (), "made-up", api_version, driver=driver))
@hookimpl
def lrnde_register_adapters(register):
    for spec in _specs: register(spec)
"""


def _install_plugin(folder: Path, name: str, source: str) -> None:
    """What pip would leave of a distribution with one plugin."""
    package, info = folder / "made_up_plugins", folder / f"made_up_{name}-1.2.dist-info"
    package.mkdir(exist_ok=True)
    (package / f"{name}.py").write_text(textwrap.dedent(source).replace("{spec}", _SPEC))
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: made-up-{name}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[lrnde.adapters]\n{name} = made_up_plugins.{name}\n")


def test_broken_plugins_are_reported_and_stop_no_other(tmp_path: Path) -> None:
    for name, source in _BROKEN.items():
        _install_plugin(tmp_path, name, source)
    names = ["imports", "untyped", "misspelt", "oldest", "wrong", "abstract", "missing", "torchsde", "raises"]
    names.append("lrnde_conformance:ReferenceDriver")
    report = tmp_path / "report.json"
    code = "import sys; from lrnde_cli import main; sys.argv[0] = 'lrnde'; main()"
    paths = [str(tmp_path), str(_ROOT), str(_ROOT / "conformance"), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-c", code, "conformance", *names, "-k", "contract", "--json", str(report)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    value = json.loads(report.read_text())
    verdicts = {each["name"]: each["verdict"] for each in value["adapters"]}
    assert verdicts.keys() == {"raises", "reference"}
    assert verdicts["raises"] == "does not conform"
    assert verdicts["reference"].startswith("nothing failed (-k contract: ")
    (contract_of_raises,) = value["adapters"][0]["checks"]
    assert "division by zero in bind" in contract_of_raises["reason"]
    reasons = {each["name"]: each["reason"] for each in value["unchecked"]}
    causes = {
        "imports": "No module named 'no_such_library'",
        "untyped": "it needs an `AdapterSpec`",
        "misspelt": "lrnde_register_adaptors",
        "oldest": "written for adapter API 0.1",
        "wrong": "not an `AbstractAdapter`",
        "abstract": "abstract",
        "missing": "has no attribute 'Adapter'",
        "torchsde": "declared by both",
    }
    assert reasons.keys() == causes.keys()
    for name, cause in causes.items():
        assert cause in reasons[name]
        assert f"made-up-{'twice' if name == 'torchsde' else name} 1.2" in reasons[name]
        assert name in done.stdout


def test_a_broken_plugin_is_one_failing_test_in_pytest(tmp_path: Path) -> None:
    _install_plugin(tmp_path, "imports", _BROKEN["imports"])
    suite = ["--pyargs", "lrnde_conformance", "--lrnde-adapter=imports", f"--lrnde-adapter={CLEAN}"]
    done = _pytest(tmp_path, *suite)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed, 7 passed, 2 skipped" in done.stdout
    assert "[imports-could-not-be-checked]" in done.stdout
    assert "(made-up-imports 1.2, import: ModuleNotFoundError: No module named 'no_such_library')" in done.stdout


def test_a_check_that_is_not_applicable_is_skipped_by_pytest_with_the_reason() -> None:
    found = verdicts.result("a.b", Outcome.NOT_APPLICABLE, reason="No first step is taken.")
    with pytest.raises(pytest.skip.Exception, match=r"^not applicable: No first step is taken\.$"):
        PlannedCheck("a.b", lambda: found)()


@pytest.mark.parametrize(("name", "is_added"), [("clean", False), ("somebody.driver:Class", True)])
def test_the_current_folder_is_searched_last_and_only_for_a_module(
    name: str, is_added: bool, lrnde: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each])
    lrnde(name, "--list")
    lrnde(name)
    assert ("" in sys.path) is is_added
    assert sys.path[0]
