"""What is done on one host, and what is seen there; how is not said here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from iris_platform.base import PlatformError
from iris_platform.manual.records import ManualSlice


@dataclass(frozen=True)
class HostReport:
    """What was seen on a host.

    `cluster_id` is that of whoever labelled it, empty where nothing of Iris is
    there; `slice` is what its labels say of the slice that it is part of, and
    `log_tail` the end of what its agent said.
    """

    cluster_id: str = ""
    slice: ManualSlice | None = None
    is_running: bool = False
    detail: str = ""
    log_tail: str = ""


Outcome: TypeAlias = "PlatformError | None"


class Hosts(Protocol):
    """Reaches the hosts of one pool, many at a time; every call has a deadline."""

    def look(self, hosts: Sequence[str]) -> Mapping[str, HostReport | PlatformError]:
        """What is on each host, or why that cannot be seen."""
        ...

    def start(self, record: ManualSlice) -> Mapping[str, Outcome]:
        """Label every host of a slice and start its agent.

        Harmless where that was done before. An error says why a host could
        not, with the end of its log and what to do.
        """
        ...

    def remove(self, slice_name: str, hosts: Sequence[str]) -> Mapping[str, Outcome]:
        """Take away everything of a slice; fine where there is nothing, or another slice."""
        ...

    def tidy(self, hosts: Sequence[str]) -> Mapping[str, Outcome]:
        """Take away what is kept for the next slice; hosts of others stay as they are."""
        ...
