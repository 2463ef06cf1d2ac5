"""What a configuration may not say, whatever its form.

Works on the effective message, defaults included, so that a rule sees what the
controller would see. Yields (field path, message) pairs and knows no positions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from iris_config.problems import FieldPath
from iris_config.units import format_duration
from iris_proto.v1 import config_pb2

Finding = tuple[FieldPath, str]

# Room for it in slice names; see iris_platform.names.
MAX_GROUP_LENGTH = 24
MAX_NAME_LENGTH = 63
# Less would not hold a traceback with what led to it.
LEAST_LOG_BYTES = 1024**2

_NAME = re.compile(r"[a-z][a-z0-9-]*")
_GROUP_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_PROVIDERS = config_pb2.ProviderConfig.DESCRIPTOR.oneofs_by_name["provider"]
_ZONE = re.compile(r"[a-z0-9][a-z0-9._-]*", re.IGNORECASE)


def validate(config: config_pb2.IrisClusterConfig) -> Iterator[Finding]:
    """Everything that is wrong with an effective configuration."""
    yield from _name(config.name)
    yield from _durations(config, ())
    if not 0 <= config.controller.local.port <= 65535:
        yield ("controller", "local", "port"), "expected a port from 0 to 65535"
    yield from _group_names(sorted(config.scale_groups))
    for key, group in config.scale_groups.items():
        for path, message in _group(key, group):
            yield ("scale_groups", key, *path), message
    if config.autoscaler.max_creates_per_minute < 1:
        yield ("autoscaler", "max_creates_per_minute"), "expected at least 1"
    if config.logs.max_size < LEAST_LOG_BYTES:
        yield ("logs", "max_size"), f"expected at least 1MiB, found {config.logs.max_size} bytes"
    yield from _beats(config)


def _name(name: str) -> Iterator[Finding]:
    if not name:
        yield ("name",), "missing; expected the cluster's name, such as name: demo"
    elif not _NAME.fullmatch(name):
        yield (
            ("name",),
            f"expected lower-case letters, digits and -, beginning with a letter, found {name!r}",
        )
    elif name.endswith("-local"):
        yield ("name",), f"names that end in -local are kept for rehearsals, found {name!r}"
    elif len(name) > MAX_NAME_LENGTH:
        yield ("name",), f"expected at most {MAX_NAME_LENGTH} characters, found {len(name)}"


def _group_names(names: list[str]) -> Iterator[Finding]:
    first: dict[str, str] = {}
    for name in names:
        path = ("scale_groups", name)
        if not _GROUP_NAME.fullmatch(name):
            yield (
                path,
                "expected a name of lower-case letters, digits, - and _, beginning with a letter",
            )
        elif len(name) > MAX_GROUP_LENGTH:
            yield path, f"expected a name of at most {MAX_GROUP_LENGTH} characters, found {len(name)}"
        other = first.setdefault(name.replace("_", "-"), name)
        if other != name:
            yield path, f"{name} and {other} would make the same slice names (_ becomes - there)"


def _group(key: str, group: config_pb2.ScaleGroupConfig) -> Iterator[Finding]:
    if group.name != key:
        yield ("name",), f"expected the group's key {key} or nothing, found {group.name!r}"
    arm = group.provider.WhichOneof("provider")
    if arm is None:
        arms = ", ".join(field.name for field in _PROVIDERS.fields)
        yield ("provider",), f"missing; expected one of {arms}, such as provider: {{local: {{}}}}"
    else:
        yield from _provider(arm, group)
        yield from _zones(arm, group)
    yield from _counts(group)
    yield from _resources(arm, group)


def _provider(arm: str, group: config_pb2.ScaleGroupConfig) -> Iterator[Finding]:
    if arm == "tpu":
        if not group.provider.tpu.project_id:
            yield ("provider", "tpu", "project_id"), "missing; expected the Google Cloud project"
        if group.accelerator_type == "cpu":
            yield ("accelerator_type",), "expected a TPU type such as v5litepod-16"
    if arm == "manual":
        yield from _manual(group)


def _manual(group: config_pb2.ScaleGroupConfig) -> Iterator[Finding]:
    path = ("provider", "manual")
    manual = group.provider.manual
    if not manual.hosts:
        yield (*path, "hosts"), "missing; expected at least one host"
    for index, host in enumerate(manual.hosts):
        if not host or host != host.strip():
            yield (*path, "hosts", index), f"expected a host name or address, found {host!r}"
        elif host in manual.hosts[:index]:
            yield (*path, "hosts", index), f"{host} is listed twice"
    if not 1 <= manual.ssh_port <= 65535:
        yield (*path, "ssh_port"), f"expected a port from 1 to 65535, found {manual.ssh_port}"
    if manual.hosts and group.slice_size > len(manual.hosts):
        words = f"{group.slice_size} hosts to a slice, but only {len(manual.hosts)} listed"
        yield ("slice_size",), words
    elif manual.hosts and group.max_slices * group.slice_size > len(manual.hosts):
        most = len(manual.hosts) // group.slice_size
        yield ("max_slices",), f"{len(manual.hosts)} hosts make at most {most} slices"


def _zones(arm: str, group: config_pb2.ScaleGroupConfig) -> Iterator[Finding]:
    zones = list(group.zones)
    if arm == "tpu" and not zones:
        yield ("zones",), "missing; a TPU group needs at least one, such as zones: [us-central1-a]"
    if arm != "tpu" and len(zones) > 1:
        yield ("zones",), f"a {arm} group has exactly one zone, found {len(zones)}"
    for index, zone in enumerate(zones):
        if not _ZONE.fullmatch(zone):
            words = f"expected letters, digits, -, _ and ., found {zone!r}"
            yield ("zones", index), words
        elif zone in zones[:index]:
            yield ("zones", index), f"{zone} is listed twice"


def _counts(group: config_pb2.ScaleGroupConfig) -> Iterator[Finding]:
    for name in ("min_slices", "max_slices", "buffer_slices", "priority"):
        if getattr(group, name) < 0:
            yield (name,), f"expected at least 0, found {getattr(group, name)}"
    if group.HasField("slice_size") and group.slice_size < 1:
        yield ("slice_size",), f"expected at least 1, found {group.slice_size}"
    if group.min_slices > group.max_slices >= 0:
        yield (
            ("min_slices",),
            f"{group.min_slices} is more than max_slices, which is {group.max_slices}",
        )


def _resources(arm: str | None, group: config_pb2.ScaleGroupConfig) -> Iterator[Finding]:
    resources = group.host_resources
    # The catalogue and the probe of manual hosts fill in what is not there.
    cpu_known = arm == "local" or resources.cpu != 0
    if cpu_known and resources.cpu < 0.001:
        words = f"expected more than 0 cores, in thousandths, found {resources.cpu:g}"
        yield ("host_resources", "cpu"), words
    if resources.memory < 0:
        yield ("host_resources", "memory"), "expected at least 0"


def _durations(message: Message, path: FieldPath) -> Iterator[Finding]:
    for field, value in message.ListFields():
        here = (*path, field.name)
        if isinstance(value, Duration):
            if value.ToNanoseconds() <= 0:
                yield here, "expected a duration longer than 0s"
        elif field.message_type is None:
            continue
        elif field.message_type.GetOptions().map_entry:
            for key, child in value.items():
                if isinstance(child, Message):
                    yield from _durations(child, (*here, key))
        elif field.is_repeated:
            for index, child in enumerate(value):
                yield from _durations(child, (*here, index))
        else:
            yield from _durations(value, here)


def _beats(config: config_pb2.IrisClusterConfig) -> Iterator[Finding]:
    # A lost beat must not cost the lease, nor make a healthy worker suspect.
    limits: list[tuple[FieldPath, Duration]] = [
        (("timeouts", "suspect_after"), config.timeouts.suspect_after)
    ]
    for key, group in config.scale_groups.items():
        limits.append((("scale_groups", key, "task_lease"), group.task_lease))
    beat = config.timeouts.beat_interval.ToNanoseconds()
    for path, limit in limits:
        if 0 < limit.ToNanoseconds() < 2 * beat:
            words = f"expected at least two beats ({format_duration(2 * beat)})"
            yield path, words
