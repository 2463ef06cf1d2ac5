"""Valid files: what they mean, and what is filled in."""

from pathlib import Path

import pytest

from iris_config import ConfigError, IrisConfig, load_config, parse_config, read_machine_facts
from tests.config.samples import EXAMPLES, GIB, MACHINE, REQUIREMENT, load, local_group, problems


def test_each_group_has_its_own_provider() -> None:  # B1
    groups = load(REQUIREMENT).scale_groups
    assert groups["tpu_v5e_16"].provider.WhichOneof("provider") == "tpu"
    assert groups["tpu_v5e_16"].provider.tpu.project_id == "hai-gcp-models"
    assert groups["manual_workers"].provider.WhichOneof("provider") == "manual"
    assert list(groups["manual_workers"].provider.manual.hosts) == ["10.0.0.1", "10.0.0.2"]


def test_nothing_of_a_provider_is_read_from_the_top_level() -> None:  # B1
    with pytest.raises(ConfigError, match="project_id: unknown key"):
        load("project_id: p\n" + REQUIREMENT)


def test_the_defaults_of_a_local_group() -> None:
    group = load(local_group()).scale_groups["here"]
    assert (group.name, group.accelerator_type, list(group.zones)) == ("here", "cpu", ["local"])
    assert (group.min_slices, group.max_slices, group.buffer_slices) == (0, 1, 0)
    assert (group.priority, group.slice_size) == (100, 1)
    assert (group.host_resources.cpu, group.host_resources.memory) == (4.0, 16 * GIB)
    assert group.idle_timeout.ToSeconds() == 600
    assert group.boot_timeout.ToSeconds() == 30
    assert group.task_lease.ToSeconds() == 600


def test_a_machine_of_many_cores_offers_them_all() -> None:
    machine = MACHINE.__class__(cores=64, memory_bytes=GIB)
    config = parse_config(local_group(), machine=machine)
    assert config.scale_groups["here"].host_resources.cpu == 64


def test_half_of_the_host_resources_keeps_the_other_default() -> None:
    group = load(local_group("host_resources: {cpu: 0.5}")).scale_groups["here"]
    assert (group.host_resources.cpu, group.host_resources.memory) == (0.5, 16 * GIB)


def test_memory_that_is_written_as_nothing_is_not_limited() -> None:
    group = load(local_group("host_resources: {memory: 0}")).scale_groups["here"]
    assert (group.host_resources.cpu, group.host_resources.memory) == (4.0, 0)


def test_the_defaults_of_clouds_and_manual_hosts() -> None:
    groups = load(REQUIREMENT).scale_groups
    assert load(REQUIREMENT).proto.endpoints.tpu == "https://tpu.googleapis.com"
    tpu, manual = groups["tpu_v5e_16"], groups["manual_workers"]
    assert (tpu.boot_timeout.ToSeconds(), tpu.task_lease.ToSeconds()) == (900, 3600)
    assert (manual.boot_timeout.ToSeconds(), manual.task_lease.ToSeconds()) == (900, 600)
    assert (tpu.max_slices, manual.max_slices) == (1, 2)
    assert manual.provider.manual.ssh_port == 22
    other = load(REQUIREMENT.replace("        ssh_user: ray\n", "")).scale_groups["manual_workers"]
    assert other.provider.manual.ssh_user == "root"


def test_manual_slices_of_several_hosts() -> None:
    text = REQUIREMENT.replace("accelerator_type: cpu", "slice_size: 2")
    assert load(text).scale_groups["manual_workers"].max_slices == 1


def test_the_defaults_of_the_cluster() -> None:
    proto = load(local_group()).proto
    assert proto.controller.WhichOneof("controller") == "local"
    assert proto.controller.local.port == 0
    assert proto.autoscaler.evaluation_interval.ToSeconds() == 10
    assert proto.autoscaler.max_creates_per_minute == 60
    timeouts = proto.timeouts
    assert timeouts.beat_interval.ToSeconds() == 10
    assert timeouts.suspect_after.ToSeconds() == 30
    assert timeouts.stop_grace.ToSeconds() == 30
    assert timeouts.orphan_timeout.ToSeconds() == 1800
    assert timeouts.fence_after.ToSeconds() == 300
    assert proto.logs.max_size == 1024**3


