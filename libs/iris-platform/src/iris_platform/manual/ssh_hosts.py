"""`Hosts` over SSH: looks at hosts, starts agents on them, and takes everything away again.

Every host is on its own: one that cannot be reached, refuses, or is slow never
holds up the others, and has an answer that says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from iris_platform.base import PlatformError, Refused, Unreachable
from iris_platform.bootstrap import NO_BUNDLE
from iris_platform.joining import Joining
from iris_platform.manual.connections import Connections
from iris_platform.manual.hosts import NOT_THE_SAME, HostReport, NotTheSameHost, is_the_same
from iris_platform.manual.hosts import Outcome as HostOutcome
from iris_platform.manual.records import ManualSlice, slice_from_json
from iris_platform.manual.startup import SLICE_FILE, HostSettings, Placed, worker_startup
from iris_platform.names import LABEL_CLUSTER_ID
from iris_platform.slice_json import CorruptSlice
from iris_platform.ssh import SshTarget, for_each
from iris_platform.worker_vm import LOOK_S, PULL_S, REMOVE_S, START_S, WorkerVm

# Beside what runs over there: for connecting, and for an answer to come back.
SPARE_S = 60.0


class SshHosts:
    """See `Hosts`. `joining` is None where nothing is ever started: for a stop.

    `way_back` returns when a host can reach the controller, or says why not.
    """

    def __init__(
        self,
        targets: Mapping[str, SshTarget],
        connections: Connections,
        settings: HostSettings,
        joining: Joining | None,
        way_back: Callable[[str], None] = lambda host: None,
    ) -> None:
        self._targets = targets
        self._connections = connections
        self._settings = settings
        self._joining = joining
        self._way_back = way_back

    def look(self, hosts: Sequence[str]) -> Mapping[str, HostReport | PlatformError]:
        """See `Hosts.look`."""
        most = self._settings.max_parallel
        return for_each(hosts, self._look, most, LOOK_S + SPARE_S)

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
    def _reach(self, host: str, *, last: bool = False) -> Iterator[tuple[WorkerVm, HostReport]]:
        """A host, by the connection that all use, and what is there; `last`: this step ends its slice."""
        if host not in self._targets:
            raise Unreachable(f"{host} is not in the configuration any more")
        for is_second in (False, True):
            with self._connections.use(host, last=last) as connection:
                vm = WorkerVm(connection, host, self._settings.root)
                try:
                    report = _report(host, vm)
                except Unreachable:
                    if is_second or connection.is_alive:
                        raise
                    # It broke while nobody used it, and nobody noticed.
                    continue
                yield vm, report
                return

    # -- looking -------------------------------------------------------------

    def _look(self, host: str) -> HostReport:
        with self._reach(host) as (_, report):
            return report

    # -- starting ------------------------------------------------------------

    def _start(self, record: ManualSlice, host: str, index: int) -> None:
        joining = self._joining
        if joining is None:
            raise Refused("nothing is started without a controller")
        with self._reach(host) as (vm, report):
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
        with self._reach(host, last=True) as (vm, report):
            if not is_the_same(record, host, report):
                raise NotTheSameHost(f"{host}: {NOT_THE_SAME}; elsewhere it ends with its lease")
            if report.slice is not None and report.slice.spec.name != record.spec.name:
                return
            # Where nothing of it is seen it may be about to come.
            if report.cluster_id in ("", cluster_id):
                vm.remove(cluster_id)

    def _tidy(self, cluster_id: str, host: str) -> None:
        with self._reach(host, last=True) as (vm, report):
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
