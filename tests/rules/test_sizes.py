"""Files and functions stay short; what is too long already may only shrink."""

import pytest

from tests.rules.project import python_files, report
from tests.rules.sizes import RATCHET, overlong, sizes


def test_nothing_outgrows_its_limit() -> None:
    sources = python_files().items()
    findings = [finding for path, source in sources for finding in overlong(path, source, RATCHET)]
    assert not findings, report(findings)


def test_the_ratchet_names_what_exists() -> None:
    files = {name.partition("::")[0] for name in RATCHET}
    sources = {path: source for path, source in python_files().items() if path in files}
    known = {name for path, source in sources.items() for name, *_ in sizes(path, source)}
    assert RATCHET.keys() <= known


def function(lines: int) -> str:
    return "def f():\n" + "    pass\n" * (lines - 1)


@pytest.mark.parametrize(
    ("source", "ratchet", "advice"),
    [
        ("x = 1\n" * 400, {}, None),
        ("x = 1\n" * 401, {}, "split it"),
        ("x = 1\n" * 450, {"a.py": 450}, None),
        ("x = 1\n" * 451, {"a.py": 450}, "split it"),
        ("x = 1\n" * 449, {"a.py": 450}, "put 449 into RATCHET"),
        ("x = 1\n" * 400, {"a.py": 450}, "take it out of RATCHET"),
        (function(50), {}, None),
        (function(51), {}, "split it"),
        (function(51), {"a.py::f": 51}, None),
    ],
)
def test_a_size_is_judged(source: str, ratchet: dict[str, int], advice: str | None) -> None:
    assert [finding.instead for finding in overlong("a.py", source, ratchet)] == [advice] * bool(advice)