def test_beats_follow_the_shortest_lease() -> None:
    proto = load(local_group("task_lease: 30s")).proto
    assert proto.timeouts.beat_interval.ToSeconds() == 5


def test_every_field_of_the_effective_configuration_is_there() -> None:
    """The controller has no defaults, so nothing with presence may be left out."""
    proto = load(local_group()).proto
    messages = [
        proto,
        proto.autoscaler,
        proto.timeouts,
        proto.logs,
        proto.controller,
        *proto.scale_groups.values(),
    ]
    for message in messages:
        absent = [
            field.name
            for field in message.DESCRIPTOR.fields
            if field.has_presence
            and not message.HasField(field.name)
            # The other arms of a oneof; a container is a choice; where a local
            # controller keeps its state is the command's to say; nothing of Google's is used.
            and field.name not in ("gcp", "manual", "bootstrap", "storage", "endpoints")
        ]
        assert absent == []


def test_size_of_logs_as_it_was_written() -> None:
    assert load(local_group() + "logs: {max_size: 64MiB}\n").proto.logs.max_size == 64 * 1024**2


def test_zones_of_all_groups() -> None:
    text = REQUIREMENT.replace("[europe-west4-b]", "[europe-west4-b, us-east1-c]")
    config = load(text)
    assert config.zones() == ["local", "europe-west4-b", "us-east1-c"]
    assert config.name == "demo"


def test_units_numbers_and_words() -> None:
    group = load(
        local_group(
            "max_slices: 1_000",
            "idle_timeout: 1h30m",
            "boot_timeout: 1.5s",
            "host_resources: {cpu: 1.5, memory: 500GB}",
            "zones: [no]",
        )
    ).scale_groups["here"]
    assert group.max_slices == 1000
    assert group.idle_timeout.ToSeconds() == 5400
    assert group.boot_timeout.ToMilliseconds() == 1500
    assert group.host_resources.memory == 500 * 10**9
    # The schema says text: YAML's own reading of the word does not count.
    assert list(group.zones) == ["no"]


def test_anchors_may_be_used() -> None:
    text = local_group("host_resources: &shape {cpu: 1, memory: 1GiB}", "max_slices: 2")
    text += "  there:\n    provider: {local: {}}\n    host_resources: *shape\n"
    groups = load(text).scale_groups
    assert groups["there"].host_resources == groups["here"].host_resources


def test_a_cluster_may_have_no_groups_yet() -> None:
    assert dict(load("name: demo\n").scale_groups) == {}


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_examples(path: Path) -> None:
    config = load_config(path, machine=MACHINE)
    assert config.name == path.stem
    assert config.scale_groups


def test_the_facts_of_this_machine_by_default(tmp_path: Path) -> None:
    path = tmp_path / "demo.yaml"
    path.write_text("\ufeff" + local_group(), "utf-8")
    facts = read_machine_facts()
    resources = load_config(path).scale_groups["here"].host_resources
    assert resources.memory == facts.memory_bytes > 0
    assert resources.cpu == max(4, facts.cores)


def test_the_resolved_document_comes_back_as_it_was() -> None:
    config = load((EXAMPLES / "demo.yaml").read_text())
    again = IrisConfig.from_json(config.to_json())
    assert again == config
    assert '"max_slices": 4' in config.to_json()
    assert repr(again) == "IrisConfig(name='demo', scale_groups=['here', 'manual_workers', 'tpu_v5e_16'])"


@pytest.mark.parametrize("text", ["", "[]", '{"name": 5}', '{"colour": "red"}', '{"name": '])
def test_a_document_that_is_not_one(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^cluster\.json: error: "):
        IrisConfig.from_json(text, source="cluster.json")


def test_a_zone_that_cannot_be_read_is_not_missing_too() -> None:
    (found,) = problems(REQUIREMENT.replace("europe-west4-b", "'europe west4'"))
    assert "zones[0]: expected a zone" in found
