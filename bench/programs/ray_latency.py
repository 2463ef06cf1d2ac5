"""Ray in benchmark 3: from the call to a task's first instruction in a warm worker.

Runs in an environment of Ray's own. A line with a number runs that many, one by
one; the answer is when each was called and when it began, in nanoseconds of wall
clock.
"""

import json
import sys
import time

import ray  # type: ignore[import-not-found] # in the environment of the peer

PAUSE_S = 0.05


def clock() -> int:
    """When this task began."""
    return time.time_ns()


for line in sys.stdin:
    ray.init(num_cpus=1, include_dashboard=False, logging_level="error", log_to_driver=False)
    task = ray.remote(clock)
    ray.get([task.remote() for _ in range(20)])
    times = []
    for _ in range(json.loads(line)):
        time.sleep(PAUSE_S)
        called = time.time_ns()
        times.append((called, ray.get(task.remote())))
    ray.shutdown()
    print(json.dumps(times), flush=True)
