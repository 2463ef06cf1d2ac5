"""Lookups and comparisons of configurations that are valid, or made by hand."""

import subprocess
import sys

import pytest
import yaml

from iris_config import IrisConfig, diff_configs, fingerprint, get_provider_config
from iris_config.normalise import normalise
from iris_config.scalars import enum_names
from iris_config.yaml_nodes import compose
from iris_proto.v1 import config_pb2, job_pb2
from tests.config.samples import EXAMPLES, REQUIREMENT, load, local_group


def changes(old: IrisConfig, new: IrisConfig) -> list[str]:
    return [str(change) for change in diff_configs(old, new)]


def test_providers_as_the_requirement_has_them() -> None:
    groups = load(REQUIREMENT).scale_groups
    assert get_provider_config(groups["tpu_v5e_16"]) == ("tpu", "hai-gcp-models", None)
    assert get_provider_config(groups["manual_workers"]) == (
        "manual",
        None,
        ["10.0.0.1", "10.0.0.2"],
    )
    assert get_provider_config(load(local_group()).scale_groups["here"]) == ("local", None, None)


@pytest.mark.parametrize(
    ("provider", "message"),
    [
        (None, "Scale group g missing provider config"),
        (config_pb2.ProviderConfig(), "Unknown provider type in g"),
        (
            config_pb2.ProviderConfig(tpu=config_pb2.TpuProvider()),
            "Scale group g: tpu provider missing project_id",
        ),
        (
            config_pb2.ProviderConfig(manual=config_pb2.ManualProvider()),
            "Scale group g: manual provider missing hosts",
        ),
    ],
)
def test_providers_that_are_not_whole(provider: config_pb2.ProviderConfig | None, message: str) -> None:
    group = config_pb2.ScaleGroupConfig(name="g", provider=provider)
    with pytest.raises(ValueError, match=f"^{message}$"):
        get_provider_config(group)


def test_equal_meaning_is_equal_however_it_is_written() -> None:
    one = load(local_group("idle_timeout: 10m", "host_resources: {memory: 1GiB}"))
    two = load(local_group("host_resources: {memory: 1024MiB}", "max_slices: 1"))
    assert diff_configs(one, two) == []
    assert fingerprint(one) == fingerprint(two)
    assert len(fingerprint(one)) == 64


def test_the_order_of_groups_does_not_count() -> None:
    text = local_group() + "  there:\n    provider: {local: {}}\n"
    swapped = text.replace("here:", "X:").replace("tX:", "here:").replace("X:", "there:")
    assert text != swapped
    assert fingerprint(load(text)) == fingerprint(load(swapped))


def test_differences_by_field() -> None:
    old = load(local_group("host_resources: {cpu: 4, memory: 8GiB}"))
    new = load(
        local_group("host_resources: {cpu: 1.5, memory: 500GB}", "idle_timeout: 90s", "zones: [a]")
        + "autoscaler: {max_creates_per_minute: 5}\n"
    )
    assert changes(old, new) == [
        "scale_groups.here.zones: [local] -> [a]",
        "scale_groups.here.host_resources.cpu: 4 -> 1.5",
        "scale_groups.here.host_resources.memory: 8GiB -> 500GB",
        "scale_groups.here.idle_timeout: 10m -> 1m30s",
        "autoscaler.max_creates_per_minute: 60 -> 5",
    ]
    assert fingerprint(old) != fingerprint(new)


def test_groups_that_come_and_go_are_one_line_each() -> None:
    old = load(local_group())
    new = load(local_group().replace("here", "there"))
    assert changes(old, new) == [
        "scale_groups.here: present -> (none)",
        "scale_groups.there: (none) -> present",
    ]


def test_another_provider() -> None:
    old = load(REQUIREMENT)
    new = load(REQUIREMENT.replace("        ssh_user: ray\n", "        ssh_port: 2222\n"))
    assert changes(old, new) == [
        "scale_groups.manual_workers.provider.manual.ssh_user: ray -> root",
        "scale_groups.manual_workers.provider.manual.ssh_port: 22 -> 2222",
    ]
    local = load(local_group())
    manual = IrisConfig(config_pb2.IrisClusterConfig.FromString(local.proto.SerializeToString()))
    manual.proto.scale_groups["here"].provider.manual.hosts.append("a")
    lines = changes(local, manual)
    assert "scale_groups.here.provider.local: {} -> (none)" in lines
    assert "scale_groups.here.provider.manual.hosts: (none) -> [a]" in lines


def test_short_names_of_enums() -> None:
    names = enum_names(job_pb2.JobState.DESCRIPTOR)
    assert names["pending"] == "JOB_STATE_PENDING"
    assert "unspecified" not in names


def _with_enum(text: str) -> object:
    descriptor = job_pb2.Job.DESCRIPTOR
    field = next(f.name for f in descriptor.fields if f.enum_type)
    tree = normalise(compose(f"{field}: {text}", "job.yaml"), descriptor, {})
    return [p.message for p in tree.problems] or tree.value[field]


def test_enums_in_short_lower_case() -> None:
    assert _with_enum("running") == "JOB_STATE_RUNNING"
    assert _with_enum("runing") == [
        (
            "expected one of pending, running, succeeded, failed, killed, unschedulable, found 'runing';"
            " did you mean running?"
        )
    ]


def test_examples_are_plain_yaml_too() -> None:
    for path in EXAMPLES.glob("*.yaml"):
        assert yaml.safe_load(path.read_text())["name"] == path.stem


def test_what_importing_it_does_not_import() -> None:
    code = (
        "import sys, iris_config; print(*sorted(m for m in sys.modules if m.startswith("
        "('grpc', 'google.cloud', 'google.auth', 'google.api_core', 'iris_platform'))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == []
