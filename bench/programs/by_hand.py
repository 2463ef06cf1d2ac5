"""The product's controller, whose hosts somebody else starts; it says with what.

`by_hand.py OPTIONS` of `iris-controller`. `BY_HAND` names a directory: of every host of a
slice that is asked for it gets a file `SLICE-INDEX.json`, with the startup script that the
product would have run there, the document in it and the host's one-use token.
`BY_HAND_BUNDLE` is `SHA256 PATH` of the bundle on hosts, as the script is to find it.
"""

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import iris_platform
from iris_controller.main import main
from iris_platform import PlatformSettings
from iris_platform.base import SliceCloudState, SliceInfo, SliceSpec, VmBootstrapSpec, VmInfo, VmState
from iris_platform.bootstrap import BundleSource, render
from iris_platform.bootstrap.document import to_document
from iris_platform.files import write_atomic
from iris_platform.manual.records import ManualSlice
from iris_platform.manual.startup import HostSettings, Placed, worker_startup
from iris_platform.vm_platform import GroupVmManager, has_labels
from iris_proto.v1.config_pb2 import ScaleGroupConfig

ADDRESS = "127.0.0.1"


class ByHand:
    """See `Platform`: makes nothing, and believes that everything is made."""

    def __init__(self, settings: PlatformSettings) -> None:
        self._settings = settings
        self._slices: dict[str, SliceInfo] = {}

    def zones(self) -> Sequence[str]:
        """See `Platform.zones`."""
        return self._settings.zones

    def list_slices(self, labels: Mapping[str, str], zone: str | None = None) -> list[SliceInfo]:
        """See `Platform.list_slices`."""
        return [info for info in self._slices.values() if has_labels(info.labels, labels)]

    def get_slice(self, slice_id: str, zone: str | None = None) -> SliceInfo | None:
        """See `Platform.get_slice`."""
        return self._slices.get(slice_id)

    def create_slice(self, spec: SliceSpec, zone: str | None = None) -> None:
        """Write down what its hosts are to be given."""
        zone, now_ms = zone or self._settings.zones[0], time.time_ns() // 1_000_000
        record = ManualSlice(spec, zone, (ADDRESS,) * spec.hosts, now_ms)
        vms = [
            VmInfo(f"{spec.name}/{index}", ADDRESS, zone, spec.labels, VmState.RUNNING, now_ms)
            for index in range(spec.hosts)
        ]
        self._slices[spec.name] = SliceInfo(
            spec.name, zone, spec.labels, SliceCloudState.RUNNING, tuple(vms), now_ms
        )
        for index in range(spec.hosts):
            self._write(record, index)

    def _write(self, record: ManualSlice, index: int) -> None:
        settings, joining = self._settings, self._settings.joining
        assert joining is not None
        sha256, _, path = os.environ["BY_HAND_BUNDLE"].partition(" ")
        how = HostSettings(1, settings.boot_s, settings.orphan_timeout_s)
        startup = worker_startup(
            how, joining, Placed(record, index, ADDRESS), BundleSource(sha256, path=path)
        )
        given = {
            "document": to_document(startup),
            "script": render(startup),
            "token": joining.mint(record.spec.name, index),
        }
        file = Path(os.environ["BY_HAND"]) / f"{record.spec.name}-{index}.json"
        write_atomic(file, json.dumps(given).encode())

    def delete_slice(self, slice_id: str, zone: str | None = None) -> None:
        """See `Platform.delete_slice`."""
        self._slices.pop(slice_id, None)

    def list_vms(self, labels: Mapping[str, str], zone: str | None = None) -> list[VmInfo]:
        """See `Platform.list_vms`."""
        return []

    def start_vms(self, spec: VmBootstrapSpec, count: int = 1, zone: str | None = None) -> list[VmInfo]:
        """See `Platform.start_vms`."""
        # The controller makes slices and nothing else.
        raise NotImplementedError

    def stop_vms(self, ids: Sequence[str], zone: str | None = None) -> None:
        """See `Platform.stop_vms`."""

    def troubles(self) -> list[str]:
        """See `Platform.troubles`."""
        return []

    def tidy(self, zone: str | None = None) -> None:
        """See `Platform.tidy`."""

    @contextmanager
    def serve(self, addresses: tuple[str, str]) -> Iterator[None]:
        """See `Platform.serve`."""
        yield

    @contextmanager
    def tunnel(self, address: str) -> Iterator[str]:
        """See `Platform.tunnel`."""
        yield address

    def vm_manager(self, group: ScaleGroupConfig) -> GroupVmManager:
        """See `Platform.vm_manager`."""
        return GroupVmManager(self, group, self._settings.identity)


def make_platform(settings: PlatformSettings) -> ByHand:
    """What `PROVIDER_MODULES` names."""
    return ByHand(settings)


if __name__ == "__main__":
    iris_platform.PROVIDER_MODULES["manual"] = Path(__file__).stem  # type: ignore[index] # in this process alone
    sys.exit(main())
