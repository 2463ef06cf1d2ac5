"""The limit of benchmark 2: processes made and reaped by one Python process, and nothing else.

Each is a session of its own and writes to the end of one file; a new file for each
would cost more, and an agent may well use old ones. A line with a number makes that
many of them; the answer is the seconds, how often each exit status was seen, and the
CPU time of this process and of those that it made.
"""

import json
import os
import resource
import sys
import time
from collections import Counter

# So many at once were fastest on two processors.
AT_ONCE = 8
PROGRAM = "/bin/true"

log = os.open("spawned.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
ACTIONS = [
    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
    (os.POSIX_SPAWN_DUP2, log, 1),
    (os.POSIX_SPAWN_DUP2, log, 2),
]


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
        os.posix_spawn(PROGRAM, [PROGRAM], os.environ, file_actions=ACTIONS, setsid=True)
    while codes.total() < count:
        codes[reap()] += 1
    return codes


def cpu_seconds() -> dict[str, float]:
    """User and system time so far of this process and of those that it reaped."""
    who = {"itself": resource.RUSAGE_SELF, "tasks": resource.RUSAGE_CHILDREN}
    return {name: sum(resource.getrusage(number)[:2]) for name, number in who.items()}


for line in sys.stdin:
    before = cpu_seconds()
    started = time.perf_counter()
    seen = spawn_and_reap(json.loads(line))
    seconds = time.perf_counter() - started
    used = {name: after - before[name] for name, after in cpu_seconds().items()}
    print(json.dumps({"seconds": seconds, "codes": seen, "cpu": used}), flush=True)
