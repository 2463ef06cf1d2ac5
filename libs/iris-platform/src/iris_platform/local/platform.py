"""`LocalPlatform`: slices of processes on this machine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from iris_platform import PlatformSettings
from iris_platform.base import (
    HostLog,
    NotOurs,
    Refused,
    SliceCloudState,
    SliceInfo,
    SliceSpec,
    Unreachable,
    VmBootstrapSpec,
    VmInfo,
    VmState,
)
from iris_platform.controller_file import ControllerFileError, read_controller_file
from iris_platform.controller_vm import STOP_S, find_controller, stop_controller
from iris_platform.env_probe import Environment
from iris_platform.launch import find_executable
from iris_platform.local.agents import Look, end_agents, never_started, read_log, start_agents
from iris_platform.local.disk import SliceRecord, SliceStore
from iris_platform.names import (
    LABEL_CLUSTER,
    LABEL_CLUSTER_ID,
    LABEL_ROLE,
    is_ours,
    parse_slice_name,
    slice_labels,
)
from iris_platform.vm_platform import GroupVmManager, VmManager, has_labels, resolve_zone, slice_state

# Not to hide a cycle: protobuf must not be loaded with this package.
if TYPE_CHECKING:
    from iris_proto.v1.config_pb2 import ScaleGroupConfig

AGENT = "iris-bootstrap"
RUN = ("run", "--detach")
ADDRESS = "127.0.0.1"
# Another call about the same slice starts or ends agents, within their limits.
LOCK_S = 60.0


def make_platform(settings: PlatformSettings) -> LocalPlatform:
    """The platform that `create_platform` returns for `local: {}`."""
    return LocalPlatform(settings)


class LocalPlatform:
    """Slices as directories and detached processes; see `Platform`."""

    def __init__(self, settings: PlatformSettings) -> None:
        self._settings = settings
        self._identity = settings.identity
        self._store = SliceStore(settings.paths.local_root.absolute())

    def zones(self) -> Sequence[str]:
        """See `Platform.zones`."""
        return self._settings.zones

    def list_vms(self, labels: Mapping[str, str], zone: str | None = None) -> list[VmInfo]:
        """The controller's process, if it runs; it is in the first zone."""
        zone = resolve_zone(self.zones(), zone)
        vm = self._controller(zone)
        return [vm] if vm and zone == self.zones()[0] and has_labels(vm.labels, labels) else []

    def start_vms(self, spec: VmBootstrapSpec, count: int = 1, zone: str | None = None) -> list[VmInfo]:
        """Refused: `controller_vm.LocalController` starts the only one there is."""
        resolve_zone(self.zones(), zone)
        raise Refused("a local cluster has no machines outside slices but its controller's process")

    def stop_vms(self, ids: Sequence[str], zone: str | None = None) -> None:
        """Stop the controller's process, if it is among `ids`."""
        if any(vm.vm_id in ids for vm in self.list_vms({}, zone)):
            stop_controller(self._settings.paths, STOP_S)

    def list_slices(self, labels: Mapping[str, str], zone: str | None = None) -> list[SliceInfo]:
        """See `Platform.list_slices`.

        Slices of which only processes are left, their directories having been
        removed by somebody else, are listed too, as FAILED in the first zone.

        Raises:
            Unreachable: something on disk cannot be read or understood.
        """
        zone = resolve_zone(self.zones(), zone)
        look = Look()
        found = []
        for name in self._store.names():
            record = self._ours(name)
            if record is not None and record.zone == zone:
                found.append(self._info(record, look))
        if zone == self.zones()[0]:
            found += self._strays(look)
        return [info for info in sorted(found, key=_by_name) if has_labels(info.labels, labels)]

    def get_slice(self, slice_id: str, zone: str | None = None) -> SliceInfo | None:
        """See `Platform.get_slice`."""
        zone = resolve_zone(self.zones(), zone)
        if parse_slice_name(slice_id) is None:
            return None
        record = self._store.read(slice_id)
        look = Look()
        if record is None:
            strays = self._strays(look) if zone == self.zones()[0] else []
            return next((info for info in strays if info.slice_id == slice_id), None)
        self._check_ours(record)
        return self._info(record, look) if record.zone == zone else None

    def create_slice(self, spec: SliceSpec, zone: str | None = None) -> None:
        """See `Platform.create_slice`; returns when the agents run.

        Repeated, it starts those agents that were never started, and no others:
        a slice whose agent has ended stays as it is.

        Raises:
            StartFailed: an agent did not start; what was made stays listed.
            Unreachable: an agent took too long, or another call is at work.
        """
        zone = resolve_zone(self.zones(), zone)
        if not is_ours(spec.name, spec.labels, self._identity.cluster_id) or spec.hosts < 1:
            raise Refused(
                f"slice {spec.name}: name, labels or number of hosts are not a slice's of this cluster"
            )
        command = self._agent_command()
        with _reported(spec.name), self._store.lock(spec.name, LOCK_S):
            now_ms = self._settings.now_ms()
            record = self._store.read(spec.name)
            if record is None:
                record = SliceRecord(spec, zone, now_ms, now_ms)
                self._store.create(record, self._environments(record))
            else:
                self._check_same(record, spec, zone)
                self._store.note_start(record, now_ms)
            dirs = [self._store.host_dir(spec.name, index) for index in range(spec.hosts)]
            start_agents(command, never_started(dirs), self._settings.agent_start_s)

    def delete_slice(self, slice_id: str, zone: str | None = None) -> None:
        """See `Platform.delete_slice`; returns when nothing of it runs or is on disk.

        A slice whose record cannot be read goes whatever its zone: under our
        own root and with our id in its name it is ours.

        Raises:
            Unreachable: a process does not end, or another call is at work.
        """
        zone = resolve_zone(self.zones(), zone)
        parts = parse_slice_name(slice_id)
        if parts is None or parts.cluster_id != self._identity.cluster_id:
            raise NotOurs(f"slice {slice_id}: not a name of cluster {self._identity.cluster_id}")
        with _reported(slice_id), self._store.lock(slice_id, LOCK_S):
            record = self._record_to_delete(slice_id)
            hosts = {*self._store.host_dirs(slice_id), *self._marked_hosts(slice_id)}
            if record is not None:
                self._check_ours(record)
                if record.zone != zone:
                    return
                hosts |= {self._store.host_dir(slice_id, i) for i in range(record.spec.hosts)}
            if self._store.exists(slice_id):
                self._store.mark_deleting(slice_id)
            end_agents(sorted(hosts), self._settings.agent_stop_s)
            self._store.remove(slice_id)

    def host_log(self, slice_id: str, index: int, zone: str | None = None) -> HostLog:
        """See `Platform.host_log`."""
        zone = resolve_zone(self.zones(), zone)
        record = self._store.read(slice_id) if parse_slice_name(slice_id) is not None else None
        if record is None or record.zone != zone:
            raise Refused(f"there is no slice {slice_id} in zone {zone}")
        self._check_ours(record)
        if not 0 <= index < record.spec.hosts:
            raise Refused(f"slice {slice_id} has no host {index}")
        return HostLog(ADDRESS, read_log(self._store.host_dir(slice_id, index)))

    def troubles(self) -> list[str]:
        """None: a local host is there or not."""
        return []

    def tidy(self, zone: str | None = None) -> None:
        """Nothing is kept between slices."""
        resolve_zone(self.zones(), zone)

    @contextmanager
    def serve(self, addresses: tuple[str, str]) -> Iterator[None]:
        """Nothing to do: everything is on this machine."""
        yield

    @contextmanager
    def tunnel(self, address: str) -> Iterator[str]:
        """The address itself: everything is on this machine."""
        yield address

    def vm_manager(self, group: ScaleGroupConfig) -> VmManager:
        """See `Platform.vm_manager`."""
        return LocalVmManager(self, group, self._identity)

    def _record_to_delete(self, name: str) -> SliceRecord | None:
        """A slice's record; None where there is none that can be read."""
        try:
            return self._store.read(name)
        except Unreachable:
            return None

    def _marked_hosts(self, name: str) -> set[Path]:
        """The hosts of a slice of which something runs, their directories gone or not."""
        place = self._store.root.resolve() / name
        return {path for path in Look().marked() if path.parent == place and path.name.isdecimal()}

    def _ours(self, name: str) -> SliceRecord | None:
        """A slice's record if both its name and its labels are ours."""
        parts = parse_slice_name(name)
        if parts is None or parts.cluster_id != self._identity.cluster_id:
            return None
        record = self._store.read(name)
        ours = record and is_ours(name, record.spec.labels, self._identity.cluster_id)
        return record if ours else None

    def _check_ours(self, record: SliceRecord) -> None:
        spec = record.spec
        if not is_ours(spec.name, spec.labels, self._identity.cluster_id):
            other = spec.labels.get(LABEL_CLUSTER_ID, "none")
            raise NotOurs(f"slice {spec.name}: carries cluster id {other}, not {self._identity.cluster_id}")

    def _check_same(self, record: SliceRecord, spec: SliceSpec, zone: str) -> None:
        if dict(record.spec.labels) != dict(spec.labels):
            raise NotOurs(f"slice {spec.name}: exists with other labels: {dict(record.spec.labels)}")
        if record.zone != zone:
            raise Refused(f"slice {spec.name}: exists in zone {record.zone}, not {zone}")
        if record.spec != spec:
            raise Refused(f"slice {spec.name}: exists with another shape")
        if self._store.is_deleting(spec.name):
            raise Refused(f"slice {spec.name}: is being deleted")

    def _environments(self, record: SliceRecord) -> list[Environment]:
        spec = record.spec
        return [
            Environment(
                cluster=self._identity.cluster,
                cluster_id=self._identity.cluster_id,
                slice_name=spec.name,
                worker_index=index,
                group=spec.group,
                zone=record.zone,
                accelerator_type=spec.accelerator_type,
                cpu_millis=spec.resources.cpu_millis,
                memory_bytes=spec.resources.memory_bytes,
                labels=spec.labels,
                controller_file=self._settings.paths.controller_file.absolute(),
                # All hosts are this machine, and nobody else is to reach their tasks.
                address="127.0.0.1",
            )
            for index in range(spec.hosts)
        ]

    def _agent_command(self) -> list[str]:
        settings = self._settings
        timeout = ["--orphan-timeout", f"{settings.orphan_timeout_s:g}"]
        if settings.agent_command is not None:
            return [*settings.agent_command, *RUN, *timeout]
        executable = find_executable(AGENT)
        if executable is None:
            raise Refused(f"{AGENT} is neither beside this Python nor on PATH; is iris-bootstrap installed?")
        return [executable, *RUN, *timeout]

    def _info(self, record: SliceRecord, look: Look) -> SliceInfo:
        spec = record.spec
        age_ms = self._settings.now_ms() - record.started_at_ms
        vms, details = [], []
        for index in range(spec.hosts):
            host_dir = self._store.host_dir(spec.name, index)
            state, detail = look.host_state(host_dir, age_ms, self._settings.agent_start_s)
            vms.append(_vm(spec.name, index, record.zone, spec.labels, state, record.created_at_ms))
            details += [f"host {index}: {detail}"] if detail else []
        deleting = self._store.is_deleting(spec.name)
        state_ = SliceCloudState.DELETING if deleting else slice_state(vm.state for vm in vms)
        return SliceInfo(
            slice_id=spec.name,
            zone=record.zone,
            labels=spec.labels,
            state=state_,
            vms=tuple(vms),
            created_at_ms=record.created_at_ms,
            detail="; ".join(details),
        )

    def _strays(self, look: Look) -> list[SliceInfo]:
        """Slices of ours whose directory was removed under their processes."""
        hosts: dict[str, list[int]] = defaultdict(list)
        for path in self._stray_hosts(look):
            hosts[path.parent.name].append(int(path.name))
        zone = self.zones()[0]
        found = []
        for name, indexes in hosts.items():
            parts = parse_slice_name(name)
            assert parts is not None  # _stray_hosts has looked
            labels = slice_labels(self._identity.cluster, parts.cluster_id, parts.group, name)
            vms = [_vm(name, i, zone, labels, VmState.FAILED, 0) for i in sorted(indexes)]
            detail = f"{self._store.root / name} is gone, but not all of its processes"
            found.append(SliceInfo(name, zone, labels, SliceCloudState.FAILED, tuple(vms), 0, detail))
        return found

    def _stray_hosts(self, look: Look) -> list[Path]:
        root = self._store.root.resolve()
        on_disk = set(self._store.names())

        def is_stray(path: Path) -> bool:
            parts = parse_slice_name(path.parent.name)
            ours = parts is not None and parts.cluster_id == self._identity.cluster_id
            return (
                ours
                and path.parent.parent == root
                and path.parent.name not in on_disk
                and path.name.isdecimal()
            )

        strays = {path for path in look.marked() if is_stray(path)}
        # A deletion may have ended between that look and the listing; its
        # processes were gone before its directory.
        return sorted(strays & look.marked_now()) if strays else []

    def _controller(self, zone: str) -> VmInfo | None:
        paths, identity = self._settings.paths, self._identity
        process = find_controller(paths)
        if process is None:
            return None
        try:
            record = read_controller_file(paths.controller_file)
        except ControllerFileError:
            record = None
        known = record is not None and (record.pid, record.start_time) == process
        labels = {
            LABEL_CLUSTER: identity.cluster,
            LABEL_CLUSTER_ID: identity.cluster_id,
            LABEL_ROLE: "controller",
        }
        return VmInfo(
            vm_id=f"iris-{identity.cluster_id}-controller",
            address=record.address if record and known else "",
            zone=zone,
            labels=labels,
            state=VmState.RUNNING if known else VmState.BOOTING,
            created_at_ms=_written_ms(paths.controller_file if known else paths.config_file),
        )


class LocalVmManager(GroupVmManager):
    """A local scale group bound to its platform; see `VmManager`."""


@contextmanager
def _reported(name: str) -> Iterator[None]:
    """Turn what the file system says (disk full, not permitted) into a platform's error."""
    try:
        yield
    except OSError as error:
        raise Unreachable(f"slice {name}: {error}") from error


def _vm(
    name: str, index: int, zone: str, labels: Mapping[str, str], state: VmState, created_at_ms: int
) -> VmInfo:
    return VmInfo(f"{name}/{index}", ADDRESS, zone, labels, state, created_at_ms)


def _written_ms(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns // 1_000_000
    except OSError:
        return 0


def _by_name(info: SliceInfo) -> str:
    return info.slice_id
