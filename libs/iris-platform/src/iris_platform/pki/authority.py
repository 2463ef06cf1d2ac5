"""The cluster's certificate authority, in `--pki-dir` on the controller's host, and the backup of all keys there.

`ca.key` (0600) is made first and everything else follows from it, so that a
crash at any moment is completed by the next start. The cluster id is that of
`cluster.key`, which is made of the authority's public key where there was none:
see docs/decisions/008-certificates.md.
"""

from __future__ import annotations

import base64
import hashlib
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from iris_platform.base import ClusterIdentity
from iris_platform.files import make_private_dir, write_new
from iris_platform.identity import (
    CA_CERTIFICATE_FILE,
    CA_KEY_FILE,
    KEY_FILE,
    IdentityError,
    cluster_id_of,
    ensure_identity,
    load_identity,
    read_key,
)
from iris_platform.pki import certificates
from iris_platform.pki.certificates import NotAKey, PrivateKey
from iris_platform.pki.names import Subject
from iris_platform.store_key import STORE_KEY_FILE, load_store_key, store_key_from_text

_SEED = "IRIS CLUSTER KEY"
# Missing where the controller has never opened its store.
_STORE_KEY = "IRIS STORE KEY"
_BLOCK = re.compile(r"-----BEGIN ([A-Z ]+)-----\n.*?\n-----END \1-----\n", re.DOTALL)
# A backup has about 1,700 bytes.
_BACKUP_MOST_BYTES = 65_536


@dataclass(frozen=True)
class Authority:
    """Signs for one cluster. Whoever holds it is the cluster: it never leaves the controller but as a backup."""

    identity: ClusterIdentity
    certificate: x509.Certificate
    key: PrivateKey

    def __repr__(self) -> str:
        return f"Authority({self.identity})"

    @property
    def ca_pem(self) -> bytes:
        """What everybody pins; public."""
        return self.certificate.public_bytes(Encoding.PEM)

    def sign_client(self, csr: bytes, subject: Subject, now_s: float) -> bytes:
        """A week's certificate in PEM for the key of a signing request and the `subject` that we decided on.

        Raises:
            CsrRefused: see `certificates.read_csr`.
            ValueError: the subject is of another cluster.
        """
        if subject.cluster_id != self.identity.cluster_id:
            raise ValueError(f"this authority signs for cluster {self.identity.cluster_id}")
        key = certificates.read_csr(csr)
        signed = certificates.sign_client((self.key, self.certificate), key, subject, now_s)
        return signed.public_bytes(Encoding.PEM)

    def make_server(self, now_s: float) -> tuple[bytes, bytes]:
        """A new key and a week's certificate for it, in PEM. For the controller's memory, not for a disk."""
        key = certificates.make_key()
        ca = (self.key, self.certificate)
        signed = certificates.sign_server(ca, key.public_key(), self.identity.cluster_id, now_s)
        return certificates.key_to_pem(key), signed.public_bytes(Encoding.PEM)


def load_authority(cluster: str, pki_dir: Path) -> Authority | None:
    """The authority made earlier; None where there is none.

    Raises:
        IdentityError: what is there cannot be used; the message says why and
            what to do.
    """
    key = _read_key(pki_dir / CA_KEY_FILE)
    if key is None:
        return None
    path = pki_dir / CA_CERTIFICATE_FILE
    try:
        certificate = certificates.certificate_from_pem(path.read_bytes())
        named = certificates.cluster_id_of_ca(certificate)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise IdentityError(f"{path}: cannot read: {error.strerror}") from error
    except NotAKey as error:
        raise IdentityError(f"{path}: {error}; restore it from a backup") from error
    if certificates.public_bytes(certificate.public_key()) != certificates.public_bytes(key.public_key()):
        raise IdentityError(f"{path}: is not of {CA_KEY_FILE} beside it; restore both from a backup")
    identity = load_identity(cluster, pki_dir)
    if identity is None or identity.cluster_id != named:
        found = "missing" if identity is None else f"of {identity.cluster_id}"
        raise IdentityError(
            f"{pki_dir / KEY_FILE}: {found}, but the authority is of cluster {named}; restore both from a backup"
        )
    return Authority(identity, certificate, key)


def ensure_authority(cluster: str, pki_dir: Path, now_s: float) -> Authority:
    """The cluster's authority, made now if there is none; two callers agree.

    A cluster that has an identity keeps its id; otherwise the id is made of
    the authority's key. `now_s` is Unix time in seconds.

    Raises:
        IdentityError: what is there cannot be used, or nothing can be made.
    """
    try:
        make_private_dir(pki_dir)
        write_new(pki_dir / CA_KEY_FILE, certificates.key_to_pem(certificates.make_key()))
        key = _read_key(pki_dir / CA_KEY_FILE)
        if key is None:
            raise IdentityError(f"{pki_dir / CA_KEY_FILE}: vanished while it was made")
        if not (pki_dir / CA_CERTIFICATE_FILE).exists():
            identity = ensure_identity(cluster, pki_dir, seed_of(key))
            signed = certificates.sign_ca(key, identity.cluster_id, now_s)
            write_new(pki_dir / CA_CERTIFICATE_FILE, signed.public_bytes(Encoding.PEM))
    except OSError as error:
        raise IdentityError(f"{pki_dir}: cannot make the cluster's authority: {error.strerror}") from error
    found = load_authority(cluster, pki_dir)
    if found is None:
        raise IdentityError(f"{pki_dir / CA_CERTIFICATE_FILE}: vanished while it was made")
    return found


