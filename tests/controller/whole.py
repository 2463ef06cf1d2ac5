"""A whole controller: the executable, in a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from iris_platform.controller_file import ControllerRecord, read_controller_file
from iris_platform.processes import wait_until
from tests.controller.running import PATIENCE_S


def command(home: Path, config: Mapping[str, Any], *more: str) -> list[str]:
    """The argv of a controller whose places are all below `home`, with this configuration."""
    (home / "config.json").write_text(json.dumps(config))
    places = {"--config": "config.json", "--state-dir": "state", "--pki-dir": "pki", "--local-root": "local"}
    words = [word for flag, name in places.items() for word in (flag, str(home / name))]
    program = "import sys; from iris_controller.main import main; sys.exit(main())"
    return [sys.executable, "-c", program, *words, *more]


@contextmanager
def started(home: Path, argv: list[str], end: signal.Signals = signal.SIGTERM) -> Iterator[ControllerRecord]:
    """It serves, and is ended so; at SIGTERM it must end with status 0. Its output is in `home/log`."""
    with (home / "log").open("ab") as log:
        process = subprocess.Popen(argv, stderr=log, stdout=log, stdin=subprocess.DEVNULL)
    try:
        found: list[ControllerRecord] = []

        def serves() -> bool:
            record = read_controller_file(home / "state" / "controller.json")
            found[:] = [record] if record is not None and record.pid == process.pid else []
            return bool(found) or process.poll() is not None

        assert wait_until(serves, PATIENCE_S) and found, (home / "log").read_text()
        yield found[0]
        process.send_signal(end)
        assert process.wait(PATIENCE_S) == (0 if end is signal.SIGTERM else -end)
    finally:
        process.kill()
        process.wait(PATIENCE_S)
