"""Where everything of Iris is on a host: below one directory, with one for each role.

ROOT/bundles/SHA256/     installed bundles
ROOT/incoming/           bundles on their way
ROOT/host.pyz            this program, for the service and for later commands
ROOT/made.json           directories above ROOT that were made for it
ROOT/ROLE/labels.json    whose it is
ROOT/ROLE/service.json   what runs: argv, environment, limits (0600)
ROOT/ROLE/state.json     what the supervisor last saw
ROOT/ROLE/work/          the agent's own directory; gone with the agent
ROOT/ROLE/state/         the controller's store and keys; gone only with `--forget`
ROOT/ROLE/state/local/   hosts of local slices; gone with the controller
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iris_platform.bootstrap.host.outcome import HOST_TROUBLE, REFUSED, Failure
from iris_platform.files import make_private_dir, write_atomic
from iris_platform.names import LABEL_CLUSTER, LABEL_CLUSTER_ID

ROLES = ("worker", "controller")
ROOT_OF_ROOT = "/var/lib/iris-host"
# A socket's path has at most 107 bytes, and ROOT/controller/notify is one.
LONGEST_ROOT = 88
STALE_UPLOAD_S = 86_400.0

# What needs no quoting in a unit file and in the options of docker.
_PLAIN = re.compile(r"/[A-Za-z0-9._/+@-]+")


@dataclass(frozen=True)
class Layout:
    """The places of one role."""

    root: Path
    role: str

    @property
    def home(self) -> Path:
        return self.root / self.role

    @property
    def work(self) -> Path:
        return self.home / "work"

    @property
    def state(self) -> Path:
        return self.home / "state"

    @property
    def local(self) -> Path:
        return self.state / "local"

    @property
    def labels_file(self) -> Path:
        return self.home / "labels.json"

    @property
    def service_file(self) -> Path:
        return self.home / "service.json"

    @property
    def state_file(self) -> Path:
        return self.home / "state.json"

    @property
    def log_file(self) -> Path:
        return self.home / "log"

    @property
    def notify_socket(self) -> Path:
        return self.home / "notify"

    @property
    def dead_man_file(self) -> Path:
        return self.home / "dead-man.json"

    @property
    def bundles(self) -> Path:
        return self.root / "bundles"

    @property
    def incoming(self) -> Path:
        return self.root / "incoming"

    @property
    def program(self) -> Path:
        return self.root / "host.pyz"

    @property
    def made_file(self) -> Path:
        return self.root / "made.json"

    def filled(self, value: object) -> Any:
        """`value` with `@work@` and `@state@` at the beginning of strings put in their places."""
        if isinstance(value, str):
            for word, place in (("@work@", self.work), ("@state@", self.state)):
                if value == word or value.startswith(f"{word}/"):
                    return f"{place}{value[len(word) :]}"
            return value
        if isinstance(value, list):
            return [self.filled(item) for item in value]
        if isinstance(value, dict):
            return {key: self.filled(item) for key, item in value.items()}
        return value


def default_root(environ: Mapping[str, str]) -> Path:
    """`/var/lib/iris-host` for root, else `iris-host` below `$XDG_DATA_HOME`."""
    if os.geteuid() == 0:
        return Path(ROOT_OF_ROOT)
    value = environ.get("XDG_DATA_HOME", "")
    if value.startswith("/"):
        return Path(value) / "iris-host"
    return Path(environ.get("HOME") or Path.home()) / ".local" / "share" / "iris-host"


def check_root(root: Path) -> None:
    """Refuse a root that a unit file or a socket's address cannot hold."""
    if not _PLAIN.fullmatch(str(root)) or len(str(root)) > LONGEST_ROOT or ".." in root.parts:
        words = f"{str(root)!r}: expected an absolute path of letters, digits and ._/+@-, at most"
        raise Failure("root", f"{words} {LONGEST_ROOT} characters long", REFUSED)


def make_root(layout: Layout) -> None:
    """Make the directory of all roles (0700), and note which above it were not there."""
    missing = [path for path in layout.root.parents if not path.exists()]
    try:
        make_private_dir(layout.root)
        if not layout.made_file.exists():
            write_json(layout.made_file, [str(path) for path in missing])
        layout.incoming.mkdir(mode=0o700, exist_ok=True)
        for path in layout.incoming.iterdir():
            # An upload that was broken off; nobody goes on with it.
            if time.time() - path.stat().st_mtime > STALE_UPLOAD_S:
                path.unlink()
    except OSError as error:
        raise Failure("root", f"{error.filename or layout.root}: {error.strerror}", HOST_TROUBLE) from error


def make_role(layout: Layout) -> None:
    """Make the directories of a role (0700)."""
    try:
        for path in (layout.home, layout.work, layout.state):
            path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise Failure("root", f"{error.filename or layout.home}: {error.strerror}", HOST_TROUBLE) from error


def read_json(path: Path) -> dict[str, Any]:
    """A file of ours; empty when it is not there or was cut short."""
    with suppress(OSError, ValueError):
        found = json.loads(path.read_bytes())
        if isinstance(found, dict):
            return found
    return {}


def write_json(path: Path, value: object) -> None:
    """Write a file of ours (0600), whole or not at all."""
    write_atomic(path, json.dumps(value, indent=1, sort_keys=True).encode("utf-8") + b"\n")


def read_made(layout: Layout) -> list[str]:
    """The directories above the root that were made for it, the lowest first."""
    try:
        found = json.loads(layout.made_file.read_bytes())
    except (OSError, ValueError):
        return []
    return [str(path) for path in found] if isinstance(found, list) else []


def role_labels(layout: Layout) -> dict[str, str]:
    """Whose this role of the host is; empty when nobody's."""
    return {str(key): str(value) for key, value in read_json(layout.labels_file).items()}


def check_owner(layout: Layout, labels: Mapping[str, str]) -> None:
    """Refuse a host that serves another cluster.

    By its id; by its name where somebody does not know the id yet.
    """
    found = role_labels(layout)
    there, wanted = found.get(LABEL_CLUSTER_ID), labels.get(LABEL_CLUSTER_ID)
    name = found.get(LABEL_CLUSTER, "?")
    if there and (there != wanted if wanted else name != labels.get(LABEL_CLUSTER)):
        raise Failure(
            "owner",
            f"this host is a {layout.role} of cluster {name} (id {there}), not of"
            f" {wanted or labels.get(LABEL_CLUSTER)}:"
            f" stop that cluster, or remove {layout.home} if it no longer exists",
            REFUSED,
        )
