"""The controller's machine and its disk on Compute Engine: requests and replies as plain data.

Field names are those of the Compute Engine API, v1
(https://cloud.google.com/compute/docs/reference/rest/v1/instances and .../disks).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from iris_platform.base import PlatformError, VmInfo, VmState
from iris_platform.gcp.mount import DISK_NAME, MOUNT_SCRIPT

GIB = 1 << 30
# What it may do is for the roles of its service account to say.
SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
# The metadata value with a line `USER:KEY` for each who may log in.
SSH_KEYS = "ssh-keys"

# Every state of https://cloud.google.com/compute/docs/instances/instance-lifecycle.
STATES: Mapping[str, VmState] = {
    "PENDING": VmState.BOOTING,
    "PROVISIONING": VmState.BOOTING,
    "STAGING": VmState.BOOTING,
    "RUNNING": VmState.RUNNING,
    # They are on their way to TERMINATED, or back from it.
    "PENDING_STOP": VmState.RUNNING,
    "STOPPING": VmState.TERMINATED,
    "SUSPENDING": VmState.TERMINATED,
    "SUSPENDED": VmState.TERMINATED,
    "TERMINATED": VmState.TERMINATED,
    "STOPPED": VmState.TERMINATED,
    "DEPROVISIONING": VmState.TERMINATED,
    "REPAIRING": VmState.FAILED,
}


@dataclass(frozen=True)
class Machine:
    """The controller's machine as it is wanted. Sizes in bytes.

    Empty `service_account` and `subnetwork` mean the project's and the network's own.
    """

    project: str
    zone: str
    name: str
    disk: str
    machine_type: str
    boot_image: str
    boot_disk_bytes: int
    state_disk_bytes: int
    network: str
    subnetwork: str = ""
    service_account: str = ""
    external_addresses: bool = True
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def host_name(self) -> str:
        """What machines of its network know it by.

        https://cloud.google.com/compute/docs/internal-dns (zonal names); of a project
        in an organisation's domain, `DOMAIN:NAME`, it has the domain behind.
        """
        domain, colon, project = self.project.rpartition(":")
        where = f"{project}.{domain}" if colon else project
        return f"{self.name}.{self.zone}.c.{where}.internal"


@dataclass(frozen=True)
class Found:
    """A machine that is there: `fingerprint` and `metadata` are for changing its metadata.

    `machine_id` is no other's, ever; a machine of the same name has another one.
    """

    vm: VmInfo
    machine_id: str
    external_address: str
    metadata: Mapping[str, str]
    fingerprint: str


def disk_body(machine: Machine) -> dict[str, Any]:
    """Of `disks.insert`: the disk that outlives the machine."""
    return {
        "name": machine.disk,
        "sizeGb": str(-(-machine.state_disk_bytes // GIB)),
        "type": f"projects/{machine.project}/zones/{machine.zone}/diskTypes/pd-balanced",
        "labels": dict(machine.labels),
        "description": "State and keys of an Iris cluster's controller.",
    }


def instance_body(machine: Machine, ssh_keys: str) -> dict[str, Any]:
    """Of `instances.insert`. Metadata is public: it holds no secret."""
    interface: dict[str, Any] = {"network": _network(machine)}
    if machine.subnetwork:
        region = machine.zone.rpartition("-")[0]
        interface["subnetwork"] = _of_region(machine, region)
    if machine.external_addresses:
        interface["accessConfigs"] = [{"type": "ONE_TO_ONE_NAT", "name": "External NAT"}]
    metadata = {
        "startup-script": MOUNT_SCRIPT,
        SSH_KEYS: ssh_keys,
        # Who may log in is whom this cluster names, not who may anywhere in the project.
        "block-project-ssh-keys": "TRUE",
        "enable-oslogin": "FALSE",
    }
    return {
        "name": machine.name,
        "machineType": f"zones/{machine.zone}/machineTypes/{machine.machine_type}",
        "description": "The controller of an Iris cluster.",
        "labels": dict(machine.labels),
        "disks": [
            {
                "boot": True,
                "autoDelete": True,
                "initializeParams": {
                    "sourceImage": machine.boot_image,
                    "diskSizeGb": str(-(-machine.boot_disk_bytes // GIB)),
                    "labels": dict(machine.labels),
                },
            },
            {
                "source": f"projects/{machine.project}/zones/{machine.zone}/disks/{machine.disk}",
                "deviceName": DISK_NAME,
                "autoDelete": False,
            },
        ],
        "networkInterfaces": [interface],
        "serviceAccounts": [{"email": machine.service_account or "default", "scopes": list(SCOPES)}],
        "metadata": metadata_body(metadata, ""),
        "scheduling": {"automaticRestart": True, "onHostMaintenance": "MIGRATE"},
    }


def metadata_body(metadata: Mapping[str, str], fingerprint: str) -> dict[str, Any]:
    """Of `instances.setMetadata`, and the part of an instance that it is."""
    body: dict[str, Any] = {"items": [{"key": key, "value": value} for key, value in metadata.items()]}
    return body | ({"fingerprint": fingerprint} if fingerprint else {})


def found_of(body: Mapping[str, Any], zone: str) -> Found:
    """A machine from the reply of `instances.get`."""
    status = str(body.get("status", ""))
    interfaces = body.get("networkInterfaces") or [{}]
    access = interfaces[0].get("accessConfigs") or [{}]
    metadata = body.get("metadata") or {}
    vm = VmInfo(
        vm_id=str(body["name"]),
        address=str(interfaces[0].get("networkIP", "")),
        zone=zone,
        labels={str(key): str(value) for key, value in (body.get("labels") or {}).items()},
        # What a newer API calls otherwise is there all the same.
        state=STATES.get(status, VmState.BOOTING),
        created_at_ms=_milliseconds(str(body.get("creationTimestamp", ""))),
    )
    return Found(
        vm,
        str(body.get("id", "")),
        str(access[0].get("natIP", "")),
        {str(item["key"]): str(item.get("value", "")) for item in metadata.get("items") or ()},
        str(metadata.get("fingerprint", "")),
    )


def operation_problem(body: Mapping[str, Any]) -> tuple[int, str]:
    """Of an operation that failed: an HTTP status and what was said; 0 where it did not."""
    errors = (body.get("error") or {}).get("errors") or []
    if not errors:
        return 0, ""
    said = "; ".join(f"{error.get('code', '')}: {error.get('message', '')}".strip(": ") for error in errors)
    return int(body.get("httpErrorStatusCode") or 500), said


def with_ssh_key(ssh_keys: str, line: str) -> str:
    """The metadata value `ssh-keys` with one more line, unless it is there."""
    lines = [known for known in ssh_keys.splitlines() if known.strip()]
    return "\n".join(lines if line in lines else [*lines, line])


def _network(machine: Machine) -> str:
    return _path(machine, "global/networks", machine.network)


def _of_region(machine: Machine, region: str) -> str:
    return _path(machine, f"regions/{region}/subnetworks", machine.subnetwork)


def _path(machine: Machine, kind: str, name: str) -> str:
    """A resource by its name, or as it was written where it has a path: shared networks have another project."""
    return name if "/" in name else f"projects/{machine.project}/{kind}/{name}"


def _milliseconds(timestamp: str) -> int:
    try:
        # Python 3.10 reads no Z.
        return round(datetime.fromisoformat(timestamp.replace("Z", "+00:00")).timestamp() * 1000)
    except ValueError as error:
        raise PlatformError(f"creationTimestamp: expected RFC 3339, found {timestamp!r}") from error
