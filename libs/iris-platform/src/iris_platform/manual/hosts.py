"""What is done on one host, and what is seen there; how is not said here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from iris_platform.base import PlatformError, Unreachable
from iris_platform.manual.records import ManualSlice

NOT_THE_SAME = "another machine is at this address, or it was installed anew: nothing of the slice is there"


@dataclass(frozen=True)
class HostReport:
    """What was seen on a host.

    `cluster_id` is that of whoever labelled it, empty where nothing of Iris is
    there, and `cluster` its name; `slice` is what its labels say of the slice
    that it is part of. `boot_id` is of the boot that it is in, empty where it
    does not say; `log_tail` the end of what its agent said.
    """

    cluster_id: str = ""
    cluster: str = ""
    boot_id: str = ""
    slice: ManualSlice | None = None
    is_running: bool = False
    detail: str = ""
    log_tail: str = ""


class NotTheSameHost(Unreachable):
    """What was started cannot be asked: another machine is at its address, or it was installed anew."""


Outcome: TypeAlias = "PlatformError | None"


def is_the_same(record: ManualSlice, host: str, found: HostReport) -> bool:
    """Whether a host is the machine that a slice was given, as far as can be told.

    One that started anew keeps what is on its disk; one that has neither its boot
    nor its slice is another, or has another disk.
    """
    given = record.boot_ids[record.hosts.index(host)] if record.boot_ids else ""
    if not given or not found.boot_id or given == found.boot_id:
        return True
    return found.slice is not None and found.slice.spec.name == record.spec.name


class Hosts(Protocol):
    """Reaches the hosts of one pool, many at a time; every call has a deadline."""

    def look(self, hosts: Sequence[str]) -> Mapping[str, HostReport | PlatformError]:
        """What is on each host, or why that cannot be seen. `keep`: they are about to be started."""
        ...

    def start(self, record: ManualSlice) -> Mapping[str, Outcome]:
        """Label every host of a slice and start its agent.

        Harmless where that was done before. An error says why a host could
        not, with the end of its log and what to do.
        """
        ...

    def remove(self, record: ManualSlice, hosts: Sequence[str]) -> Mapping[str, Outcome]:
        """Take away everything of a slice; fine where there is nothing, or another slice.

        `NotTheSameHost` where that proves nothing: the machine that it was
        started on may run it still.
        """
        ...

    def tidy(self, cluster_id: str, hosts: Sequence[str]) -> Mapping[str, Outcome]:
        """Take away what is kept for the next slice, or was left of none; hosts of others stay as they are."""
        ...
