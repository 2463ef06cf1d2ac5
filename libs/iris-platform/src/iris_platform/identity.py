"""Who a cluster is, and what it must not forget, in `--pki-dir`.

The cluster id comes from a key that is made once: at random, or of the
authority's public key where that comes first. Beside it lies the mirror of
the controller's epoch and commit block (DESIGN 3), apart from the state
directory so that a lost or restored store is noticed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from iris_platform.base import ClusterIdentity
from iris_platform.files import make_private_dir, write_atomic, write_new

KEY_FILE = "cluster.key"
# Of the authority, which `iris_platform.pki` makes where a cluster leaves its machine.
CA_KEY_FILE = "ca.key"
CA_CERTIFICATE_FILE = "ca.pem"
MIRROR_FILE = "mirror.json"
# Ten characters of base32 are 50 bits: ample among the clusters of one project,
# and short enough for names (`names.MAX_NAME_LENGTH`).
CLUSTER_ID_LENGTH = 10
KEY_BYTES = 32


class IdentityError(ValueError):
    """A file in the pki directory is not what it should be."""


@dataclass(frozen=True)
class Mirror:
    """The highest epoch, and the end of the commit block written ahead."""

    epoch: int
    commit: int


def cluster_id_of(key: bytes) -> str:
    """Ten characters `[a-z2-7]` from the SHA-256 of a key's bytes."""
    digest = hashlib.sha256(key).digest()
    return base64.b32encode(digest).decode("ascii").lower()[:CLUSTER_ID_LENGTH]


def read_key(path: Path, what: str) -> bytes | None:
    """The bytes of a key file; None where there is none. Messages call it `what`.

    Raises:
        IdentityError: it cannot be read, or others than its owner can.
    """
    try:
        data = path.read_bytes()
        mode = path.stat().st_mode
    except FileNotFoundError:
        return None
    except OSError as error:
        raise IdentityError(f"{path}: cannot read {what}: {error.strerror}") from error
    if mode & 0o077:
        raise IdentityError(f"{path}: {what} is open to others (mode {mode & 0o777:04o}); chmod 600 it")
    return data


def load_identity(cluster: str, pki_dir: Path) -> ClusterIdentity | None:
    """The identity made earlier; None before the first start.

    Raises:
        IdentityError: the key file cannot be used; the message says why.
    """
    path = pki_dir / KEY_FILE
    key = read_key(path, "the cluster's key")
    if key is None:
        return None
    if len(key) < KEY_BYTES:
        raise IdentityError(
            f"{path}: the cluster's key is damaged ({len(key)} bytes); restore it from a backup"
        )
    return ClusterIdentity(cluster, cluster_id_of(key))


def ensure_identity(cluster: str, pki_dir: Path, seed: bytes | None = None) -> ClusterIdentity:
    """The cluster's identity, made now if there is none; two callers agree.

    It is made of `seed` (at least 32 bytes; by default random), which an
    authority gives: see docs/decisions/008-certificates.md.

    Raises:
        IdentityError: the key file cannot be used or made.
    """
    found = load_identity(cluster, pki_dir)
    if found is not None:
        return found
    if seed is None and (pki_dir / CA_KEY_FILE).exists():
        raise IdentityError(
            f"{pki_dir / KEY_FILE}: missing, but {CA_KEY_FILE} is there; restore it from the backup,"
            " or it would be another cluster"
        )
    try:
        make_private_dir(pki_dir)
        write_new(pki_dir / KEY_FILE, seed or os.urandom(KEY_BYTES).hex().encode("ascii") + b"\n")
    except OSError as error:
        raise IdentityError(f"{pki_dir}: cannot make the cluster's key: {error.strerror}") from error
    found = load_identity(cluster, pki_dir)
    if found is None:
        raise IdentityError(f"{pki_dir / KEY_FILE}: the cluster's key vanished while it was made")
    return found


def read_mirror(pki_dir: Path) -> Mirror | None:
    """The mirror; None when none was ever written.

    Raises:
        IdentityError: it is there but cannot be understood. A controller must
            not start then: its epoch might come twice.
    """
    path = pki_dir / MIRROR_FILE
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise IdentityError(f"{path}: cannot read the epoch's mirror: {error}") from error
    numbers = [value.get(key) for key in ("epoch", "commit")] if isinstance(value, dict) else [None]
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise IdentityError(f"{path}: expected numbers epoch and commit, at least 0")
    return Mirror(*numbers)


def write_mirror(pki_dir: Path, mirror: Mirror) -> None:
    """Write the mirror durably; returns when it would survive a power cut.

    Raises:
        OSError: it is not known to be on disk.
    """
    make_private_dir(pki_dir)
    data = json.dumps({"epoch": mirror.epoch, "commit": mirror.commit})
    write_atomic(pki_dir / MIRROR_FILE, data.encode("ascii") + b"\n")
