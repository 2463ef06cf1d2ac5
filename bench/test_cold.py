"""Cold runs and what they import: the checks behind benchmark 7 can fail."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from bench.cold import imported, run_cold

SCRIPT = "import json.decoder, sys; print('hello'); sys.exit(3)"


def test_a_cold_run_says_how_it_ended(tmp_path: Path) -> None:
    ended = run_cold([sys.executable, "-c", SCRIPT], os.environ, tmp_path / "out")
    assert (ended.code, ended.out) == (3, "hello\n")
    assert ended.seconds > 0


def test_imports_are_seen_down_to_their_depth() -> None:
    seen = imported(sys.executable, ["-c", SCRIPT], os.environ)
    assert {"json", "json.decoder"} <= seen
    assert "argparse" not in seen
