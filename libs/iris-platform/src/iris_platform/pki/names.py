"""Who a certificate is for, as text. Knows no cryptography and reads no file.

A server certificate carries the DNS name `controller.<cluster id>.iris`, which
clients check whatever address they dialled. Everybody else's carries one URI:
`iris://<cluster id>/operator/<name>`, `…/user/<name>` or
`…/worker/<slice>/<index>`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

# A controller's own SSH key, in its directory of keys.
SSH_KEY_FILE = "ssh.key"

# Names of people: what mail addresses and accounts look like, and nothing that a URI, a log or a shell minds.
_PERSON = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._@+-]{0,62})")
_CLUSTER_ID = re.compile(r"[a-z2-7]{10}")
_SLICE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62})")
_URI = re.compile(r"iris://([a-z2-7]{10})/(operator|user|worker)/([^/]+)(?:/(0|[1-9][0-9]{0,5}))?")


class Role(str, Enum):
    """What a certificate's holder may do; the controller has a table of it."""

    OPERATOR = "operator"
    USER = "user"
    WORKER = "worker"


@dataclass(frozen=True)
class Person:
    """An operator or a user. Raises `ValueError` for a name that is none."""

    cluster_id: str
    role: Role
    name: str

    def __post_init__(self) -> None:
        _expect(_CLUSTER_ID, self.cluster_id, "cluster id", "ten characters a-z and 2-7")
        _expect(
            _PERSON, self.name, "name", "1 to 63 letters, digits and . _ @ + -, beginning with the former"
        )
        if self.role is Role.WORKER:
            raise ValueError("role: a person is operator or user")

    @property
    def uri(self) -> str:
        """The name in the certificate."""
        return f"iris://{self.cluster_id}/{self.role.value}/{self.name}"


@dataclass(frozen=True)
class WorkerPlace:
    """One host of a slice, by index from 0. Raises `ValueError` for what cannot be one."""

    cluster_id: str
    slice_name: str
    worker_index: int

    def __post_init__(self) -> None:
        _expect(_CLUSTER_ID, self.cluster_id, "cluster id", "ten characters a-z and 2-7")
        _expect(_SLICE, self.slice_name, "slice", "at most 63 lower-case letters, digits and -")
        if not 0 <= self.worker_index < 1_000_000:
            raise ValueError(f"worker index: expected 0 to 999999, found {self.worker_index}")

    @property
    def role(self) -> Role:
        """Always a worker."""
        return Role.WORKER

    @property
    def uri(self) -> str:
        """The name in the certificate."""
        return f"iris://{self.cluster_id}/worker/{self.slice_name}/{self.worker_index}"


Subject = Person | WorkerPlace


def server_name(cluster_id: str) -> str:
    """What the controller's certificate is for, and clients insist on."""
    return f"controller.{cluster_id}.iris"


def parse_uri(uri: str) -> Subject | None:
    """Who a URI of a certificate names; None for any that `Subject.uri` does not make."""
    found = _URI.fullmatch(uri)
    if found is None:
        return None
    cluster_id, role, name, index = found.groups()
    try:
        if role == Role.WORKER.value:
            return None if index is None else WorkerPlace(cluster_id, name, int(index))
        return None if index is not None else Person(cluster_id, Role(role), name)
    except ValueError:
        return None


def _expect(pattern: re.Pattern[str], text: str, what: str, expected: str) -> None:
    if not pattern.fullmatch(text):
        raise ValueError(f"{what}: expected {expected}, found {text[:80]!r}")
