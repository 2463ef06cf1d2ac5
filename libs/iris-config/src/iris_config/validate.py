"""What a configuration may not say, where more than one field has a part in it.

What a single field may hold is its `rule` in the proto. Works on the effective
message, defaults included, so that a rule sees what the controller would see;
knows no positions.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping

from google.protobuf.duration_pb2 import Duration

from iris_config.accelerators import find_accelerator
from iris_config.defaults import PKI_DIR, STATE_DIR
from iris_config.endpoint import advertised, endpoint_of
from iris_config.problems import FieldPath, Finding, listed_twice
from iris_config.scalars import did_you_mean
from iris_config.units import format_duration
from iris_proto.v1 import config_pb2

# Room for it in slice names; see iris_platform.names. What is written is held to
# it by its `rule`, what a fleet makes is not.
MAX_GROUP_LENGTH = 24

# https://cloud.google.com/resource-manager/docs/labels-overview (2026-11-22);
# a resource has 64 at most, of which we take some.
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
MAX_LABELS = 50
OWN_LABELS = "iris-"

LAST_PORT = 65535


def validate(config: config_pb2.IrisClusterConfig) -> Iterator[Finding]:
    """Everything that is wrong with an effective configuration."""
    if config.name.endswith("-local"):
        yield ("name",), f"names that end in -local are kept for rehearsals, found {config.name!r}"
    yield from _labels(("controller", "gcp"), config.controller.gcp.labels)
    yield from _group_names(sorted(config.scale_groups))
    for key, group in config.scale_groups.items():
        for path, message in _group(key, group):
            yield ("scale_groups", key, *path), message
    yield from _ports(config.controller)
    yield from _endpoints(config.endpoints)
    yield from _storage(config)
    yield from _beats(config)


def _ports(controller: config_pb2.ControllerConfig) -> Iterator[Finding]:
    if not controller.advertise_address:
        return
    port = endpoint_of(controller.advertise_address).port
    if not 1 <= port < LAST_PORT:
        words = f"expected a port from 1 to {LAST_PORT - 1} (the next one serves those that join)"
        yield ("controller", "advertise_address"), f"{words}, found {port}"
        return
    endpoint = advertised(controller)
    if endpoint is not None and controller.HasField("local") and controller.local.port in endpoint.ports:
        first, second = endpoint.ports
        words = f"expected a port other than {first} and {second}, which advertise_address takes"
        yield ("controller", "local", "port"), f"{words}, found {controller.local.port}"


def _endpoints(endpoints: config_pb2.EndpointsConfig) -> Iterator[Finding]:
    for field_, url in endpoints.ListFields():
        port = url.rpartition(":")[2]
        if port.isdecimal() and int(port) > LAST_PORT:
            yield ("endpoints", field_.name), f"expected a port from 1 to {LAST_PORT}, found {port}"


def _storage(config: config_pb2.IrisClusterConfig) -> Iterator[Finding]:
    if not config.controller.HasField("gcp"):
        return
    for name, above in (("state_dir", STATE_DIR), ("pki_dir", PKI_DIR)):
        path = posixpath.normpath(getattr(config.storage, name))
        if not path.startswith(f"{above}/"):
            words = f"expected a path below {above}, where the disk is that outlives the controller's machine"
            yield ("storage", name), f"{words}, found {path!r}"


def _group_names(names: list[str]) -> Iterator[Finding]:
    first: dict[str, str] = {}
    for name in names:
        path = ("scale_groups", name)
        if len(name) > MAX_GROUP_LENGTH:
            words = f"at most {MAX_GROUP_LENGTH} characters"
            yield path, f"would make the group {name}; expected {words}, found {len(name)}"
        other = first.setdefault(name.replace("_", "-"), name)
        if other != name:
            yield path, f"{name} and {other} would make the same slice names (_ becomes - there)"


def _group(key: str, group: config_pb2.ScaleGroupConfig) -> Iterator[Finding]:
    if group.name != key:
        yield ("name",), f"expected the group's key {key} or nothing, found {group.name!r}"
    arm = group.provider.WhichOneof("provider")
    if arm == "tpu":
        yield from _tpu(group)
    elif arm is not None:
        yield from _not_tpu(arm, group)
    if arm == "manual":
        yield from _manual(group)
    if arm == "local" and not group.host_resources.cpu:
        words = "missing; the group is on the controller's host, whose size is not known here"
        yield ("host_resources", "cpu"), words
    yield from listed_twice(("zones",), group.zones)
    if group.min_slices > group.max_slices:
        words = f"{group.min_slices} is more than max_slices, which is {group.max_slices}"
        yield ("min_slices",), words
    yield from _labels((), group.labels)


def _tpu(group: config_pb2.ScaleGroupConfig) -> Iterator[Finding]:
    if not group.zones:
        yield ("zones",), "missing; a TPU group needs at least one, such as zones: [us-central1-a]"
    tpu = group.provider.tpu
    if tpu.reservation and group.capacity != config_pb2.CAPACITY_RESERVED:
        yield ("provider", "tpu", "reservation"), "a reservation is for capacity: reserved"
    elif tpu.reservation and not tpu.HasField("queued_resources"):
        words = "a reservation by name needs queued_resources: {} beside it"
        yield ("provider", "tpu", "reservation"), words
    if group.accelerator_type == "cpu":
        yield ("accelerator_type",), "expected a TPU type such as v5litepod-16"
        return
    try:
        accelerator = find_accelerator(group.accelerator_type)
    except ValueError as error:
        yield ("accelerator_type",), str(error)
        return
    if group.HasField("slice_size") and group.slice_size != accelerator.hosts:
        words = f"{accelerator.accelerator_type} has {accelerator.hosts}; leave slice_size out"
        yield ("slice_size",), f"{words}, found {group.slice_size}"


def _not_tpu(arm: str, group: config_pb2.ScaleGroupConfig) -> Iterator[Finding]:
    if len(group.zones) > 1:
        yield ("zones",), f"a {arm} group has exactly one zone, found {len(group.zones)}"
    if group.runtime_version:
        yield ("runtime_version",), f"a {arm} group has none; it is for TPU groups"
    if group.capacity != config_pb2.CAPACITY_UNSPECIFIED:
        yield ("capacity",), f"a {arm} group has none; it is for TPU groups"


def _manual(group: config_pb2.ScaleGroupConfig) -> Iterator[Finding]:
    path = ("provider", "manual")
    manual = group.provider.manual
    hosts = list(manual.hosts)
    yield from listed_twice((*path, "hosts"), hosts)
    for host in manual.per_host:
        if host not in hosts:
            words = f"expected one of the group's hosts{did_you_mean(host, hosts)}"
            yield (*path, "per_host", host), words
    if hosts and group.slice_size > len(hosts):
        words = f"{group.slice_size} hosts to a slice, but only {len(hosts)} listed"
        yield ("slice_size",), words
    elif hosts and group.max_slices * max(1, group.slice_size) > len(hosts):
        most = len(hosts) // max(1, group.slice_size)
        yield ("max_slices",), f"{len(hosts)} hosts make at most {most} slices"


def _labels(path: FieldPath, labels: Mapping[str, str]) -> Iterator[Finding]:
    if len(labels) > MAX_LABELS:
        yield (*path, "labels"), f"expected at most {MAX_LABELS}, found {len(labels)}"
    for key, value in labels.items():
        here = (*path, "labels", key)
        if key.startswith(OWN_LABELS):
            yield here, f"labels that begin with {OWN_LABELS} are Iris's own"
        if not _LABEL_VALUE.fullmatch(value):
            words = "at most 63 lower-case letters, digits, - and _"
            yield here, f"expected a value of {words}, found {value!r}"


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
