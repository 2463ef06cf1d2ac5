"""HyperQueue in benchmark 2: one job of as many programs, on a worker with room for 64 at once.

Runs in an environment of HyperQueue's own. A line with a number runs that many.
Its client looks for the end once a second.
"""

import json
import os
import shutil
import sys
import time

from hyperqueue import Job, LocalCluster  # type: ignore[import-not-found] # in the environment of the peer
from hyperqueue.cluster import WorkerConfig  # type: ignore[import-not-found] # in the environment of the peer

AT_ONCE = 64

# The server has things to say on descriptor 1.
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def job_of(count: int, directory: str) -> Job:
    """A job that runs a program so often, each with a new file for its output in `directory`."""
    os.mkdir(directory)
    job = Job(default_workdir=directory)
    for _ in range(count):
        job.program(["/bin/true"], stderr=None)
    return job


for line in sys.stdin:
    size = json.loads(line)
    with LocalCluster() as cluster:
        cluster.start_worker(WorkerConfig(cores=AT_ONCE))
        client = cluster.client()
        client.wait_for_jobs([client.submit(job_of(1, "first"))])
        started = time.perf_counter()
        # Raises unless every program exits with 0.
        client.wait_for_jobs([client.submit(job_of(size, "all"))])
        seconds = time.perf_counter() - started
    logs = len(os.listdir("all"))
    shutil.rmtree("first")
    shutil.rmtree("all")
    print(json.dumps({"seconds": seconds, "codes": {"0": logs}}), file=answers, flush=True)
