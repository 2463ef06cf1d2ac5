"""A real cluster on this machine for a benchmark, and a client that costs little.

Made by the installed executables: a controller of its own, one agent, SQLite
with synchronous=FULL, all in processes of their own.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc

from bench.by_hand import ByHandCluster, by_hand_cluster
from iris_platform.controller_file import read_controller_file
from iris_proto.v1 import controller_pb2 as pb
from iris_proto.v1.controller_pb2_grpc import ControllerServiceStub
from iris_proto.v1.job_pb2 import Job, JobSpec, JobState, Resources, Task
from tests.harness.cluster import LocalCluster

CALL_S = 60.0
# A whole measurement ends within this.
WATCH_S = 600.0
PAGE = 1_000
TASK_CPU_MILLIS = 1_000
OVER = frozenset(
    {
        JobState.JOB_STATE_SUCCEEDED,
        JobState.JOB_STATE_FAILED,
        JobState.JOB_STATE_KILLED,
        JobState.JOB_STATE_UNSCHEDULABLE,
    }
)
# What each process of a cluster has in its command line.
PARTS = {
    "controller": ("/iris-controller ", "/by_hand.py "),
    "keeper": (" keeper ",),
    "session": (" session ",),
}
TICKS = os.sysconf("SC_CLK_TCK")


class Client:
    """Asks one controller, over one channel that is open before anything is timed."""

    def __init__(self, state_dir: Path) -> None:
        record = read_controller_file(state_dir / "controller.json")
        assert record is not None, "the cluster is up, so its file is there"
        self._channel = grpc.insecure_channel(record.address, options=[("grpc.enable_http_proxy", 0)])
        self.metadata = (("authorization", f"Bearer {record.token}"),)
        self.stub = ControllerServiceStub(self._channel)

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def submit(self, *command: str, replicas: int = 1, cpu_millis: int = TASK_CPU_MILLIS) -> str:
        """Submit a job; its id, once it is durable."""
        request = request_of(command, replicas, cpu_millis)
        response = self.stub.SubmitJob(request, CALL_S, self.metadata)
        return response.job.job_id

    def wait(self, job_id: str) -> Job:
        """Wait for a job's end, told by the controller.

        A stream that breaks off before is opened again, as `iris job wait` does.
        """
        job = Job()
        while job.state not in OVER:
            for change in self.stub.WatchJob(pb.WatchJobRequest(job_id=job_id), WATCH_S, self.metadata):
                job = change.job
        return job

    def tasks(self, job_id: str) -> Iterator[Task]:
        """A job's tasks, page by page."""
        token = ""
        while True:
            request = pb.ListTasksRequest(job_id=job_id, page_size=PAGE, page_token=token)
            page = self.stub.ListTasks(request, CALL_S, self.metadata)
            yield from page.tasks
            token = page.next_page_token
            if not token:
                return

    def log(self, job_id: str) -> bytes:
        """What a job of one task wrote, to its last byte."""
        request = pb.StreamLogsRequest(job_id=job_id, follow=True)
        parts = self.stub.StreamLogs(request, CALL_S, self.metadata)
        return b"".join(part.data.data for part in parts)

    def unfinished_jobs(self) -> int:
        """How many jobs have not ended."""
        status = self.stub.GetClusterStatus(pb.GetClusterStatusRequest(), CALL_S, self.metadata)
        return status.jobs_pending + status.jobs_running


def request_of(
    command: tuple[str, ...], replicas: int = 1, cpu_millis: int = TASK_CPU_MILLIS
) -> pb.SubmitJobRequest:
    """A submission of its own."""
    spec = JobSpec(
        name="bench",
        command=command,
        replicas=replicas,
        resources=Resources(cpu_millis=cpu_millis),
    )
    return pb.SubmitJobRequest(request_id=uuid.uuid4().hex, spec=spec)


@contextmanager
def idle_cluster(home: Path, *, tls: bool = False) -> Iterator[tuple[LocalCluster, Client]]:
    """A cluster of one slice of one host of 64 cpus, which is ready and has run a task.

    With `tls` its agent has joined as one of another machine does, and dials the port for
    those with a certificate of its own; else it is a local one with the token of this machine.
    """
    home.mkdir()
    with _cluster_over_tls(home) if tls else _local_cluster(home) as cluster:
        client = Client(cluster.state_dir)
        try:
            job_id = client.submit("/bin/true")
            if isinstance(cluster, ByHandCluster):
                (given,) = cluster.given(1)
                cluster.start_agent_here(given)
            first = client.wait(job_id)
            assert first.state == JobState.JOB_STATE_SUCCEEDED, f"the first job did not run: {first}"
            yield cluster, client
        finally:
            client.close()


@contextmanager
def _local_cluster(home: Path) -> Iterator[LocalCluster]:
    cluster = LocalCluster(home, name="bench", max_slices=1, cpu=64, idle_timeout="1h")
    try:
        cluster.iris("cluster", "start")
        yield cluster
        cluster.iris("cluster", "stop", "-y")
    finally:
        cluster.destroy()


@contextmanager
def _cluster_over_tls(home: Path) -> Iterator[LocalCluster]:
    with by_hand_cluster(ByHandCluster(home)) as cluster:
        yield cluster


def cpu_seconds(cluster: LocalCluster) -> dict[str, float]:
    """User and system time so far of a cluster's controller, keeper and session, and of its tasks.

    Source: fields 14 to 17 of `/proc/PID/stat`, see proc(5); the tasks are what the
    keeper reaped.
    """
    found = dict.fromkeys((*PARTS, "tasks"), 0.0)
    for pid, words in cluster.processes().items():
        part = next((part for part, any_of in PARTS.items() if any(word in words for word in any_of)), None)
        if part is not None:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            own_user, own_system, reaped_user, reaped_system = map(int, fields[11:15])
            found[part] += (own_user + own_system) / TICKS
            if part == "keeper":
                found["tasks"] += (reaped_user + reaped_system) / TICKS
    return found


def peak_mib(pid: int) -> float:
    """The most memory that a process had so far. Source: `VmHWM` in proc(5)."""
    status = Path(f"/proc/{pid}/status").read_text()
    (peak,) = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
    return int(peak) / 1024
