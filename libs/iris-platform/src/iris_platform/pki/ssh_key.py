"""The SSH key of a controller that is not where its operators' keys are; made on its own host."""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from iris_platform.files import make_private_dir, write_new
from iris_platform.identity import IdentityError
from iris_platform.pki.names import SSH_KEY_FILE


def ensure_ssh_key(pki_dir: Path) -> str:
    """The public half as `authorized_keys` has it (`ssh-ed25519 AAAA...`); made now if there is none.

    Raises:
        IdentityError: what is there cannot be used, or nothing can be made.
    """
    path = pki_dir / SSH_KEY_FILE
    try:
        make_private_dir(pki_dir)
        new = Ed25519PrivateKey.generate()
        write_new(path, new.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
        mode, data = path.stat().st_mode, path.read_bytes()
    except OSError as error:
        raise IdentityError(f"{path}: cannot make the controller's SSH key: {error.strerror}") from error
    if mode & 0o077:
        raise IdentityError(
            f"{path}: the controller's SSH key is open to others (mode {mode & 0o777:04o}); chmod 600 it"
        )
    try:
        key = load_ssh_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise IdentityError(
            f"{path}: the controller's SSH key is damaged; remove it, and the next start makes another"
        ) from error
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode("ascii")
