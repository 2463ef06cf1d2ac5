"""Messages of the agents' wire <-> types of the core.

Raises `ValueError` for a message that no agent or client should have sent; the
words are for its sender.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from iris_controller.core import effects as fx
from iris_controller.core import events as e
from iris_controller.core import states as s
from iris_controller.core.entities import Job
from iris_controller.core.values import (
    AttemptEnd,
    AttemptId,
    AttemptSpec,
    JobSpec,
    Notice,
    Place,
    Reason,
    Resources,
)
from iris_proto.v1 import job_pb2, worker_pb2

PROTOCOL_VERSION = 1
_JOB_ID = re.compile(r"[a-z][a-z0-9-]{0,63}")
_ACCELERATOR = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
MAX_REPLICAS = 1_000_000
DEFAULT_RESOURCES = Resources(1000)
DEFAULT_MAX_LOSSES = 100
# What a notice's texts and its time are cut to.
NOTICE_MOST = 500
NOTICE_MOST_MS = 86_400_000


def job_spec_from_proto(message: job_pb2.JobSpec) -> JobSpec:
    """A person's submission, checked, with its defaults filled in.

    Raises:
        ValueError: what is wrong, where, and what was expected.
    """
    # Once each: to look into a message costs more than into what is made of it.
    replicas, command = message.replicas or 1, tuple(message.command)
    env = {key: message.env[key] for key in message.env}
    if not command:
        raise ValueError("command: expected the program and its arguments, found nothing")
    if not command[0]:
        raise ValueError("command: the program's name is empty")
    if message.accelerator and not message.replicas:
        # As many as it has hosts; the core knows how many.
        replicas = 0
    elif not 1 <= replicas <= MAX_REPLICAS:
        raise ValueError(f"replicas: expected 1 to {MAX_REPLICAS:,}, found {replicas}")
    _check_slices(message)
    if message.accelerator and _ACCELERATOR.fullmatch(message.accelerator) is None:
        raise ValueError("accelerator: expected a type such as v5litepod-16")
    _check_texts(message.name, command, env)
    resources = (
        resources_from_proto(message.resources) if message.HasField("resources") else DEFAULT_RESOURCES
    )
    if resources.cpu_millis < 0 or resources.memory_bytes < 0:
        raise ValueError("resources: expected amounts of at least 0")
    if message.max_failures < 0 or message.max_losses < 0:
        raise ValueError("max_failures, max_losses: expected at least 0")
    if message.HasField("stop_grace") and message.stop_grace.ToMilliseconds() < 0:
        raise ValueError("stop_grace: expected at least 0")
    if message.HasField("timeout") and message.timeout.ToMilliseconds() <= 0:
        raise ValueError("timeout: expected more than 0")
    return JobSpec(
        name=message.name or command[0].rsplit("/", 1)[-1],
        command=command,
        env=env,
        replicas=replicas,
        resources=resources,
        gang=message.gang,
        max_failures=message.max_failures,
        max_losses=message.max_losses if message.HasField("max_losses") else DEFAULT_MAX_LOSSES,
        stop_grace_ms=message.stop_grace.ToMilliseconds() if message.HasField("stop_grace") else None,
        timeout_ms=message.timeout.ToMilliseconds() if message.HasField("timeout") else None,
        accelerator=message.accelerator,
        slices=message.slices or 1,
    )


def _check_slices(message: job_pb2.JobSpec) -> None:
    slices, replicas = message.slices, message.replicas
    if slices in (0, 1):
        return
    if not 1 <= slices <= MAX_REPLICAS:
        raise ValueError(f"slices: expected 1 to {MAX_REPLICAS:,}, found {slices}")
    if not message.accelerator and not message.gang:
        raise ValueError("slices: only a gang has several; expected gang, or an accelerator")
    if (replicas or not message.accelerator) and (replicas < slices or replicas % slices):
        raise ValueError(
            f"replicas: expected a multiple of {slices}, as many on each slice, found {replicas or 1}"
        )


def _check_texts(name: str, command: Sequence[str], env: Mapping[str, str]) -> None:
    for key in env:
        if not key or "=" in key:
            # What follows is probably a value that slipped in there.
            name, equals, _ = key.partition("=")
            raise ValueError(f"env: {name + equals!r} is not the name of a variable")
    if "\0" not in "".join((name, *command, *env, *env.values())):
        return
    _check_text("name", name)
    for i, word in enumerate(command):
        _check_text(f"command[{i}]", word)
    for key, value in env.items():
        _check_text("env", key)
        _check_text(f"env[{key}]", value)


def _check_text(field: str, text: str) -> None:
    if "\0" in text:
        raise ValueError(f"{field}: a NUL character cannot be passed to a program")


def job_spec_from_bytes(data: bytes) -> JobSpec:
    """A submission from the store."""
    return job_spec_from_proto(job_pb2.JobSpec.FromString(data))


def job_spec_to_proto(spec: JobSpec) -> job_pb2.JobSpec:
    """A submission as it travels and is stored."""
    message = job_pb2.JobSpec(
        name=spec.name,
        command=spec.command,
        env=spec.env,
        replicas=spec.replicas,
        gang=spec.gang,
        resources=resources_to_proto(spec.resources),
        max_failures=spec.max_failures,
        max_losses=spec.max_losses,
        accelerator=spec.accelerator,
        slices=spec.slices,
    )
    if spec.stop_grace_ms is not None:
        message.stop_grace.FromMilliseconds(spec.stop_grace_ms)
    if spec.timeout_ms is not None:
        message.timeout.FromMilliseconds(spec.timeout_ms)
    return message


def resources_from_proto(message: job_pb2.Resources) -> Resources:
    """Accounted capacity."""
    return Resources(message.cpu_millis, message.memory_bytes)


def resources_to_proto(resources: Resources) -> job_pb2.Resources:
    """Accounted capacity."""
    return job_pb2.Resources(cpu_millis=resources.cpu_millis, memory_bytes=resources.memory_bytes)


def attempt_id_from_proto(message: job_pb2.AttemptId) -> AttemptId:
    """An attempt's identifier.

    Raises:
        ValueError: not one that a controller made; it names files here.
    """
    if (
        _JOB_ID.fullmatch(message.job_id) is None
        or min(message.task_index, message.epoch) < 0
        or message.number < 1
    ):
        raise ValueError(f"not an attempt's identifier: {str(message)[:200]!r}")
    return AttemptId(message.job_id, message.task_index, message.epoch, message.number)


def attempt_id_to_proto(attempt_id: AttemptId) -> job_pb2.AttemptId:
    """An attempt's identifier."""
    job_id, task_index, epoch, number = attempt_id
    return job_pb2.AttemptId(job_id=job_id, task_index=task_index, epoch=epoch, number=number)