def seed_of(key: PrivateKey) -> bytes:
    """What `cluster.key` is made of where an authority comes first: 64 hexadecimal digits."""
    return hashlib.sha256(certificates.public_bytes(key.public_key())).hexdigest().encode("ascii") + b"\n"


def make_backup(cluster: str, pki_dir: Path) -> bytes:
    """Everything that makes this cluster this cluster, as one PEM text. Secret: for a 0600 file.

    With it a store that was copied can be read again, too.

    Raises:
        IdentityError: there is no authority, or a key cannot be used.
    """
    found = load_authority(cluster, pki_dir)
    if found is None:
        raise IdentityError(f"{pki_dir}: has no authority to back up; it is made at the controller's start")
    blocks = certificates.key_to_pem(found.key) + found.ca_pem
    try:
        blocks += _block(_SEED, (pki_dir / KEY_FILE).read_bytes())
        if load_store_key(pki_dir) is not None:
            blocks += _block(_STORE_KEY, (pki_dir / STORE_KEY_FILE).read_bytes())
    except OSError as error:
        raise IdentityError(f"{error.filename}: cannot read: {error.strerror}") from error
    return blocks


def identity_in(cluster: str, backup: bytes) -> ClusterIdentity:
    """Which cluster a backup is of.

    Raises:
        IdentityError: the text is no backup.
    """
    return ClusterIdentity(cluster, cluster_id_of(_read_backup(backup)[KEY_FILE]))


def new_backup(cluster: str, now_s: float) -> bytes:
    """A new cluster's authority, of which nothing but this is left. Secret: for a 0600 file.

    Raises:
        IdentityError: there is no room for it.
    """
    with tempfile.TemporaryDirectory() as directory:
        ensure_authority(cluster, Path(directory), now_s)
        return make_backup(cluster, Path(directory))


def _block(name: str, data: bytes) -> bytes:
    body = base64.encodebytes(data)
    return b"-----BEGIN %b-----\n%b-----END %b-----\n" % (name.encode(), body, name.encode())


def _unblock(block: bytes) -> bytes:
    return base64.b64decode(b"".join(block.splitlines()[1:-1]), validate=True)


def restore_backup(cluster: str, pki_dir: Path, backup: bytes) -> Authority:
    """Put a backup where nothing is, or complete what is left of the same cluster.

    Raises:
        IdentityError: the text is no backup, or the directory has another
            cluster's keys; then nothing was changed.
    """
    parts = _read_backup(backup)
    for name, data in parts.items():
        path = pki_dir / name
        try:
            if path.exists() and path.read_bytes() != data:
                raise IdentityError(f"{path}: is not the backup's; move it away first, nothing was changed")
        except OSError as error:
            raise IdentityError(f"{path}: cannot read: {error.strerror}") from error
    try:
        make_private_dir(pki_dir)
        for name, data in parts.items():
            write_new(pki_dir / name, data)
    except OSError as error:
        raise IdentityError(f"{pki_dir}: cannot restore: {error.strerror}") from error
    found = load_authority(cluster, pki_dir)
    if found is None:
        raise IdentityError(f"{pki_dir}: the authority vanished while it was restored")
    return found


def _read_backup(backup: bytes) -> dict[str, bytes]:
    """The files of a backup, in the order in which they are made."""
    wrong = IdentityError(
        "expected a backup of a cluster's authority: a key, a certificate and a cluster key"
    )
    if len(backup) > _BACKUP_MOST_BYTES:
        raise wrong
    text = backup.decode("ascii", "replace")
    blocks = {found.group(1): found.group(0).encode("ascii", "replace") for found in _BLOCK.finditer(text)}
    if set(blocks) - {_STORE_KEY} != {"PRIVATE KEY", "CERTIFICATE", _SEED}:
        raise wrong
    parts = {CA_KEY_FILE: blocks["PRIVATE KEY"]}
    try:
        parts[KEY_FILE] = _unblock(blocks[_SEED])
        if _STORE_KEY in blocks:
            parts[STORE_KEY_FILE] = _unblock(blocks[_STORE_KEY])
            store_key_from_text(parts[STORE_KEY_FILE])
        key = certificates.key_from_pem(blocks["PRIVATE KEY"])
        certificate = certificates.certificate_from_pem(blocks["CERTIFICATE"])
    except ValueError as error:
        raise wrong from error
    if certificates.public_bytes(certificate.public_key()) != certificates.public_bytes(key.public_key()):
        raise wrong
    return {**parts, CA_CERTIFICATE_FILE: blocks["CERTIFICATE"]}


def _read_key(path: Path) -> PrivateKey | None:
    data = read_key(path, "the authority's key")
    if data is None:
        return None
    try:
        return certificates.key_from_pem(data)
    except NotAKey as error:
        raise IdentityError(
            f"{path}: the authority's key is damaged: {error}; restore it from a backup"
        ) from error
