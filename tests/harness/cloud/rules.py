"""What Google refuses in a request, before anything happens. Raises ApiError with Google's words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from iris_config.accelerators import GENERATIONS, Accelerator, find_accelerator
from tests.harness.cloud import errors
from tests.harness.cloud.settings import Settings

ID = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
PARENT = re.compile(r"projects/([^/]+)/locations/([^/]+)")
LABEL_KEY = re.compile(r"[a-z][-_a-z0-9]{0,62}")
LABEL_VALUE = re.compile(r"[-_a-z0-9]{0,63}")
METADATA_KEY = re.compile(r"[-_a-zA-Z0-9]{1,128}")
MOST_LABELS = 64
MOST_OF_A_VALUE = 256 * 1024
MOST_METADATA = 512 * 1024
MOST_DESCRIPTION = 512
RUNTIMES = tuple(
    sorted({g.runtime_version for g in GENERATIONS.values()} | {"tpu-vm-base", "tpu-vm-tf-2.16.1-pjrt"})
)
# AcceleratorConfig.Type.
CONFIG_TYPES = {"v2": 2, "v3": 4, "v4": 7, "v5e": 9, "v5p": 10, "v6e": 11}
LONGEST_WAIT_S = 30 * 24 * 3600
ANY_ZONE = "-"


@dataclass(frozen=True)
class Place:
    """A project and a zone, as `projects/P/locations/Z` has them."""

    project: str
    zone: str

    def __str__(self) -> str:
        return f"projects/{self.project}/locations/{self.zone}"


def place_of(name: str) -> Place:
    """The place of a resource's full name, which is known to have one."""
    _, project, _, zone, *_ = name.split("/")
    return Place(project, zone)


def check_place(parent: str, settings: Settings, *, any_zone: bool = False) -> Place:
    """`any_zone`: whether `-` will do for all of them."""
    match = PARENT.fullmatch(parent)
    if match is None:
        raise errors.invalid(f"Malformed name: '{parent}'")
    check_project(match[1], settings)
    if match[2] not in settings.zones and not (any_zone and match[2] == ANY_ZONE):
        raise errors.ApiError(7, f"Permission denied on 'locations/{match[2]}' (or it may not exist).")
    return Place(match[1], match[2])


def check_project(project: str, settings: Settings) -> None:
    if project not in settings.projects:
        raise errors.ApiError(
            7,
            f"Permission denied on resource project {project}.",
            "CONSUMER_INVALID",
            {"consumer": f"projects/{project}", "service": "tpu.googleapis.com"},
        )


def check_id(value: str, what: str) -> None:
    """`what`: "nodeId" or the like."""
    if not ID.fullmatch(value):
        raise errors.invalid(
            f"Invalid {what}: '{value}'. Must start with a lowercase letter followed by up to 62 lowercase"
            " letters, numbers, or hyphens, and cannot end with a hyphen."
        )


def check_node(node: Any, place: Place, settings: Settings) -> Accelerator:
    """A node as it was asked for, a `tpu.v2.Node` of protobuf; what it is made of."""
    accelerator = _accelerator(node, place)
    if not node.runtime_version:
        raise errors.bad_request("runtime_version is required.")
    if node.runtime_version not in RUNTIMES:
        raise errors.bad_request(f"the runtime version {node.runtime_version} was not found.")
    if len(node.description) > MOST_DESCRIPTION:
        raise errors.invalid(f"description: at most {MOST_DESCRIPTION} characters")
    _check_scheduling(node.scheduling_config)
    _check_networks(node, place, settings)
    check_labels(dict(node.labels))
    check_metadata(dict(node.metadata))
    return accelerator


def _accelerator(node: Any, place: Place) -> Accelerator:
    by_config = node.HasField("accelerator_config")
    if bool(node.accelerator_type) == by_config:
        raise errors.bad_request("exactly one of accelerator_type and accelerator_config must be specified.")
    name = f"{node.accelerator_config.type_}:{node.accelerator_config.topology}"
    found = _by_config(node.accelerator_config) if by_config else _by_type(node.accelerator_type)
    if found is None or place.zone not in GENERATIONS[found.generation].zones:
        what = name if by_config else node.accelerator_type
        raise errors.bad_request(f"the accelerator {what} was not found in zone {place.zone}")
    return found


def _by_type(accelerator_type: str) -> Accelerator | None:
    try:
        found = find_accelerator(accelerator_type)
    except ValueError:
        return None
    # The API knows one name of each.
    return found if found.accelerator_type == accelerator_type else None


def _by_config(config: Any) -> Accelerator | None:
    for generation in GENERATIONS.values():
        if CONFIG_TYPES[generation.name] == config.type_ and config.topology in generation.topologies:
            size = generation.sizes[generation.topologies.index(config.topology)]
            return find_accelerator(f"{generation.api_prefix}-{size}")
    return None


