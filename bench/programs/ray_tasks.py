"""Ray in benchmark 2: each task makes and reaps one process, as Iris does for it.

Runs in an environment of Ray's own. A line with a number runs that many tasks.
"""

import json
import os
import sys
import time
from collections import Counter

import ray  # type: ignore[import-not-found] # in the environment of the peer


def spawn() -> int:
    """One process, a session of its own; its exit status."""
    program = "/bin/true"
    pid = os.posix_spawn(program, [program], os.environ, setsid=True)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


for line in sys.stdin:
    count = json.loads(line)
    ray.init(num_cpus=os.cpu_count(), include_dashboard=False, logging_level="error", log_to_driver=False)
    task = ray.remote(spawn)
    # Workers are up before the clock runs.
    ray.get([task.remote() for _ in range(100)])
    started = time.perf_counter()
    codes = Counter(ray.get([task.remote() for _ in range(count)]))
    seconds = time.perf_counter() - started
    ray.shutdown()
    print(json.dumps({"seconds": seconds, "codes": codes}), flush=True)