def place_from_proto(message: job_pb2.Place) -> Place:
    """A worker's place."""
    return Place(message.slice_name, message.worker_index)


def place_to_proto(place: Place) -> job_pb2.Place:
    """A worker's place."""
    return job_pb2.Place(slice_name=place.slice_name, worker_index=place.worker_index)


_ENDED: Mapping[int, type[s.AttemptSucceeded | s.AttemptFailed | s.AttemptKilled]] = {
    job_pb2.ATTEMPT_STATE_SUCCEEDED: s.AttemptSucceeded,
    job_pb2.ATTEMPT_STATE_FAILED: s.AttemptFailed,
    job_pb2.ATTEMPT_STATE_KILLED: s.AttemptKilled,
}


def report_from_proto(message: worker_pb2.AttemptReport) -> e.AttemptReport:
    """An agent's word on one attempt.

    Raises:
        ValueError: a state that agents do not report.
    """
    attempt_id = attempt_id_from_proto(message.id)
    if message.state == job_pb2.ATTEMPT_STATE_RUNNING:
        return e.AttemptReport(attempt_id, s.AttemptRunning(message.started_at_ms), message.address)
    if message.state == job_pb2.ATTEMPT_STATE_PREPARING:
        return e.AttemptReport(attempt_id, s.AttemptPreparing(), message.address)
    kind = _ENDED.get(message.state)
    if kind is None:
        raise ValueError(f"report of {attempt_id}: unexpected state {message.state}")
    end = AttemptEnd(
        message.finished_at_ms,
        Reason(message.reason, message.message),
        message.exit_code if message.HasField("exit_code") else None,
        message.signal if message.HasField("signal") else None,
        message.log_bytes,
    )
    return e.AttemptReport(attempt_id, kind(message.started_at_ms, end), message.address)