def _check_scheduling(scheduling: Any) -> None:
    if scheduling.reserved and (scheduling.spot or scheduling.preemptible):
        raise errors.bad_request("spot or preemptible nodes cannot use a reservation.")


def _check_networks(node: Any, place: Place, settings: Settings) -> None:
    if node.HasField("network_config") and node.network_configs:
        raise errors.bad_request("network_config and network_configs are mutually exclusive.")
    for config in node.network_configs or [node.network_config]:
        check_network(config.network, place.project, settings)


def check_network(network: str, project: str, settings: Settings) -> None:
    """Empty is `default`; a name, or a path that ends in `projects/P/global/networks/NAME`."""
    name = (network or "default").rpartition("/")[2]
    if name not in settings.networks:
        raise errors.ApiError(5, f"The resource 'projects/{project}/global/networks/{name}' was not found")


def check_labels(labels: dict[str, str]) -> None:
    if len(labels) > MOST_LABELS:
        raise errors.invalid(f"Too many labels: {len(labels)}; at most {MOST_LABELS} are allowed.")
    for key, value in labels.items():
        if not LABEL_KEY.fullmatch(key):
            raise errors.invalid(f"Label key '{key}' violates format constraints: lowercase letters, digits")
        if not LABEL_VALUE.fullmatch(value):
            raise errors.invalid(f"Label value '{value}' violates format constraints: lowercase, digits, -_")


def check_metadata(metadata: dict[str, str]) -> None:
    """Sizes are of UTF-8, keys included in the sum."""
    total = 0
    for key, value in metadata.items():
        if not METADATA_KEY.fullmatch(key):
            raise errors.invalid(f"Metadata key '{key}' is invalid: must match [a-zA-Z0-9-_]{{1,128}}")
        size = len(value.encode())
        if size > MOST_OF_A_VALUE:
            raise errors.invalid(
                f"Value for field 'metadata.items[{key}]' is too large: maximum size {MOST_OF_A_VALUE}"
                f" character(s); actual size {size}."
            )
        total += len(key.encode()) + size
    if total > MOST_METADATA:
        raise errors.invalid(f"Metadata is too large: {total} bytes; at most {MOST_METADATA} are allowed.")


def check_queued(resource: Any, place: Place, settings: Settings, now_ms: int) -> list[Accelerator]:
    """A queued resource as it was asked for; what each of its node specs is made of."""
    specs = resource.tpu.node_spec
    if not specs:
        raise errors.invalid("tpu.node_spec must have at least one element.")
    tier = resource.WhichOneof("tier")
    if tier == "spot" and resource.reservation_name:
        raise errors.bad_request("a spot request cannot use a reservation.")
    if resource.reservation_name:
        name = resource.reservation_name.rpartition("/")[2]
        if name not in settings.reservations:
            raise errors.not_found(resource.reservation_name)
    _check_policy(resource.queueing_policy, now_ms)
    return [_check_spec(spec, place, settings) for spec in specs]


def _check_spec(spec: Any, place: Place, settings: Settings) -> Accelerator:
    parent = spec.parent.split("/")
    by_number = [str(settings.projects[place.project]), place.zone]
    if len(parent) != 4 or parent[1::2] not in ([place.project, place.zone], by_number):
        raise errors.invalid(f"tpu.node_spec.parent must be {place}, was '{spec.parent}'.")
    which = spec.WhichOneof("name_strategy") if _has_oneof(spec) else None
    count = spec.multislice_params.node_count
    multi = which == "multislice_params" or spec.HasField("multislice_params")
    if multi == bool(spec.node_id):
        raise errors.invalid("exactly one of node_id and multislice_params must be specified.")
    if multi and count < 2:
        raise errors.invalid("multislice_params.node_count must be at least 2.")
    if multi and spec.multislice_params.node_id_prefix:
        check_id(f"{spec.multislice_params.node_id_prefix}-{count - 1}", "nodeIdPrefix")
    if spec.node_id:
        check_id(spec.node_id, "nodeId")
    return check_node(spec.node, place, settings)


def _has_oneof(spec: Any) -> bool:
    return "name_strategy" in spec.DESCRIPTOR.oneofs_by_name


def _check_policy(policy: Any, now_ms: int) -> None:
    field = next((name for name in policy.DESCRIPTOR.fields_by_name if policy.HasField(name)), None)
    if field in ("valid_until_duration", "valid_after_duration"):
        seconds = getattr(policy, field).ToNanoseconds() / 1e9
        if not 0 < seconds <= LONGEST_WAIT_S:
            raise errors.invalid(f"queueing_policy.{field} must be positive and at most 30 days.")
    if field == "valid_until_time" and policy.valid_until_time.ToMilliseconds() <= now_ms:
        raise errors.invalid("queueing_policy.valid_until_time must be in the future.")
