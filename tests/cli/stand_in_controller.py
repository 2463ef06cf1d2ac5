"""Stands in for `iris-controller` as a process: serves, holds the lock, deletes slices.

    stand_in_controller.py [--fail | --hang | --deaf] OPTIONS OF iris-controller

What it says of slices is what the local platform says. `--fail` ends with a
message, `--hang` never answers, `--deaf` ignores the request to shut down.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

import grpc

from iris_config import IrisConfig
from iris_platform import ClusterPaths, Platform, create_platforms
from iris_platform.identity import ensure_identity
from iris_platform.state_lock import StateLock
from iris_proto.v1 import controller_pb2 as pb
from tests.cli.fake_controller import FakeController
from tests.cli.fake_service import FakeService


class MachineService(FakeService):
    """The fake service with the slices of this machine."""

    def __init__(self, platforms: dict[str, Platform], *, deaf: bool) -> None:
        super().__init__()
        self._platforms = platforms
        self._deaf = deaf

    def ListSlices(
        self, request: pb.ListSlicesRequest, context: grpc.ServicerContext
    ) -> pb.ListSlicesResponse:
        self.slices = [
            pb.Slice(name=name, zone=zone, scale_group=group, state=pb.SliceState.SLICE_STATE_READY, hosts=1)
            for group, zone, name in self._machines()
        ]
        return super().ListSlices(request, context)

    def BeginShutdown(
        self, request: pb.BeginShutdownRequest, context: grpc.ServicerContext
    ) -> pb.BeginShutdownResponse:
        if self._deaf:
            context.abort(grpc.StatusCode.INTERNAL, "not now")
        for group, zone, name in self._machines():
            self._platforms[group].delete_slice(name, zone)
        return pb.BeginShutdownResponse()

    def _machines(self) -> list[tuple[str, str, str]]:
        return [
            (group, zone, info.slice_id)
            for group, platform in self._platforms.items()
            for zone in platform.zones()
            for info in platform.list_slices({"iris-group": group}, zone)
        ]


def main() -> None:
    parser = argparse.ArgumentParser()
    for fault in ("--fail", "--hang", "--deaf", "--resume"):
        parser.add_argument(fault, action="store_true")
    for place in ("--state-dir", "--pki-dir", "--config", "--local-root"):
        parser.add_argument(place, type=Path, required=True)
    options = parser.parse_args()
    if options.fail:
        sys.exit("port 7 is in use")
    wanted = {signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
    with StateLock(options.state_dir):
        server = None if options.hang else serve(options)
        signal.sigwait(wanted)
        if server is not None:
            server.stop()
        (options.state_dir / "controller.json").unlink(missing_ok=True)


def serve(options: argparse.Namespace) -> FakeController:
    config = IrisConfig.from_json(options.config.read_text())
    identity = ensure_identity(config.name, options.pki_dir)
    # Where the real one has its store.
    (options.state_dir / "iris.db").touch()
    paths = ClusterPaths(options.state_dir, options.pki_dir, options.local_root)
    service = MachineService(create_platforms(config.scale_groups, identity, paths), deaf=options.deaf)
    service.config.CopyFrom(config.proto)
    service.cluster_id = identity.cluster_id
    server = FakeController(options.state_dir, service)
    server.start()
    return server


if __name__ == "__main__":
    main()
