"""Slices of the operator's own hosts.

Decides which hosts a slice gets and what is known of them; what happens on a
host is `Hosts`, what is remembered is `Records`. A host that cannot be reached
is neither free nor gone: it is left alone, with a reason, and tried again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from iris_platform.base import (
    HOST_LOG_BYTES,
    BeingDeleted,
    ClusterIdentity,
    HostLog,
    NotOurs,
    PartlySeen,
    PlatformError,
    Refused,
    SliceCloudState,
    SliceInfo,
    SliceSpec,
    StartFailed,
    Unreachable,
    VmInfo,
    VmState,
)
from iris_platform.files import last_lines
from iris_platform.manual.hosts import NOT_THE_SAME, HostReport, Hosts, NotTheSameHost, Outcome, is_the_same
from iris_platform.manual.pool import Asides, free_hosts, listed, told, too_few, unknown
from iris_platform.manual.records import ManualSlice, Records
from iris_platform.names import is_ours, parse_slice_name
from iris_platform.vm_platform import has_labels, slice_state

Seen = Mapping[str, "HostReport | PlatformError"]


@dataclass(frozen=True)
class PoolSettings:
    """One pool of hosts: whose it is, and how long tasks on them outlive contact.

    `lease_ms` is the longest task lease of its groups, with its margin.
    `boot_ms` is how long an agent may take to come up.
    """

    identity: ClusterIdentity
    groups: tuple[str, ...]
    hosts: tuple[str, ...]
    lease_ms: int
    boot_ms: int


class ManualSlices:
    """The slices of one pool of hosts."""

    def __init__(self, settings: PoolSettings, hosts: Hosts, records: Records) -> None:
        self._settings = settings
        self._hosts = hosts
        self._records = records
        self._asides = Asides()
        # Slices that were taken off the last of their hosts: no other host can have them.
        self._removed: set[str] = set()

    # -- looking -------------------------------------------------------------

    def list_slices(self, labels: Mapping[str, str], now_ms: int) -> list[SliceInfo]:
        """This cluster's slices that carry all `labels`, by name; those to be cleaned up included.

        Raises:
            PartlySeen: of a host that cannot be reached it is not known
                whether it is part of a slice; with the slices of the others.
        """
        seen = self._hosts.look(self._settings.hosts)
        self._take_over(seen)
        # Hosts may be in several pools; their slices are each of one group.
        ours = [record for record in self._records.all() if record.spec.group in self._settings.groups]
        infos = (self._info(record, seen, now_ms) for record in ours)
        found = [info for info in infos if has_labels(info.labels, labels)]
        if blind := self._blind(seen):
            raise PartlySeen(unknown(blind), found)
        return found

    def get_slice(self, name: str, now_ms: int) -> SliceInfo | None:
        """One slice; None when nothing of it is left, or nothing that can still run."""
        parts = parse_slice_name(name)
        if parts is None:
            return None
        if parts.cluster_id != self._settings.identity.cluster_id:
            raise NotOurs(f"slice {name}: not a name of cluster {self._settings.identity.cluster_id}")
        record = self._records.read(name)
        if record is None:
            seen = self._hosts.look(self._settings.hosts)
            self._take_over(seen)
            record = self._records.read(name)
            if record is None:
                if name not in self._removed:
                    self._refuse_blind(seen)
                return None
        if record.is_abandoned:
            return None
        return self._info(record, self._hosts.look(record.unclean), now_ms)

    def host_log(self, name: str, index: int, zone: str) -> HostLog:
        """The end of what the agent said on one host of a slice; writes nothing down.

        Raises:
            NotOurs: not a name of this cluster.
            Refused: there is no such slice or host, or nothing of it on the host.
            Unreachable: the host does not answer, or it is not known which one it is.
        """
        parts = parse_slice_name(name)
        if parts is not None and parts.cluster_id != self._settings.identity.cluster_id:
            raise NotOurs(f"slice {name}: not a name of cluster {self._settings.identity.cluster_id}")
        record = self._find(name) if parts is not None else None
        if record is None or record.zone != zone:
            raise Refused(f"there is no slice {name} in zone {zone}")
        if not 0 <= index < len(record.hosts):
            raise Refused(f"slice {name} has no host {index}")
        host = record.hosts[index]
        found = self._hosts.look([host])[host]
        if isinstance(found, PlatformError):
            raise found
        if found.slice is None or found.slice.spec.name != name:
            raise Refused(f"{host}: has nothing of slice {name}, not yet or not any more")
        return HostLog(host, last_lines(found.log_tail, HOST_LOG_BYTES))

    def _find(self, name: str) -> ManualSlice | None:
        """A slice as it is written down here, else on its hosts; None where there is none."""
        record = self._records.read(name)
        if record is not None:
            return record
        seen = self._hosts.look(self._settings.hosts)
        for found in seen.values():
            if isinstance(found, HostReport) and found.slice and found.slice.spec.name == name:
                return found.slice
        self._refuse_blind(seen)
        return None

    def _take_over(self, seen: Seen) -> None:
        """Writes down slices that only the hosts know of: our records were lost."""
        reports = {host: report for host, report in seen.items() if isinstance(report, HostReport)}
        for report in reports.values():
            record = report.slice
            if record is None or not self._is_ours(record):
                continue
            with self._records.lock(record.spec.name):
                if self._records.read(record.spec.name) is None:
                    self._records.write(replace(record, deleting_since_ms=0, clean=frozenset()))
        self._records.note_known(reports)

    def _refuse_blind(self, seen: Seen) -> None:
        if blind := self._blind(seen):
            raise Unreachable(unknown(blind))

    def _blind(self, seen: Seen) -> dict[str, PlatformError]:
        """The hosts that may have a slice of which nothing is known."""
        known = self._records.known()
        taken = self._taken()
        return {
            host: error
            for host, error in seen.items()
            if isinstance(error, PlatformError) and host not in known and host not in taken
        }

    def _is_ours(self, record: ManualSlice) -> bool:
        return is_ours(record.spec.name, record.spec.labels, self._settings.identity.cluster_id)

    def _info(self, record: ManualSlice, seen: Seen, now_ms: int) -> SliceInfo:
        vms, details = [], []
        for index, host in enumerate(record.hosts):
            if host in record.clean:
                state, detail = VmState.TERMINATED, ""
            else:
                state, detail = self._host_state(record, host, seen.get(host), now_ms)
            vms.append(
                VmInfo(
                    vm_id=f"{record.spec.name}/{index}",
                    address=host,
                    zone=record.zone,
                    labels=record.spec.labels,
                    state=state,
                    created_at_ms=record.created_at_ms,
                )
            )
            details += [f"{host}: {detail}"] if detail else []
        deleting = record.deleting_since_ms > 0
        return SliceInfo(
            slice_id=record.spec.name,
            zone=record.zone,
            labels=record.spec.labels,
            state=SliceCloudState.DELETING if deleting else slice_state(vm.state for vm in vms),
            vms=tuple(vms),
            created_at_ms=record.created_at_ms,
            detail="; ".join(details),
        )

    def _host_state(
        self, record: ManualSlice, host: str, found: HostReport | PlatformError | None, now_ms: int
    ) -> tuple[VmState, str]:
        if not isinstance(found, HostReport):
            # Not seen is not gone: its agent, which dials us, is the better witness.
            return VmState.RUNNING, f"cannot be reached: {found}" if found else "is not in the pool any more"
        if not is_the_same(record, host, found):
            # Nor is this: what was started may run on, and be in contact, somewhere else.
            return VmState.RUNNING, NOT_THE_SAME
        if found.slice is not None and found.slice.spec.name == record.spec.name and found.is_running:
            return VmState.RUNNING, ""
        if now_ms - record.created_at_ms < self._settings.boot_ms:
            return VmState.BOOTING, found.detail
        return VmState.FAILED, found.detail or "its agent does not run"

    # -- making --------------------------------------------------------------

    def create_slice(self, spec: SliceSpec, zone: str, now_ms: int) -> None:
        """Give a slice its hosts and start their agents; the same name is the same slice.

        Raises:
            NoCapacity: not enough hosts are free and well; says why not.
            BeingDeleted: it is, or its deletion began meanwhile.
            StartFailed: an agent did not start; what was made stays listed.
            Refused: not a slice's specification of this cluster, or another one.
        """
        if not is_ours(spec.name, spec.labels, self._settings.identity.cluster_id) or spec.hosts < 1:
            raise Refused(f"slice {spec.name}: name, labels or number of hosts are not of this cluster")
        with self._records.lock(spec.name):
            record = self._records.read(spec.name)
            if record is None:
                with self._records.lock():
                    record = self._give(spec, zone, now_ms)
                self._removed.discard(spec.name)
            elif record.spec != spec:
                raise NotOurs(f"slice {spec.name}: exists with other labels, or another shape")
            elif record.deleting_since_ms:
                raise BeingDeleted(f"slice {spec.name}: is being deleted")
            self._start(record, now_ms)

    def _give(self, spec: SliceSpec, zone: str, now_ms: int) -> ManualSlice:
        """Chooses hosts and writes down that the slice has them."""
        pool = self._settings.hosts
        taken = self._taken()
        troubles = self._left_alone(now_ms)
        chosen: dict[str, str] = {}
        free = free_hosts(pool, taken, self._asides, now_ms)
        while len(chosen) < spec.hosts and free:
            tried, free = free[: spec.hosts - len(chosen)], free[spec.hosts - len(chosen) :]
            for host, found in self._hosts.look(tried).items():
                why = self._why_not(found)
                if not why and isinstance(found, HostReport):
                    chosen[host] = found.boot_id
                    continue
                troubles[host] = why
                self._asides.put(host, why, now_ms)
        if len(chosen) < spec.hosts:
            raise too_few(spec.hosts, len(chosen), troubles, self._holders())
        boot_ids = tuple(chosen.values())
        record = ManualSlice(spec, zone, tuple(chosen), now_ms, boot_ids=boot_ids if all(boot_ids) else ())
        self._records.write(record)
        self._records.note_known(chosen)
        return record

    def _why_not(self, found: HostReport | PlatformError) -> str:
        if isinstance(found, PlatformError):
            return str(found)
        if not found.cluster_id:
            return ""
        if found.cluster_id != self._settings.identity.cluster_id:
            whose = f"{found.cluster or '?'} (id {found.cluster_id})"
            return f"belongs to another cluster, {whose}; stop that one first"
        if found.slice is None and not found.is_running:
            # A start that was broken off; the next one clears it away.
            return ""
        name = found.slice.spec.name if found.slice else "an agent"
        return f"still has {name} of this cluster"

    def _start(self, record: ManualSlice, now_ms: int) -> None:
        failed = _failures(self._hosts.start(record))
        if any(isinstance(error, BeingDeleted) for error in failed.values()):
            # Whoever deletes it said so to its agents. That is no trouble of a host.
            raise BeingDeleted(f"slice {record.spec.name}: is being deleted")
        for host in record.hosts:
            if host in failed:
                self._asides.put(host, str(failed[host]), now_ms)
            else:
                self._asides.clear(host)
        if failed:
            raise StartFailed(f"slice {record.spec.name}: {told(failed)}")

    # -- removing ------------------------------------------------------------

    def delete_slice(self, name: str, now_ms: int) -> None:
        """Take a slice off its hosts; fine if nothing is left.

        A host that cannot be reached keeps its part of the slice until it can;
        when its lease has passed nothing runs there any more.

        Raises:
            NotOurs: not a name of this cluster.
            Unreachable: something of it may still run.
        """
        if self._records.read(name) is None and self.get_slice(name, now_ms) is None:
            return
        with self._records.lock(name):
            record = self._records.read(name)
            if record is None:
                return
            if not record.deleting_since_ms:
                record = replace(record, deleting_since_ms=max(1, now_ms))
                self._records.write(record)
            outcomes = self._hosts.remove(record, record.unclean)
            failed = _failures(outcomes)
            lease_over = now_ms - record.deleting_since_ms > self._settings.lease_ms
            if lease_over:
                # Whatever machine it was, nothing runs on it any more; and this one has nothing of it.
                failed = {h: error for h, error in failed.items() if not isinstance(error, NotTheSameHost)}
            self._records.note_clean(name, outcomes.keys() - failed.keys())
            if not failed:
                self._removed.add(name)
        for host, error in failed.items():
            self._asides.put(host, f"not cleaned: {error}", now_ms)
        if not failed:
            return
        if lease_over and all(isinstance(error, Unreachable) for error in failed.values()):
            self._records.note_abandoned(name)
            return
        raise Unreachable(f"slice {name}: {listed(failed)}")

    def troubles(self, now_ms: int) -> list[str]:
        """Every host that is left alone for now, with its reason."""
        return [f"host {host} is left alone for now: {why}" for host, why in self._left_alone(now_ms).items()]

    def tidy(self) -> None:
        """Remove what hosts without a slice keep, and starts that are still on their way to them.

        Raises:
            Unreachable: a host could not be cleaned.
        """
        free = [host for host in self._settings.hosts if host not in self._taken()]
        if failed := _failures(self._hosts.tidy(self._settings.identity.cluster_id, free)):
            raise Unreachable(listed(failed))

    def _left_alone(self, now_ms: int) -> dict[str, str]:
        hosts = self._settings.hosts
        return {host: why for host in hosts if (why := self._asides.reason(host, now_ms))}

    def _holders(self) -> list[str]:
        """The slices that have hosts of this pool, by name."""
        return [
            record.spec.name for record in self._records.all() if {*record.unclean} & {*self._settings.hosts}
        ]

    def _taken(self) -> set[str]:
        """Hosts that a slice has, or has left something on."""
        return {host for record in self._records.all() for host in record.unclean}


def _failures(outcomes: Mapping[str, Outcome]) -> dict[str, PlatformError]:
    return {host: error for host, error in outcomes.items() if error is not None}
