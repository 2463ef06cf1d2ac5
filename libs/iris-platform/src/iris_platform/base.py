"""The plain data that platforms and their callers share.

Knows nothing of clouds, files, processes or protobuf: the controller's core
imports this module. `VmState`, `VmInfo`, `ContainerSpec` and `VmBootstrapSpec`
are as the requirement gives them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal


class VmState(str, Enum):
    """A machine's state, whatever its provider calls it."""

    BOOTING = "booting"
    RUNNING = "running"
    TERMINATED = "terminated"
    FAILED = "failed"


@dataclass(frozen=True)
class VmInfo:
    """A machine's identity and how to reach it."""

    vm_id: str
    address: str
    zone: str | None
    labels: Mapping[str, str]
    state: VmState
    created_at_ms: int


@dataclass(frozen=True)
class ContainerSpec:
    """What to run in a container; an empty image means the agent's bundle."""

    image: str
    entrypoint: list[str]
    env: Mapping[str, str]
    ports: Mapping[str, int]
    health_port: int | None = None


@dataclass(frozen=True)
class VmBootstrapSpec:
    """What to run on a machine; where and how is the platform's business."""

    role: Literal["controller", "worker"]
    container: ContainerSpec
    labels: Mapping[str, str]
    bootstrap_script: str | None = None
    provider_overrides: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class ClusterIdentity:
    """A cluster's name, which may come twice, and its id, which does not."""

    cluster: str
    cluster_id: str


@dataclass(frozen=True)
class Stray:
    """Something in a zone that is a cluster's by half, or its namesake's: nobody touches it.

    `cluster_id` is the other id of what carries the cluster's name, else empty.
    """

    kind: str
    name: str
    why: str
    cluster_id: str = ""
    hosts: int = 0

    @property
    def words(self) -> str:
        """All of it, for people."""
        return f"{self.kind} {self.name}: {self.why}"


class Failure(Enum):
    """Why a platform call failed, by the caller's next move."""

    NO_CAPACITY = "stockout"
    QUOTA = "quota"
    RATE_LIMIT = "rate_limit"
    REFUSED = "refused"
    PERMISSION = "permission"
    UNREACHABLE = "unreachable"
    START = "start_failed"
    NOT_OURS = "not_ours"


class SliceCloudState(str, Enum):
    """A slice's state as its provider shows it."""

    CREATING = "creating"
    RUNNING = "running"
    DELETING = "deleting"
    FAILED = "failed"
    PREEMPTED = "preempted"


@dataclass(frozen=True)
class HostResources:
    """What one host offers to tasks.

    `cpu_millis` counts thousandths of a core; `memory_bytes` 0 means that
    memory is not accounted.
    """

    cpu_millis: int
    memory_bytes: int = 0


@dataclass(frozen=True)
class SliceSpec:
    """A slice that is wanted: everything a platform needs to make it.

    `provider_overrides` are for the platform of its group alone to understand.
    """

    name: str
    group: str
    hosts: int
    resources: HostResources
    accelerator_type: str
    labels: Mapping[str, str]
    provider_overrides: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class SliceInfo:
    """A slice that was seen.

    `slice_id` is its name. `vms` has one entry for each host that exists, in
    order of worker index. `detail` is the provider's own word on its state. Of one
    whose creation was accepted and failed later, `failure` says why.
    """

    slice_id: str
    zone: str
    labels: Mapping[str, str]
    state: SliceCloudState
    vms: tuple[VmInfo, ...]
    created_at_ms: int
    detail: str = ""
    failure: Failure | None = None


# Of a host's log, for people: its last whole lines, in bytes.
HOST_LOG_BYTES = 4096


@dataclass(frozen=True)
class HostLog:
    """The end of what an agent's service said on one host.

    `address` is the host's. `text` has whole lines, at most `HOST_LOG_BYTES`.
    """

    address: str
    text: str


class PlatformError(Exception):
    """A platform call failed; the subclass says what the caller may do next."""

    # What is not known to be anything else: look before trying again.
    failure = Failure.UNREACHABLE


class NoCapacity(PlatformError):
    """The provider has none left: try another zone or group, or wait."""

    failure = Failure.NO_CAPACITY


class QuotaExceeded(PlatformError):
    """The account may not have more: wait, or raise the quota."""

    failure = Failure.QUOTA


class RateLimited(PlatformError):
    """Too many calls: the same call again later."""

    failure = Failure.RATE_LIMIT


class Refused(PlatformError):
    """The request is wrong; trying again will not help. Tell the operator."""

    failure = Failure.REFUSED


class BeingDeleted(Refused):
    """The slice is being deleted: that it is not made as well is what is wanted. Nothing is wrong."""


class PermissionMissing(PlatformError):
    """The credentials do not allow it. Tell the operator."""

    failure = Failure.PERMISSION


class NoCredentials(PermissionMissing):
    """There are no credentials, or none that can be used: nobody was asked. `HELP` is what to do."""

    HELP = (
        "run `gcloud auth application-default login`, name a key file in GOOGLE_APPLICATION_CREDENTIALS,"
        " or run this on a machine that has a service account"
    )


class Unreachable(PlatformError):
    """It is not known whether it happened: look before trying again."""

    failure = Failure.UNREACHABLE


class PartlySeen(Unreachable):
    """A list that would not be whole; `slices` are those that were seen all the same.

    Never the truth about a zone. It is for a stop, which deletes by name what it can, and
    for whoever learns something from a name alone.
    """

    def __init__(self, words: str, slices: Iterable[SliceInfo] = ()) -> None:
        super().__init__(words)
        self.slices = tuple(slices)


# How the first line of a trouble ends that has more: the last lines of a log.
LOG_FOLLOWS = "; the end of its log:"


class StartFailed(PlatformError):
    """The machine is there but what should run on it did not start: delete it."""

    failure = Failure.START


class NotOurs(PlatformError):
    """The thing exists but carries another cluster's identity."""

    failure = Failure.NOT_OURS
