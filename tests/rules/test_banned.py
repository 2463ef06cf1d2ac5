"""No banned call, and no exception to a ban that nobody needs any more."""

from functools import cache

import pytest

from tests.rules.banned import BANNED, Ban, allowed, breaches
from tests.rules.project import Finding, python_files, report


@cache
def everywhere() -> list[tuple[Ban, Finding]]:
    """What is banned in any file, allowed there or not."""
    return [pair for path, source in python_files().items() for pair in breaches(path, source)]


def test_nothing_banned_is_written() -> None:
    wrong = [finding for ban, finding in everywhere() if not allowed(ban, finding)]
    assert not wrong, report(wrong)


def test_every_exception_is_needed() -> None:
    stale = [
        f"{ban.what} in {path}"
        for ban in BANNED
        for path in ban.except_in
        if not any(ban is other and finding.where.startswith(path) for other, finding in everywhere())
    ]
    assert not stale


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("import time\ntime.sleep(1)", "time.sleep"),
        ("from time import sleep as nap\nnap(1)", "time.sleep"),
        ("import datetime as dt\ndt.datetime.now()", "datetime.datetime.now"),
        ("from datetime import datetime, UTC\ndatetime.now(UTC)", "datetime.datetime.now"),
        ("import random\nrandom.Random(7)", "random.Random"),
        ("import os\nos.system('true')", "os.system"),
        ("run('true', shell=True)", "shell=True"),
        ("print('hello')", "print"),
        ("try: pass\nexcept: pass", "except:"),
        ("try: pass\nexcept (OSError, Exception) as error: log(error)", "except Exception"),
        ("try: pass\nexcept BaseException: stop()", "except Exception"),
        ("x = f()  # type: ignore", "# type: ignore"),
    ],
)
def test_a_banned_line_is_found(source: str, what: str) -> None:
    ((_, finding),) = breaches("libs/x/src/x.py", source)
    assert finding.what == what


@pytest.mark.parametrize(
    "source",
    [
        '"""Never time.sleep( or print( here."""',
        "import time\ntime.monotonic()",
        "clock.sleep(1)",
        "def f(random): return random.choice([1])",
        "run(['true'], shell=False)",
        "try: pass\nexcept OSError: pass",
        "try: pass\nexcept BaseException:\n    undo()\n    raise",
        "x = f()  # type: ignore[no-untyped-call]",
    ],
)
def test_a_good_line_is_not(source: str) -> None:
    assert not breaches("libs/x/src/x.py", source)


def test_a_ban_ends_where_its_trees_end() -> None:
    assert not breaches("apps/iris-cli/src/iris_cli/x.py", "print('a table')")
    assert not breaches("tests/x.py", "import time\ntime.sleep(1)")
