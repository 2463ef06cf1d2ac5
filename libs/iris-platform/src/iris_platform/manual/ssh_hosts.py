"""`Hosts` over SSH: looks at hosts, starts agents on them, and takes everything away again.

Every host is on its own: one that cannot be reached, refuses, or is slow never
holds up the others, and has an answer that says why.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from iris_platform.base import PlatformError, Refused, Unreachable
from iris_platform.bootstrap import NO_BUNDLE
from iris_platform.joining import Joining
from iris_platform.manual.hosts import NOT_THE_SAME, HostReport, NotTheSameHost, is_the_same
from iris_platform.manual.hosts import Outcome as HostOutcome
from iris_platform.manual.parked import Parked
from iris_platform.manual.records import ManualSlice, slice_from_json
from iris_platform.manual.startup import SLICE_FILE, HostSettings, Placed, worker_startup
from iris_platform.names import LABEL_CLUSTER_ID
from iris_platform.slice_json import CorruptSlice
from iris_platform.ssh import Connect, SshConnection, SshTarget, for_each
from iris_platform.worker_vm import LOOK_S, PULL_S, REMOVE_S, START_S, WorkerVm

# Beside what runs over there: for connecting, and for an answer to come back.
SPARE_S = 60.0


class Then(enum.Enum):
    """What becomes of a connection after a step: it waits for the next one, or goes on waiting if it did."""

    KEEP = enum.auto()
    AS_FOUND = enum.auto()
    CLOSE = enum.auto()


class SshHosts:
    """See `Hosts`. `joining` is None where nothing is ever started: for a stop.

    `way_back` returns when a host can reach the controller, or says why not.
    """

    def __init__(
        self,
        targets: Mapping[str, SshTarget],
        connect: Connect,
        settings: HostSettings,
        joining: Joining | None,
        way_back: Callable[[str], None] = lambda host: None,
    ) -> None:
        self._targets = targets
        self._connect = connect
        self._settings = settings
        self._joining = joining
        self._way_back = way_back
        self._parked = Parked()

    def look(self, hosts: Sequence[str], *, keep: bool = False) -> Mapping[str, HostReport | PlatformError]:
        """See `Hosts.look`."""
        most = self._settings.max_parallel
        return for_each(hosts, lambda host: self._look(host, keep=keep), most, LOOK_S + SPARE_S)

    def start(self, record: ManualSlice) -> Mapping[str, HostOutcome]:
        """See `Hosts.start`."""
        indexes = {host: index for index, host in enumerate(record.hosts)}
        seconds = START_S + (PULL_S if self._settings.container.image else 0.0)
        return self._each(record.hosts, lambda host: self._start(record, host, indexes[host]), seconds)

    def remove(self, record: ManualSlice, hosts: Sequence[str]) -> Mapping[str, HostOutcome]:
        """See `Hosts.remove`."""
        return self._each(hosts, lambda host: self._remove(record, host), REMOVE_S)

    def tidy(self, cluster_id: str, hosts: Sequence[str]) -> Mapping[str, HostOutcome]:
        """See `Hosts.tidy`."""
        return self._each(hosts, lambda host: self._tidy(cluster_id, host), REMOVE_S)

    def _each(
        self, hosts: Sequence[str], work: Callable[[str], None], seconds: float
    ) -> Mapping[str, HostOutcome]:
        answers = for_each(hosts, work, self._settings.max_parallel, seconds + SPARE_S)
        return {
            host: answer if isinstance(answer, PlatformError) else None for host, answer in answers.items()
        }

    @contextmanager
    def _reach(self, host: str, then: Then = Then.CLOSE) -> Iterator[WorkerVm]:
        """A host, perhaps by the connection of the step before; `then` says what becomes of that."""
        kept = self._parked.take(host)
        connection = kept.connection if kept is not None else self._dial(host)
        parks = False
        try:
            yield WorkerVm(connection, host, self._settings.root)
            parks = connection.is_alive
        finally:
            if parks and then is Then.KEEP:
                self._parked.park(host, connection)
            elif parks and then is Then.AS_FOUND and kept is not None:
                self._parked.park(host, connection, kept.deadline)
            else:
                connection.close()

    def _dial(self, host: str) -> SshConnection:
        target = self._targets.get(host)
        if target is None:
            raise Unreachable(f"{host} is not in the configuration any more")
        return self._connect(target)

    # -- looking -------------------------------------------------------------

    def _look(self, host: str, *, keep: bool) -> HostReport:
        with self._reach(host, Then.KEEP if keep else Then.AS_FOUND) as vm:
            return _report(host, vm)

    # -- starting ------------------------------------------------------------

    def _start(self, record: ManualSlice, host: str, index: int) -> None:
        joining = self._joining
        if joining is None:
            raise Refused("nothing is started without a controller")
        # The controller looks at a slice as soon as it was made.
        with self._reach(host, Then.KEEP) as vm:
            report = _report(host, vm)
            if report.is_running and report.slice is not None and report.slice.spec.name == record.spec.name:
                return
            placed = Placed(record, index, self._targets[host].host)
            startup = worker_startup(self._settings, joining, placed, NO_BUNDLE)
            startup = replace(startup, bundle=vm.bring(startup, joining.bundle_for))
            # It joins before this command ends.
            self._way_back(host)
            vm.start(startup, joining.mint(record.spec.name, index).encode("ascii") + b"\n")

    # -- removing ------------------------------------------------------------

    def _remove(self, record: ManualSlice, host: str) -> None:
        cluster_id = record.spec.labels[LABEL_CLUSTER_ID]
        with self._reach(host) as vm:
            report = _report(host, vm)
            if not is_the_same(record, host, report):
                raise NotTheSameHost(f"{host}: {NOT_THE_SAME}; elsewhere it ends with its lease")
            if report.slice is not None and report.slice.spec.name != record.spec.name:
                return
            # Where nothing of it is seen it may be about to come.
            if report.cluster_id in ("", cluster_id):
                vm.remove(cluster_id)

    def _tidy(self, cluster_id: str, host: str) -> None:
        with self._reach(host) as vm:
            report = _report(host, vm)
            # Somebody's agent needs its bundle. What is ours came up after the last look:
            # from a start whose controller is gone, and there may be more on their way.
            if report.cluster_id == cluster_id or not (report.cluster_id or report.is_running):
                vm.remove(cluster_id, bundles=True)


def _report(host: str, vm: WorkerVm) -> HostReport:
    found = vm.look()
    try:
        known = slice_from_json(f"{host}: {SLICE_FILE}", found.slice) if found.slice is not None else None
    except CorruptSlice:
        known = None
    return HostReport(
        cluster_id=found.cluster_id,
        cluster=found.cluster,
        boot_id=found.boot_id,
        slice=known,
        is_running=found.is_running,
        detail=found.detail,
        log_tail=found.log_tail,
    )
