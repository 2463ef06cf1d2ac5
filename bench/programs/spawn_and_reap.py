"""The limit of benchmark 2: processes made and reaped by one Python process, and nothing else.

Each is a session of its own with a new file for its output, as every attempt
needs; so many run at once. A line with a number makes that many of them; the
answer is the seconds and how often each exit status was seen.
"""

import json
import os
import shutil
import sys
import time
from collections import Counter

AT_ONCE = 64
PROGRAM = "/bin/true"
WRITING = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL


def spawn(number: int) -> None:
    """Make one process; its output goes to a new file in the working directory."""
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(number), WRITING, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    os.posix_spawn(PROGRAM, [PROGRAM], os.environ, file_actions=actions, setsid=True)


def reap() -> int:
    """Wait for one process, whichever ends first; its exit status."""
    _, status = os.waitpid(-1, 0)
    return os.waitstatus_to_exitcode(status)


def spawn_and_reap(count: int) -> "Counter[int]":
    """Make so many processes and reap them; how often each exit status was seen."""
    codes: Counter[int] = Counter()
    for number in range(count):
        if number >= AT_ONCE:
            codes[reap()] += 1
        spawn(number)
    while codes.total() < count:
        codes[reap()] += 1
    return codes


for line in sys.stdin:
    os.mkdir("spawned")
    os.chdir("spawned")
    started = time.perf_counter()
    seen = spawn_and_reap(json.loads(line))
    seconds = time.perf_counter() - started
    logs = len(os.listdir())
    os.chdir("..")
    shutil.rmtree("spawned")
    print(json.dumps({"seconds": seconds, "codes": seen, "logs": logs}), flush=True)
