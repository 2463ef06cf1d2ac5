"""What a host is, as plain data, and how its files are read. Knows no source."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

HOST_FILE = "host.json"


class ProbeError(ValueError):
    """The host does not say where it is; names source, field, expectation."""


@dataclass(frozen=True)
class TpuHost:
    """What a TPU program wants to know of its slice.

    `peers` are the addresses of the slice's hosts by worker index. `bounds` has
    `TPU_CHIPS_PER_HOST_BOUNDS`, `TPU_HOST_BOUNDS` and `TPU_TOPOLOGY`, as far as they
    are known. `instance_name` and `instance_id` are the machine's at its provider.
    """

    peers: tuple[str, ...]
    bounds: Mapping[str, str] = field(default_factory=dict)
    instance_name: str = ""
    instance_id: str = ""


@dataclass(frozen=True)
class Environment:
    """A host's place and what it offers.

    `worker_index` counts a slice's hosts from 0. `cpu_millis` counts
    thousandths of a core; `memory_bytes` 0 means that memory is not
    accounted. `controller_file` is read again at every connect. At `address`
    the other hosts of the slice reach this one. `tpu` is there on machines
    that a TPU API made.
    """

    cluster: str
    cluster_id: str
    slice_name: str
    worker_index: int
    group: str
    zone: str
    accelerator_type: str
    cpu_millis: int
    memory_bytes: int
    labels: Mapping[str, str]
    controller_file: Path
    address: str
    tpu: TpuHost | None = None


def read_fields(path: Path) -> dict[str, object]:
    """The object in a file.

    Raises:
        ProbeError: there is none; names the file.
    """
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise ProbeError(f"{path}: cannot read: {error.strerror}") from error
    except ValueError as error:
        raise ProbeError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise ProbeError(f"{path}: expected an object")
    return value


def text_of(path: Path, value: Mapping[str, object], name: str) -> str:
    """A field that is a text, not empty."""
    found = value.get(name)
    if not isinstance(found, str) or not found:
        raise ProbeError(f"{path}: {name}: expected a non-empty string, {_found(value, name)}")
    return found


def number_of(path: Path, value: Mapping[str, object], name: str, least: int) -> int:
    """A field that is a whole number."""
    found = value.get(name)
    # bool is an int to Python; an index of `true` is a mistake.
    if not isinstance(found, int) or isinstance(found, bool) or found < least:
        raise ProbeError(f"{path}: {name}: expected a whole number, at least {least}, {_found(value, name)}")
    return found


def labels_of(path: Path, value: Mapping[str, object]) -> Mapping[str, str]:
    """The field `labels`."""
    found = value.get("labels")
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        raise ProbeError(f"{path}: labels: expected an object of strings, {_found(value, 'labels')}")
    return found


def make_environment(
    path: Path, value: Mapping[str, object], index: int, address: str, tpu: TpuHost | None = None
) -> Environment:
    """A host of the slice that `value`, read from `path`, is about. Unknown fields are ignored.

    Raises:
        ProbeError: naming the file, the field and what was expected.
    """
    return Environment(
        cluster=text_of(path, value, "cluster"),
        cluster_id=text_of(path, value, "cluster_id"),
        slice_name=text_of(path, value, "slice_name"),
        worker_index=index,
        group=text_of(path, value, "group"),
        zone=text_of(path, value, "zone"),
        accelerator_type=text_of(path, value, "accelerator_type"),
        cpu_millis=number_of(path, value, "cpu_millis", least=1),
        memory_bytes=number_of(path, value, "memory_bytes", least=0),
        labels=labels_of(path, value),
        controller_file=Path(text_of(path, value, "controller_file")),
        address=address,
        tpu=tpu,
    )


def _found(value: Mapping[str, object], name: str) -> str:
    return f"found {json.dumps(value[name])}" if name in value else "found nothing"
