"""A real process that keeps a local controller's contract, and little more.

    stand_in_controller.py [FAULT] --state-dir D --pki-dir P --config F --local-root R --resume

Holds the state directory's lock, writes controller.json, and ends at SIGTERM.
Standard library only: run with `-I -S` it is up in 30 ms.
"""

import fcntl
import json
import os
import signal
import sys
from pathlib import Path
from typing import TextIO

FAULTS = {
    "fail": "says why and exits with 1",
    "lost": "holds the lock but never says where it is",
    "stubborn": "ignores SIGTERM",
    "respawn": "another takes its place at SIGTERM, as under a service manager",
}


def main(argv: list[str]) -> int:
    fault = argv.pop(0) if argv[0] in FAULTS else ""
    options = dict(zip(argv[:-1:2], argv[1:-1:2], strict=True))
    assert list(options) == ["--state-dir", "--pki-dir", "--config", "--local-root"]
    assert argv[-1] == "--resume"
    state = Path(options["--state-dir"])
    sys.stderr.write(f"config: {Path(options['--config']).read_text()}\n")
    if fault == "fail":
        sys.stderr.write("no space left on device\n")
        return 1
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    with (state / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.stderr.write("in use by another process\n")
            return 1
        introduce(state, lock, fault)
        while True:
            signal.sigwait({signal.SIGTERM})
            if fault == "respawn":
                fault = ""
                ready, theirs = os.pipe()
                if os.fork():
                    os.close(theirs)
                    os.read(ready, 1)
                    os._exit(0)
                introduce(state, lock, fault)
                os.close(theirs)
            elif fault != "stubborn":
                (state / "controller.json").unlink(missing_ok=True)
                return 0


def introduce(state: Path, lock: TextIO, fault: str) -> None:
    """Say who we are, in the lock and in controller.json."""
    stat = Path("/proc/self/stat").read_text()
    start_time = int(stat[stat.rindex(")") + 2 :].split()[19])
    process = {"pid": os.getpid(), "start_time": start_time}
    lock.truncate(0)
    lock.write(json.dumps({**process, "role": "controller"}))
    lock.flush()
    if fault != "lost":
        with (state / "fresh").open("w") as file:
            os.fchmod(file.fileno(), 0o600)
            json.dump({"address": "127.0.0.1:1", "token": "t", **process}, file)
        (state / "fresh").rename(state / "controller.json")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
