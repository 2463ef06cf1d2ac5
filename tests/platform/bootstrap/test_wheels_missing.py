"""Wheels that are not here: what is said without asking anybody, and what pip's words come to."""

from __future__ import annotations

from pathlib import Path

import pytest

from iris_platform.bundle import AGENT, missing_wheels
from iris_platform.bundle.collect import _why

REFUSED = """\
WARNING: Retrying (Retry(total=0, connect=None)) after connection broken by 'NewConnectionError("HTTPConnection(host='x', port=9): Failed to establish a new connection")': /simple/grpcio/
ERROR: Could not find a version that satisfies the requirement grpcio==1.85.1 (from versions: none)
ERROR: No matching distribution found for grpcio==1.85.1
"""


def test_an_empty_cache_lacks_all_that_others_made(tmp_path: Path) -> None:
    words = missing_wheels(AGENT, "3.11", "x86_64", tmp_path / "none")
    assert "grpcio" in words and words.endswith("for Python 3.11 on x86_64 are not here yet")
    assert not list(tmp_path.iterdir())


def test_no_network_is_said_in_our_words() -> None:
    words = _why(REFUSED, ["grpcio==1.85.1"], "for Python 3.11 on x86_64")
    assert words.startswith("there is no wheel of grpcio==1.85.1 for Python 3.11 on x86_64, and the package")
    assert "internet once" in words and "WARNING" not in words and "\n" not in words


@pytest.mark.parametrize(
    ("output", "ends"),
    [
        ("WARNING: x\nERROR: a\nERROR: no such version\n", "; pip says: no such version"),
        ("", "pip says: nothing"),
    ],
)
def test_the_last_error_of_pip_is_what_it_says(output: str, ends: str) -> None:
    assert _why(output, ["a"], "for all").endswith(ends)
