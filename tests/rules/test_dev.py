"""The last line of `./dev test` says what the environments did."""

import importlib.machinery
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from tests.rules.project import ROOT

PASSED = {"result": {"success": True, "skipped": False}}
FAILED = {"result": {"success": False, "skipped": False}}
SKIPPED = {"result": {"success": False, "skipped": True}}


@pytest.fixture
def dev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("dev", str(ROOT / "dev"))
    spec = importlib.util.spec_from_loader("dev", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    monkeypatch.setattr(module, "TOX", tmp_path)
    return module


def write_report(dev: ModuleType, name: str, **numbers: int) -> None:
    attributes = " ".join(f'{key}="{number}"' for key, number in numbers.items())
    report = dev.TOX / "junit" / f"{name}.xml"
    report.parent.mkdir(exist_ok=True)
    report.write_text(f"<testsuites><testsuite {attributes}/></testsuites>")


def test_tests_are_added_up_and_a_check_without_tests_is_one(dev: ModuleType) -> None:
    write_report(dev, "unit", tests=10, failures=0, errors=0, skipped=2)
    write_report(dev, "e2e", tests=3, failures=0, errors=0, skipped=0)
    words = dev.summary({"unit": PASSED, "e2e": PASSED, "lint": PASSED})
    assert words == "tests skipped: 2\n12 passed, 0 failed"


def test_whatever_fails_is_counted(dev: ModuleType) -> None:
    write_report(dev, "unit", tests=10, failures=1, errors=2, skipped=0)
    write_report(dev, "sim", tests=4, failures=0, errors=0, skipped=0)
    # Its tests passed and it failed all the same; so did one that never got to its tests.
    assert dev.summary({"unit": FAILED, "sim": FAILED, "e2e": FAILED}) == "11 passed, 5 failed"


def test_a_missing_interpreter_is_named_and_nothing_else_is(dev: ModuleType) -> None:
    words = dev.summary({"py310": SKIPPED, "never asked for": {}})
    assert words == "py310 skipped: this machine has no such interpreter\n0 passed, 0 failed"


def test_an_unknown_command_is_named(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["dev", "foo"])
    assert dev.main() == 2
    assert "dev: there is no command 'foo'; there are: setup, demo, test" in capsys.readouterr().err
