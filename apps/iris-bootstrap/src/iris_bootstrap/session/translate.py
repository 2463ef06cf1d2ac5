"""Between the wire's protobuf and the pipe's frames. The only module of the agent that knows both."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping

from iris_bootstrap.attempt import parse_key
from iris_bootstrap.keeper import frames
from iris_bootstrap.session.book import KnownAttempt, Memory, id_of
from iris_bootstrap.session.outputs import ReleaseProcess, StartProcess
from iris_proto.v1.job_pb2 import AttemptState, JobSpec
from iris_proto.v1.worker_pb2 import AttemptReport, AttemptSpec, JobContext

_STATES = {
    "PREPARING": AttemptState.ATTEMPT_STATE_PREPARING,
    "RUNNING": AttemptState.ATTEMPT_STATE_RUNNING,
    "SUCCEEDED": AttemptState.ATTEMPT_STATE_SUCCEEDED,
    "FAILED": AttemptState.ATTEMPT_STATE_FAILED,
    "KILLED": AttemptState.ATTEMPT_STATE_KILLED,
}


def read_memory(messages: Iterable[frames.Message], memory: Memory, host: str = "") -> frames.State | None:
    """Take up what a keeper says at connect; its `State`, once that has come. `host` as for `read_report`.

    Raises:
        FrameError: a message that belongs elsewhere.
    """
    for message in messages:
        match message:
            case frames.Seen(ranges):
                for seen in ranges:
                    memory.seen.add_range(seen)
            case frames.KnownJob(job_id, document):
                memory.jobs[job_id] = JobContext.FromString(base64.b64decode(document))
            case frames.Known(key, document, report):
                spec = AttemptSpec.FromString(base64.b64decode(document))
                latest = AttemptReport(id=spec.id, state=AttemptState.ATTEMPT_STATE_PREPARING)
                memory.attempts[parse_key(key)] = KnownAttempt(
                    spec, read_report(report, host) if report else latest
                )
            case frames.State():
                return message
            case _:
                raise frames.FrameError(f"{type(message).__name__} before State")
    return None


def read_report(report: frames.Report, host: str = "") -> AttemptReport:
    """A report as it travels. Members of gangs are reached at `host`, under the port that it says."""
    return AttemptReport(
        id=id_of(parse_key(report.id)),
        state=_STATES[report.state],
        reason=report.reason,
        message=report.message,
        started_at_ms=report.started_at_ms,
        finished_at_ms=report.finished_at_ms,
        exit_code=report.exit_code,
        signal=report.signal,
        log_bytes=report.log_bytes,
        address=_address(host, report.port),
    )


def job_frame(start: StartProcess, cluster: str, host_env: Mapping[str, str]) -> frames.Job:
    """What all attempts of a job have in common. Iris's own variables win over the job's, and those over the host's."""
    job = start.job
    env = {
        **host_env,
        **job.spec.env,
        "IRIS_JOB_ID": job.job_id,
        "IRIS_TASK_COUNT": str(max(job.spec.replicas, 1)),
        "IRIS_CLUSTER": cluster,
    }
    if job.spec.slices > 1:
        env["IRIS_SLICE_COUNT"] = str(job.spec.slices)
    timeout = job.spec.timeout
    return frames.Job(
        job.job_id,
        _document(job),
        list(job.spec.command),
        env,
        start.grace_s,
        is_gang=job.spec.gang and job.spec.replicas > 1,
        timeout_s=timeout.seconds + timeout.nanos / 1e9,
    )


def start_frame(start: StartProcess, controller_address: str) -> frames.Start:
    """One attempt; the controller's address changes while a job goes on."""
    env = {"IRIS_CONTROLLER_ADDRESS": controller_address}
    if start.job.spec.slices > 1:
        env["IRIS_SLICE_INDEX"] = str(slice_index(start.job.spec, start.key.task_index))
    return frames.Start(str(start.key), _document(start.spec), env)


def slice_index(spec: JobSpec, task_index: int) -> int:
    """Which of a gang's slices a task is on: as many tasks are on each, in order."""
    return task_index * spec.slices // max(spec.replicas, 1)


def release_frame(release: ReleaseProcess, host_env: Mapping[str, str]) -> frames.Release:
    """What a member of a gang learns of the others when all are there; `host_env` is what its host adds."""
    env = {
        **host_env,
        "IRIS_COORDINATOR_ADDRESS": release.addresses[0] if release.addresses else "",
        "IRIS_TASK_ADDRESSES": ",".join(release.addresses),
    }
    return frames.Release(str(release.key), env)


def _address(host: str, port: int) -> str:
    if not port:
        return ""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _document(message: JobContext | AttemptSpec) -> str:
    return base64.b64encode(message.SerializeToString()).decode("ascii")
