"""The platform of manual hosts: the `Platform` protocol over one pool."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from iris_platform.base import (
    ClusterIdentity,
    HostLog,
    PartlySeen,
    Refused,
    SliceInfo,
    SliceSpec,
    VmBootstrapSpec,
    VmInfo,
)
from iris_platform.manual.forwards import Forwards
from iris_platform.manual.slices import ManualSlices
from iris_platform.vm_platform import GroupVmManager, VmManager, resolve_zone

# Not to hide a cycle: protobuf must not be loaded with this package.
if TYPE_CHECKING:
    from iris_proto.v1.config_pb2 import ScaleGroupConfig


class ManualPlatform:
    """The operator's own hosts, over SSH; see `Platform` for what each call means.

    `forwards` is None where hosts dial the controller themselves, and for a stop.
    """

    def __init__(
        self,
        identity: ClusterIdentity,
        zones: Sequence[str],
        slices: ManualSlices,
        now_ms: Callable[[], int],
        forwards: Forwards | None = None,
    ) -> None:
        self._identity = identity
        self._zones = tuple(zones)
        self._slices = slices
        self._now_ms = now_ms
        self._forwards = forwards

    def zones(self) -> Sequence[str]:
        """See `Platform.zones`."""
        return self._zones

    def list_vms(self, labels: Mapping[str, str], zone: str | None = None) -> list[VmInfo]:
        """None: the controller's host is `controller_vm`'s."""
        resolve_zone(self._zones, zone)
        return []

    def start_vms(self, spec: VmBootstrapSpec, count: int = 1, zone: str | None = None) -> list[VmInfo]:
        """Refused: `controller_vm` starts the controller on its host."""
        resolve_zone(self._zones, zone)
        raise Refused("a pool of manual hosts has no machines outside slices")

    def stop_vms(self, ids: Sequence[str], zone: str | None = None) -> None:
        """Nothing to stop; see `list_vms`."""
        resolve_zone(self._zones, zone)

    def list_slices(self, labels: Mapping[str, str], zone: str | None = None) -> list[SliceInfo]:
        """See `Platform.list_slices`."""
        zone = resolve_zone(self._zones, zone)
        try:
            found = self._slices.list_slices(labels, self._now_ms())
        except PartlySeen as error:
            raise PartlySeen(str(error), (info for info in error.slices if info.zone == zone)) from error
        return [info for info in found if info.zone == zone]

    def get_slice(self, slice_id: str, zone: str | None = None) -> SliceInfo | None:
        """See `Platform.get_slice`."""
        zone = resolve_zone(self._zones, zone)
        info = self._slices.get_slice(slice_id, self._now_ms())
        return info if info is not None and info.zone == zone else None

    def create_slice(self, spec: SliceSpec, zone: str | None = None) -> None:
        """See `Platform.create_slice`; returns when the agents run."""
        self._slices.create_slice(spec, resolve_zone(self._zones, zone), self._now_ms())

    def delete_slice(self, slice_id: str, zone: str | None = None) -> None:
        """See `Platform.delete_slice`; returns when the hosts are as they were."""
        resolve_zone(self._zones, zone)
        self._slices.delete_slice(slice_id, self._now_ms())

    def host_log(self, slice_id: str, index: int, zone: str | None = None) -> HostLog:
        """See `Platform.host_log`."""
        return self._slices.host_log(slice_id, index, resolve_zone(self._zones, zone))

    def troubles(self) -> list[str]:
        """Hosts that no slice gets for now, and why."""
        without_way = self._forwards.troubles() if self._forwards is not None else []
        return [*self._slices.troubles(self._now_ms()), *without_way]

    def tidy(self, zone: str | None = None) -> None:
        """Remove the bundles that hosts keep; see `Platform.tidy`."""
        resolve_zone(self._zones, zone)
        self._slices.tidy()

    @contextmanager
    def serve(self, addresses: tuple[str, str]) -> Iterator[None]:
        """See `Platform.serve`."""
        with self._forwards.serve(addresses) if self._forwards is not None else nullcontext():
            yield

    @contextmanager
    def tunnel(self, address: str) -> Iterator[str]:
        """The address itself: what reaches the hosts is no way to the controller."""
        yield address

    def vm_manager(self, group: ScaleGroupConfig) -> VmManager:
        """See `Platform.vm_manager`."""
        return ManualVmManager(self, group, self._identity)


class ManualVmManager(GroupVmManager):
    """A scale group of manual hosts bound to its platform; see `VmManager`."""
