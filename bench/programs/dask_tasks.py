"""Dask in benchmark 2: each task makes and reaps one process, as Iris does for it.

Runs in an environment of Dask's own. A line with a number runs that many tasks.
"""

import json
import os
import sys
import time
from collections import Counter

from distributed import Client, LocalCluster  # type: ignore[import-not-found] # in the environment of the peer


def spawn(number: int) -> int:
    """One process, a session of its own; its exit status. `number` makes the task another one."""
    program = "/bin/true"
    pid = os.posix_spawn(program, [program], os.environ, setsid=True)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main() -> None:
    """Answer every line. A function, since workers import this module again."""
    for line in sys.stdin:
        count = json.loads(line)
        with (
            LocalCluster(n_workers=os.cpu_count(), dashboard_address=None) as cluster,
            Client(cluster) as client,
        ):
            client.gather(client.map(spawn, range(-100, 0)))
            started = time.perf_counter()
            codes = Counter(client.gather(client.map(spawn, range(count))))
            seconds = time.perf_counter() - started
        print(json.dumps({"seconds": seconds, "codes": codes}), flush=True)


if __name__ == "__main__":
    main()
