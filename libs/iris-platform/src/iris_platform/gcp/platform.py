"""The platform of TPU slices on Google Cloud: the `Platform` protocol over one project.

Nothing of Google is imported before the first call that needs it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from iris_platform import PlatformSettings
from iris_platform.base import (
    HostLog,
    Refused,
    SliceInfo,
    SliceSpec,
    Stray,
    VmBootstrapSpec,
    VmInfo,
)
from iris_platform.bootstrap import render
from iris_platform.gcp.deadlines import DEADLINES, Deadlines
from iris_platform.gcp.overrides import group_overrides
from iris_platform.gcp.startup import endpoint_of, worker_startup
from iris_platform.vm_platform import GroupVmManager, VmManager, resolve_zone, slice_spec

# Not to hide a cycle, and not to load Google's library with this module.
if TYPE_CHECKING:
    from iris_platform.gcp.slices import TpuSlices
    from iris_proto.v1.config_pb2 import ScaleGroupConfig


class TpuPlatform:
    """TPU slices of one project; see `Platform` for what each call means."""

    def __init__(
        self,
        settings: PlatformSettings,
        deadlines: Deadlines = DEADLINES,
    ) -> None:
        self._settings = settings
        self._deadlines = deadlines
        self._lock = threading.Lock()
        self._made: TpuSlices | None = None

    def zones(self) -> Sequence[str]:
        """See `Platform.zones`."""
        return self._settings.zones

    def list_vms(self, labels: Mapping[str, str], zone: str | None = None) -> list[VmInfo]:
        """None: TPU machines are all in slices."""
        self._zone(zone)
        return []

    def start_vms(self, spec: VmBootstrapSpec, count: int = 1, zone: str | None = None) -> list[VmInfo]:
        """Refused: TPU machines are all in slices."""
        self._zone(zone)
        raise Refused("a TPU project has no machines outside slices that Iris starts")

    def stop_vms(self, ids: Sequence[str], zone: str | None = None) -> None:
        """Nothing to stop; see `list_vms`."""
        self._zone(zone)

    def list_slices(self, labels: Mapping[str, str], zone: str | None = None) -> list[SliceInfo]:
        """Nodes and queued resources together; see `Platform.list_slices`."""
        return self._slices.list_slices(labels, self._zone(zone))

    def get_slice(self, slice_id: str, zone: str | None = None) -> SliceInfo | None:
        """See `Platform.get_slice`.

        Of a slice whose creation was accepted here and came to nothing it says why,
        until it is deleted.
        """
        return self._slices.get_slice(slice_id, self._zone(zone))

    def create_slice(self, spec: SliceSpec, zone: str | None = None) -> None:
        """See `Platform.create_slice`; what becomes of it, `get_slice` tells."""
        self._slices.create_slice(spec, self._zone(zone))

    def delete_slice(self, slice_id: str, zone: str | None = None) -> None:
        """See `Platform.delete_slice`; returns when accepted, and `get_slice` tells when it is gone."""
        self._slices.delete_slice(slice_id, self._zone(zone))

    def host_log(self, slice_id: str, index: int, zone: str | None = None) -> HostLog:
        """What a host whose start failed left as a guest attribute; see `Platform.host_log`."""
        return self._slices.host_log(slice_id, index, self._zone(zone))

    def host_addresses(self, slice_id: str, zone: str) -> tuple[frozenset[str], ...]:
        """Where each host of a slice is, by its index; see `TpuSlices.host_addresses`."""
        return self._slices.host_addresses(slice_id, self._zone(zone))

    def troubles(self) -> list[str]:
        """Nodes and queued resources that look like ours by half, and are let alone."""
        return self._made.troubles() if self._made is not None else []

    def strays(self, zone: str) -> list[Stray]:
        """See `SeesStrays.strays`."""
        return self._made.strays(zone) if self._made is not None else []

    def tidy(self, zone: str | None = None) -> None:
        """Nothing is kept between slices."""
        self._zone(zone)

    @contextmanager
    def serve(self, addresses: tuple[str, str]) -> Iterator[None]:
        """Nothing to do: machines dial the controller's address."""
        yield

    @contextmanager
    def tunnel(self, address: str) -> Iterator[str]:
        """The address itself: what makes slices is no way to the controller."""
        yield address

    def vm_manager(self, group: ScaleGroupConfig) -> VmManager:
        """See `Platform.vm_manager`."""
        return TpuVmManager(self, group, self._settings)

    def _zone(self, zone: str | None) -> str:
        return resolve_zone(self._settings.zones, zone)

    @property
    def _slices(self) -> TpuSlices:
        with self._lock:
            if self._made is None:
                self._made = _open(self._settings, self._deadlines)
            return self._made


class TpuVmManager(GroupVmManager):
    """A scale group of TPU slices bound to its platform; see `VmManager`."""

    def __init__(self, platform: TpuPlatform, group: ScaleGroupConfig, settings: PlatformSettings) -> None:
        super().__init__(platform, group, settings.identity)
        self._settings = settings

    def _spec(self, name: str, zone: str) -> SliceSpec:
        """Also what a node is made with, and runs when it starts.

        Raises:
            Refused: there is no controller that its hosts could join, or no bundle for them.
        """
        config, joining = self._config, self._settings.joining
        if joining is None:
            raise Refused(f"slice {name}: nothing is started without a controller")
        spec, overrides = slice_spec(config, self._settings.identity, name), group_overrides(config)
        spec = replace(spec, provider_overrides=overrides.to_mapping())
        script = render(worker_startup(self._settings, joining, spec, zone))
        return replace(spec, provider_overrides=replace(overrides, startup_script=script).to_mapping())


def _open(settings: PlatformSettings, deadlines: Deadlines) -> TpuSlices:
    try:
        from iris_platform.gcp.client import TpuApi
        from iris_platform.gcp.slices import TpuSlices
    except ModuleNotFoundError as error:
        words = "TPU groups need Google's libraries, which are not installed here: pip install 'iris-platform[gcp]'"
        raise Refused(f"{words} ({error})") from error

    api = TpuApi(endpoint_of(settings), settings.provider.tpu.project_id, deadlines)
    return TpuSlices(api, settings.identity, settings.now_ms)