class OtherProtocol(ValueError):
    """An agent of a release that this one cannot talk to; `place` is where it says that it is."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.place = place


def hello_from_proto(message: worker_pb2.Hello, session_id: int, our_commit: int) -> e.AgentHello:
    """An agent's first message; `our_commit` is the number of the store's last commit.

    Raises:
        OtherProtocol: nothing else that it says can be relied on.
        ValueError: an attempt of a job that it does not describe.
    """
    if message.protocol_version != PROTOCOL_VERSION:
        raise OtherProtocol(
            place_from_proto(message.place),
            f"protocol version {message.protocol_version} is not spoken here; expected {PROTOCOL_VERSION}",
        )
    contexts = {context.job_id: context for context in message.jobs}
    return e.AgentHello(
        session_id=session_id,
        cluster_id=message.cluster_id,
        place=place_from_proto(message.place),
        boot_id=message.boot_id,
        previous_boot_id=message.previous_boot_id,
        highest_epoch=message.highest_epoch,
        resources=resources_from_proto(message.resources),
        version=message.version,
        observed=tuple(_observed(seen, contexts) for seen in message.observed),
        zone=message.zone,
        highest_commit=message.highest_commit,
        our_commit=our_commit,
    )


def _observed(
    seen: worker_pb2.ObservedAttempt, contexts: Mapping[str, worker_pb2.JobContext]
) -> e.ObservedAttempt:
    attempt_id = attempt_id_from_proto(seen.spec.id)
    context = contexts.get(attempt_id.job_id)
    if context is None:
        raise ValueError(f"hello: attempt {attempt_id} of a job that it does not describe")
    job = job_spec_from_proto(context.spec)
    if attempt_id.task_index >= job.replicas:
        raise ValueError(f"hello: attempt {attempt_id} of a job with {job.replicas} tasks")
    return e.ObservedAttempt(
        AttemptSpec(attempt_id, seen.spec.failures, seen.spec.losses),
        report_from_proto(seen.report),
        job,
        context.request_id,
        context.submitted_at_ms,
    )


def reports_from_proto(message: worker_pb2.Reports, session_id: int) -> e.AgentReports:
    """A batch of reports."""
    reports = tuple(report_from_proto(report) for report in message.reports)
    return e.AgentReports(session_id, message.sequence, reports)


def notice_from_proto(message: worker_pb2.Notice, session_id: int) -> e.AgentNotice:
    """What an agent's host was told; texts are cut to what a person reads."""
    kind, words = message.kind[:NOTICE_MOST], message.message[:NOTICE_MOST]
    left_ms = min(max(message.time_left.ToMilliseconds(), 0), NOTICE_MOST_MS)
    return e.AgentNotice(session_id, Notice(kind, words, left_ms))


def slice_notice(effect: fx.SendNotice, epoch: int, commit: int) -> worker_pb2.ControllerMessage:
    """What a host of an agent's slice was told."""
    notice = worker_pb2.Notice(kind=effect.notice.kind, message=effect.notice.message)
    notice.time_left.FromMilliseconds(effect.notice.left_ms)
    return worker_pb2.ControllerMessage(
        notice=worker_pb2.SliceNotice(epoch=epoch, commit=commit, notice=notice)
    )


def job_context(job: Job) -> worker_pb2.JobContext:
    """A job as agents must know it."""
    return worker_pb2.JobContext(
        job_id=job.job_id,
        request_id=job.request_id,
        spec=job_spec_to_proto(job.spec),
        submitted_at_ms=job.submitted_ms,
    )


def commands(
    effect: fx.SendCommands, contexts: Iterable[worker_pb2.JobContext], epoch: int, commit: int
) -> worker_pb2.ControllerMessage:
    """Attempts to start and to stop, each job described once."""
    return worker_pb2.ControllerMessage(
        commands=worker_pb2.Commands(
            epoch=epoch,
            commit=commit,
            jobs=contexts,
            start=[
                worker_pb2.AttemptSpec(
                    id=attempt_id_to_proto(spec.id), failures=spec.failures, losses=spec.losses
                )
                for spec in effect.start
            ],
            stop=[
                worker_pb2.StopAttempt(id=attempt_id_to_proto(order.id), reason=order.reason)
                for order in effect.stop
            ],
            release=[
                worker_pb2.ReleaseAttempt(
                    id=attempt_id_to_proto(release.id), task_addresses=release.addresses
                )
                for release in effect.release
            ],
        )
    )


def welcome(
    effect: fx.SendWelcome, timings: worker_pb2.Timings, epoch: int, commit: int, log_max_bytes: int = 0
) -> worker_pb2.ControllerMessage:
    """The answer to a hello that was accepted; no `log_max_bytes`, no cap."""
    message = worker_pb2.Welcome(
        protocol_version=PROTOCOL_VERSION,
        epoch=epoch,
        commit=commit,
        timings=timings,
        log_max_bytes=log_max_bytes,
        takes_notices=True,
        verdicts=[
            worker_pb2.AttemptVerdict(
                id=attempt_id_to_proto(verdict.id),
                verdict=worker_pb2.VERDICT_KEEP if verdict.keep else worker_pb2.VERDICT_STOP,
                reason=verdict.reason,
            )
            for verdict in effect.verdicts
        ],
    )
    message.timings.task_lease.FromMilliseconds(effect.task_lease_ms)
    return worker_pb2.ControllerMessage(welcome=message)


def beat_ack(effect: fx.AckBeat, epoch: int, commit: int) -> worker_pb2.ControllerMessage:
    """A beat was handled."""
    ack = worker_pb2.BeatAck(sequence=effect.sequence, epoch=epoch, commit=commit)
    return worker_pb2.ControllerMessage(beat_ack=ack)


def reports_ack(effect: fx.AckReports, epoch: int, commit: int) -> worker_pb2.ControllerMessage:
    """Reports are in the store."""
    ack = worker_pb2.ReportsAck(sequence=effect.sequence, epoch=epoch, commit=commit)
    return worker_pb2.ControllerMessage(reports_ack=ack)
