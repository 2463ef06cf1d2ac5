"""The TPU platform over a test cloud."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.duration_pb2 import Duration

from iris_platform import ClusterIdentity, ClusterPaths, PlatformSettings
from iris_platform.base import HostResources, SliceSpec
from iris_platform.bundle import Bundle
from iris_platform.gcp import TpuPlatform
from iris_platform.gcp.client import TpuApi
from iris_platform.gcp.deadlines import Deadlines
from iris_platform.gcp.overrides import TpuOverrides
from iris_platform.joining import Joining
from iris_platform.names import slice_labels
from iris_proto.v1.config_pb2 import (
    EndpointsConfig,
    ProviderConfig,
    QueuedResourcesConfig,
    ScaleGroupConfig,
    TpuProvider,
)
from iris_proto.v1.config_pb2 import HostResources as HostResourcesConfig
from tests.harness.cloud import CloudServer, Settings, Timings
from tests.platform.gcp.made import IDENTITY

ZONES = ("us-east5-a", "us-central1-a")
ZONE = ZONES[0]
# Type by number of hosts.
TYPES = {1: "v5p-8", 2: "v5p-16", 4: "v5p-32"}
RUNTIME = "v2-alpha-tpuv5"
AT_ONCE = Timings(validate=0, queue=0, machines=0, ready=0, stockout=0, delete=0, suspend=0)
SHORT = Deadlines(try_s=1.0, read_s=2.0, list_s=5.0, write_s=1.0, first_pause_s=0.01, longest_pause_s=0.05)
VALID_S = 3600


def joining() -> Joining:
    """A controller that hosts could join, were there any."""
    bundle = Bundle("ab" * 32, Path("/nonexistent"), {})
    return Joining(
        cluster=IDENTITY.cluster,
        address="10.1.0.1:10400",
        join_url="https://10.1.0.1:10401",
        ca_pem="-----BEGIN CERTIFICATE-----\n",
        mint=lambda name, index: "",
        bundle_for=lambda python, machine: bundle,
    )


@dataclass
class CloudWorld:
    """One cloud, and platforms of it, each as new as a restarted controller's; queued ones or not."""

    server: CloudServer
    home: Path
    is_queued: bool = False

    @property
    def control(self) -> Any:
        """What a test says to the cloud."""
        return self.server.client

    def spec(
        self,
        name: str,
        hosts: int = 1,
        identity: ClusterIdentity = IDENTITY,
        *,
        is_queued: bool | None = None,
        **overrides: Any,
    ) -> SliceSpec:
        """A slice of group `here`, as this world's are."""
        queued = self.is_queued if is_queued is None else is_queued
        return spec(name, hosts, identity, queued_for_s=VALID_S if queued else None, **overrides)

    def settings(
        self, zones: tuple[str, ...] = (ZONE,), identity: ClusterIdentity = IDENTITY
    ) -> PlatformSettings:
        """Of a platform."""
        return PlatformSettings(
            provider=ProviderConfig(tpu=TpuProvider(project_id=self.server.project)),
            zones=zones,
            identity=identity,
            paths=ClusterPaths(self.home / "state", self.home / "pki", self.home / "hosts"),
            endpoints=EndpointsConfig(tpu=self.server.url),
            joining=joining(),
            now_ms=lambda: 1_700_000_000_000,
        )

    def platform(
        self,
        zones: tuple[str, ...] = (ZONE,),
        identity: ClusterIdentity = IDENTITY,
        deadlines: Deadlines = SHORT,
    ) -> TpuPlatform:
        """A new one."""
        return TpuPlatform(self.settings(zones, identity), deadlines)

    def api(self) -> TpuApi:
        """The calls alone, without a rule."""
        return TpuApi(self.server.url, self.server.project, SHORT)

    def group(self, name: str = "here", hosts: int = 1) -> ScaleGroupConfig:
        """An effective group of the first zone."""
        tpu = TpuProvider(project_id=self.server.project, network="default", external_addresses=True)
        if self.is_queued:
            tpu.queued_resources.CopyFrom(QueuedResourcesConfig(valid_for=Duration(seconds=VALID_S)))
        return ScaleGroupConfig(
            name=name,
            provider=ProviderConfig(tpu=tpu),
            zones=[ZONE],
            slice_size=hosts,
            accelerator_type=TYPES[hosts],
            runtime_version=RUNTIME,
            host_resources=HostResourcesConfig(cpu=208, memory=2**38),
        )


def spec(name: str, hosts: int = 1, identity: ClusterIdentity = IDENTITY, **overrides: Any) -> SliceSpec:
    """A slice of group `here`; a node, if nothing else is said."""
    return SliceSpec(
        name=name,
        group="here",
        hosts=hosts,
        resources=HostResources(208_000, 2**38),
        accelerator_type=TYPES[hosts],
        labels=slice_labels(identity.cluster, identity.cluster_id, "here", name),
        provider_overrides=TpuOverrides(RUNTIME, startup_script="#!/bin/sh\n", **overrides).to_mapping(),
    )


@contextmanager
def cloud_world(
    home: Path, timings: Timings = AT_ONCE, *, is_queued: bool = False, stopped: bool = False
) -> Iterator[CloudWorld]:
    """A cloud in this process."""
    with CloudServer(Settings(timings=timings), stopped=stopped) as server:
        yield CloudWorld(server, home, is_queued)
