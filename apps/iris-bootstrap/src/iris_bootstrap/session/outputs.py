"""What a ledger wants done, in the order in which it wants it. Plain data."""

from __future__ import annotations

from dataclasses import dataclass

from iris_bootstrap.attempt import AttemptKey
from iris_proto.v1 import worker_pb2


@dataclass(frozen=True)
class SendToController:
    """Send this on the present stream; drop it if there is none any more."""

    message: worker_pb2.AgentMessage


@dataclass(frozen=True)
class StartProcess:
    """Run an attempt. `grace_s` lies between SIGTERM and SIGKILL when it is stopped."""

    key: AttemptKey
    spec: worker_pb2.AttemptSpec
    job: worker_pb2.JobContext
    grace_s: float


@dataclass(frozen=True)
class ReleaseProcess:
    """Start the program of a gang's member; `addresses` are all its members', by task index."""

    key: AttemptKey
    job: worker_pb2.JobContext
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class StopProcess:
    """End an attempt; one that nobody knows is never to start."""

    key: AttemptKey
    reason: str


@dataclass(frozen=True)
class TellTasks:
    """This machine is to go at `deadline_s` of the clock that `now_s` was read from."""

    kind: str
    message: str
    deadline_s: float


@dataclass(frozen=True)
class SetLease:
    """Tasks may run until `deadline_s` of the clock that `now_s` was read from.

    `suspect_after_s`: how long the keeper lets us be silent.
    """

    deadline_s: float
    lease_s: float
    orphan_timeout_s: float
    suspect_after_s: float


@dataclass(frozen=True)
class Forget:
    """The ends of these attempts are settled: drop their files, keep their ids; drop the jobs."""

    keys: tuple[AttemptKey, ...]
    jobs: tuple[str, ...]


@dataclass(frozen=True)
class SaveEpoch:
    """Put this on disk before anything that follows is done."""

    epoch: int
    commit: int


@dataclass(frozen=True)
class SaveCommit:
    """Put this on disk soon."""

    commit: int


@dataclass(frozen=True)
class PingKeeper:
    """Ask the keeper whether it is there; its answer goes to `on_pong`."""

    sequence: int


@dataclass(frozen=True)
class Disconnect:
    """End the stream and dial again, with back-off."""

    reason: str


Output = (
    SendToController
    | StartProcess
    | ReleaseProcess
    | StopProcess
    | TellTasks
    | SetLease
    | Forget
    | SaveEpoch
    | SaveCommit
    | PingKeeper
    | Disconnect
)
