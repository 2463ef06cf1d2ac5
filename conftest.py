"""While the first tests are being written: what has none yet is no failure.

To be deleted when STILL_TO_COME is empty.
"""

from pathlib import Path

import pytest

STILL_TO_COME = {
    "bench",
    "tests/bootstrap",
    "tests/cli",
    "tests/config",
    "tests/controller",
    "tests/docs",
    "tests/end_to_end",
    "tests/platform",
    "tests/simulation",
}


def pytest_configure(config: pytest.Config) -> None:
    config.args[:] = [
        folder
        for folder in config.args
        if folder not in STILL_TO_COME or any(Path(folder).rglob("test_*.py"))
    ]


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and STILL_TO_COME:
        session.exitstatus = pytest.ExitCode.OK
