"""What a VM's metadata server says, as a tree; pure. Leaves are text, or JSON where Google has an object."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.harness.cloud.identity import Signer, claims_of
from tests.harness.cloud.machines import Vm

ROOT = "/computeMetadata/v1"
HEADER = "Metadata-Flavor"
FLAVOR = "Google"
TOKEN_S = 3599
ACCOUNTS = re.compile(r"instance/service-accounts/[^/]+/(token|identity)")
# The keys of these are the users' own, and stay as they are.
USERS_OWN = "attributes"
Tree = Mapping[str, Any]


@dataclass(frozen=True)
class Question:
    """One GET that is in order; or a PUT, of `put`."""

    path: tuple[str, ...]  # below /computeMetadata/v1
    recursive: bool
    as_json: bool
    wait: bool
    last_etag: str
    timeout_s: float
    audience: str
    full: bool
    put: str | None = None


@dataclass(frozen=True)
class Reply:
    """`body` is text, or JSON where `is_json`; 404 has none."""

    status: int
    body: str
    is_json: bool = False

    @property
    def etag(self) -> str:
        """Another one whenever the body is."""
        return hashlib.sha256(f"{self.status}{self.body}".encode()).hexdigest()[:16]


def understand(target: str) -> Question | None:
    """None if it is not below the root."""
    url = urlsplit(target)
    if not url.path.startswith(f"{ROOT}/"):
        return None
    query = {key: values[-1] for key, values in parse_qs(url.query, keep_blank_values=True).items()}
    path = tuple(part for part in unquote(url.path).removeprefix(ROOT).split("/") if part)
    recursive = query.get("recursive", "").lower() == "true"
    return Question(
        path=path,
        recursive=recursive,
        as_json=query.get("alt", "json" if recursive else "text") == "json",
        wait=query.get("wait_for_change", "").lower() == "true",
        last_etag=query.get("last_etag", ""),
        timeout_s=float(query.get("timeout_sec") or 0),
        audience=query.get("audience", ""),
        full=query.get("format", "") == "full",
    )


def answer(question: Question, vm: Vm, project_number: int, signer: Signer, now_ms: int) -> Reply:
    """What a VM hears."""
    account = ACCOUNTS.fullmatch("/".join(question.path))
    if account and account[1] == "token":
        token = {"access_token": f"ya29.{vm.key}", "expires_in": TOKEN_S, "token_type": "Bearer"}
        return Reply(200, json.dumps(token), is_json=True)
    if account and not question.audience:
        return Reply(400, "non-empty audience parameter required")
    if account:
        claims = claims_of(vm, project_number, question.audience, now_ms, full=question.full)
        return Reply(200, signer.sign(claims))
    found: Any = tree_of(vm, project_number)
    for part in question.path:
        if not isinstance(found, Mapping) or part not in found:
            return Reply(404, "")
        found = found[part]
    if isinstance(found, Mapping) and not question.recursive:
        # A directory; those within end in a stroke.
        names = (f"{name}/" if isinstance(value, Mapping) else name for name, value in found.items())
        return Reply(200, "".join(f"{name}\n" for name in names))
    if question.as_json:
        own = USERS_OWN in question.path
        return Reply(200, json.dumps(_camel(found, own=own)), is_json=True)
    return Reply(200, found if isinstance(found, str) else _lines(found))


def leave(path: tuple[str, ...], value: str, vm: Vm) -> Reply:
    """Takes a guest attribute, and nothing else, where the VM may have some."""
    if path[:2] != ("instance", "guest-attributes") or len(path) != 4:
        return Reply(405, "")
    if vm.attributes.get("enable-guest-attributes", "").upper() != "TRUE":
        return Reply(403, "Guest attributes endpoint access is disabled.")
    vm.left["/".join(path[2:])] = value
    return Reply(200, "")


def tree_of(vm: Vm, project_number: int) -> Tree:
    """All of it but what is signed."""
    account = {
        "aliases": "default",
        "email": vm.email,
        "identity": "",
        "scopes": "".join(f"{scope}\n" for scope in vm.scopes),
        "token": "",
    }
    interface = {
        "access-configs": {"0": {"external-ip": vm.address, "type": "ONE_TO_ONE_NAT"}},
        "ip": vm.address,
        "network": f"projects/{project_number}/networks/default",
    }
    instance: Tree = {
        "attributes": vm.attributes,
        "disks": {
            str(n): {"device-name": name, "index": str(n)}
            for n, name in enumerate(("boot", *(disk.device for disk in vm.disks)))
        },
        "hostname": f"{vm.name}.c.{vm.project}.internal",
        "id": str(vm.id),
        "machine-type": f"projects/{project_number}/machineTypes/{vm.machine_type}",
        "maintenance-event": vm.maintenance_event,
        "name": vm.name,
        "network-interfaces": {"0": interface},
        "preempted": "TRUE" if vm.preempted else "FALSE",
        "service-accounts": {"default": account, vm.email: account},
        "zone": f"projects/{project_number}/zones/{vm.zone}",
    }
    project: Tree = {
        "attributes": {},
        "numeric-project-id": str(project_number),
        "project-id": vm.project,
    }
    return {"instance": instance, "project": project}


def _camel(value: Any, *, own: bool) -> Any:
    if not isinstance(value, Mapping):
        return value
    if value and all(name.isdigit() for name in value):
        return [_camel(each, own=own) for each in value.values()]
    return {
        name if own else _camel_name(name): _camel(each, own=own or name == USERS_OWN)
        for name, each in value.items()
    }


def _camel_name(name: str) -> str:
    first, *rest = name.split("-")
    return first + "".join(part.capitalize() for part in rest)


def _lines(value: Any, above: str = "") -> str:
    if not isinstance(value, Mapping):
        return f"{above} {value}\n"
    return "".join(_lines(each, f"{above}/{name}".lstrip("/")) for name, each in value.items())
