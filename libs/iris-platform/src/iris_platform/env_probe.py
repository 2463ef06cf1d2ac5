"""Where am I? What the agent on a host must know before it can join.

One function, `probe`, chooses the source; today's only one is the file
`host.json` that the platform wrote into the host's directory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from iris_platform.files import write_atomic

HOST_FILE = "host.json"


class ProbeError(ValueError):
    """The host does not say where it is; names source, field, expectation."""


@dataclass(frozen=True)
class Environment:
    """A host's place and what it offers.

    `worker_index` counts a slice's hosts from 0. `cpu_millis` counts
    thousandths of a core; `memory_bytes` 0 means that memory is not
    accounted. `controller_file` is read again at every connect. At `address`
    the other hosts of the slice reach this one.
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


def probe(host_dir: Path) -> Environment:
    """What this host is.

    The one place that chooses the source: a metadata server joins here, asked
    when `host_dir` has no file.

    Raises:
        ProbeError: the source is missing, or a field of it is.
    """
    return read_host_file(host_dir / HOST_FILE)


def read_host_file(path: Path) -> Environment:
    """The environment that `write_environment` wrote. Unknown fields are ignored.

    Raises:
        ProbeError: naming the file, the field and what was expected.
    """
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise ProbeError(f"{path}: cannot read: {error.strerror}") from error
    except ValueError as error:
        raise ProbeError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise ProbeError(f"{path}: expected an object")
    return Environment(
        cluster=_text(path, value, "cluster"),
        cluster_id=_text(path, value, "cluster_id"),
        slice_name=_text(path, value, "slice_name"),
        worker_index=_number(path, value, "worker_index", least=0),
        group=_text(path, value, "group"),
        zone=_text(path, value, "zone"),
        accelerator_type=_text(path, value, "accelerator_type"),
        cpu_millis=_number(path, value, "cpu_millis", least=1),
        memory_bytes=_number(path, value, "memory_bytes", least=0),
        labels=_labels(path, value),
        controller_file=Path(_text(path, value, "controller_file")),
        address=_text(path, value, "address"),
    )


def write_environment(host_dir: Path, environment: Environment) -> None:
    """Write `host.json` for `probe` to read.

    Raises:
        OSError: it could not be written.
    """
    value = vars(environment) | {
        "labels": dict(environment.labels),
        "controller_file": str(environment.controller_file),
    }
    write_atomic(host_dir / HOST_FILE, json.dumps(value, indent=1).encode("utf-8") + b"\n")


def _text(path: Path, value: Mapping[str, object], name: str) -> str:
    found = value.get(name)
    if not isinstance(found, str) or not found:
        raise ProbeError(f"{path}: {name}: expected a non-empty string, {_found(value, name)}")
    return found


def _number(path: Path, value: Mapping[str, object], name: str, least: int) -> int:
    found = value.get(name)
    # bool is an int to Python; an index of `true` is a mistake.
    if not isinstance(found, int) or isinstance(found, bool) or found < least:
        raise ProbeError(f"{path}: {name}: expected a whole number, at least {least}, {_found(value, name)}")
    return found


def _labels(path: Path, value: Mapping[str, object]) -> Mapping[str, str]:
    found = value.get("labels")
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        raise ProbeError(f"{path}: labels: expected an object of strings, {_found(value, 'labels')}")
    return found


def _found(value: Mapping[str, object], name: str) -> str:
    return f"found {json.dumps(value[name])}" if name in value else "found nothing"
