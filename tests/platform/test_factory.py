"""The factory, the rules that all platforms share, and what imports what."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from iris_platform import (
    PROVIDER_MODULES,
    PlatformSettings,
    create_platform,
    create_platforms,
    wall_ms,
)
from iris_platform.base import HostResources, SliceCloudState, VmState
from iris_platform.controller_vm import CONTROLLERS, LocalController, Operator, Recipe, create_controller_vm
from iris_platform.gcp import TpuPlatform
from iris_platform.local import LocalPlatform
from iris_platform.manual.platform import ManualPlatform
from iris_platform.vm_platform import resolve_zone, slice_spec, slice_state
from iris_proto.v1.config_pb2 import (
    ControllerConfig,
    IrisClusterConfig,
    ManualProvider,
    ProviderConfig,
    ScaleGroupConfig,
    TpuProvider,
)
from iris_proto.v1.config_pb2 import (
    LocalController as LocalControllerConfig,
)
from tests.platform.world import IDENTITY, LOCAL, LocalWorld, group, name


def settings(provider: ProviderConfig, home: Path, *zones: str) -> PlatformSettings:
    return PlatformSettings(provider, zones, IDENTITY, LocalWorld(home).paths)


def test_the_table_has_every_provider() -> None:
    arms = ProviderConfig.DESCRIPTOR.oneofs_by_name["provider"].fields
    assert set(PROVIDER_MODULES) == {field.name for field in arms}


def test_the_table_has_every_controller() -> None:
    arms = ControllerConfig.DESCRIPTOR.oneofs_by_name["controller"].fields
    assert set(CONTROLLERS) == {field.name for field in arms}


def test_a_local_platform(tmp_path: Path) -> None:
    platform = create_platform(settings(LOCAL, tmp_path, "local", "shed"))
    assert isinstance(platform, LocalPlatform)
    assert platform.zones() == ("local", "shed")
    with platform.tunnel("127.0.0.1:5") as address:
        assert address == "127.0.0.1:5"


def test_a_platform_of_manual_hosts(tmp_path: Path) -> None:
    manual = ProviderConfig(manual=ManualProvider(hosts=["a", "b"]))
    platform = create_platform(settings(manual, tmp_path, "rack"))
    assert isinstance(platform, ManualPlatform)
    assert platform.zones() == ("rack",)
    with pytest.raises(ValueError, match="zone elsewhere is not configured; configured: rack"):
        platform.list_slices({}, "elsewhere")


def test_a_platform_of_tpu_slices(tmp_path: Path) -> None:
    tpu = ProviderConfig(tpu=TpuProvider(project_id="p"))
    platform = create_platform(settings(tpu, tmp_path, "us-central2-b", "europe-west4-b"))
    assert isinstance(platform, TpuPlatform)
    assert platform.zones() == ("us-central2-b", "europe-west4-b")


def test_settings_that_name_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no provider is set"):
        create_platform(settings(ProviderConfig(), tmp_path, "z"))
    with pytest.raises(ValueError, match="provider local has no zone"):
        create_platform(settings(LOCAL, tmp_path))


def test_groups_of_one_provider_share_a_platform(tmp_path: Path) -> None:
    groups = {"a": group("a"), "b": group("b", zone="shed"), "c": group("c")}
    platforms = create_platforms(groups, IDENTITY, LocalWorld(tmp_path).paths)
    assert platforms["a"] is platforms["b"] is platforms["c"]
    assert list(platforms["a"].zones()) == ["local", "shed"]


def test_groups_of_one_project_share_a_platform(tmp_path: Path) -> None:
    def tpu(name: str, project: str, zone: str, network: str = "default") -> ScaleGroupConfig:
        provider = ProviderConfig(tpu=TpuProvider(project_id=project, network=network))
        return ScaleGroupConfig(name=name, provider=provider, zones=[zone])

    groups = {
        "a": tpu("a", "p", "us-central2-b"),
        "b": tpu("b", "p", "us-east5-a", network="lab"),
        "c": tpu("c", "q", "us-central2-b"),
    }
    platforms = create_platforms(groups, IDENTITY, LocalWorld(tmp_path).paths)
    assert platforms["a"] is platforms["b"] is not platforms["c"]
    assert list(platforms["a"].zones()) == ["us-central2-b", "us-east5-a"]


def test_a_local_controller(tmp_path: Path) -> None:
    paths = LocalWorld(tmp_path).paths
    local = IrisClusterConfig(controller=ControllerConfig(local=LocalControllerConfig()))
    recipe = Recipe(local, paths, lambda _: True, Operator("me"))
    assert isinstance(create_controller_vm(recipe), LocalController)
    with pytest.raises(ValueError, match="controller: no provider is set"):
        create_controller_vm(replace(recipe, config=IrisClusterConfig()))


def test_zones() -> None:
    assert resolve_zone(["a"], None) == "a"
    assert resolve_zone(["a", "b"], "b") == "b"
    with pytest.raises(ValueError, match=r"^zone is needed: 2 are configured: a, b$"):
        resolve_zone(["a", "b"], None)
    with pytest.raises(ValueError, match=r"^zone c is not configured; configured: a, b$"):
        resolve_zone(["a", "b"], "c")


def test_the_slice_that_a_group_describes() -> None:
    spec = slice_spec(group("tpu_here", hosts=3), IDENTITY, name())
    assert (spec.name, spec.group, spec.hosts) == (name(), "tpu_here", 3)
    assert spec.resources == HostResources(cpu_millis=1500, memory_bytes=2**30)
    assert spec.labels["iris-group"] == "tpu-here"


def test_a_groups_own_labels_are_on_its_slices() -> None:
    config = group("tpu_here")
    config.labels["team"] = "vision"
    labels = slice_spec(config, IDENTITY, name()).labels
    assert (labels["team"], labels["iris-group"]) == ("vision", "tpu-here")


@pytest.mark.parametrize(
    ("hosts", "state"),
    [
        ([VmState.RUNNING] * 2, SliceCloudState.RUNNING),
        ([VmState.RUNNING, VmState.BOOTING], SliceCloudState.CREATING),
        ([VmState.BOOTING, VmState.FAILED], SliceCloudState.FAILED),
        ([VmState.RUNNING, VmState.TERMINATED], SliceCloudState.FAILED),
    ],
)
def test_one_dead_host_fails_its_slice(hosts: list[VmState], state: SliceCloudState) -> None:
    assert slice_state(hosts) is state


def test_the_clock_counts_milliseconds() -> None:
    assert 1_600_000_000_000 < wall_ms() < 10_000_000_000_000


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("iris_platform", ("google", "yaml", "grpc", "subprocess", "iris_config")),
        ("iris_platform.processes", ("google", "yaml", "grpc", "subprocess")),
        ("iris_platform.env_probe", ("google", "yaml", "grpc", "subprocess")),
        ("iris_platform.base", ("google", "subprocess")),
        ("iris_platform.local", ("google", "yaml", "grpc", "paramiko")),
        ("iris_platform.gcp", ("google.cloud", "google.auth", "google.api_core", "grpc", "proto")),
    ],
)
def test_what_importing_a_module_does_not_import(module: str, unwanted: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print(*sorted(set({unwanted!r}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == []
