"""The key in `--pki-dir` that encrypts what the controller's store must not show.

Made once, and apart from the store: whoever finds or copies the state directory
alone reads nothing. Imports no cryptography; what is done with the key is the
controller's (docs/decisions/010-stored-secrets.md).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from iris_platform.files import make_private_dir, write_new
from iris_platform.identity import IdentityError, read_key

STORE_KEY_FILE = "store.key"
# Of AES-256.
STORE_KEY_BYTES = 32


def load_store_key(pki_dir: Path) -> bytes | None:
    """The 32 bytes made earlier; None where there are none.

    Raises:
        IdentityError: the file cannot be used; the message says why.
    """
    path = pki_dir / STORE_KEY_FILE
    text = read_key(path, "the store's key")
    if text is None:
        return None
    try:
        return store_key_from_text(text)
    except ValueError as error:
        raise IdentityError(f"{path}: the store's key is damaged; restore it from a backup") from error


def make_store_key(pki_dir: Path, randomness: Callable[[int], bytes]) -> bytes:
    """The key, made durably unless there is one; two callers agree. `randomness` gives so many bytes.

    Raises:
        IdentityError: it cannot be made, or the one that is there cannot be used.
    """
    path = pki_dir / STORE_KEY_FILE
    try:
        make_private_dir(pki_dir)
        write_new(path, randomness(STORE_KEY_BYTES).hex().encode("ascii") + b"\n")
    except OSError as error:
        raise IdentityError(f"{path}: cannot make the store's key: {error.strerror}") from error
    key = load_store_key(pki_dir)
    if key is None:
        raise IdentityError(f"{path}: vanished while it was made")
    return key


def store_key_from_text(text: bytes) -> bytes:
    """The key that a file's text is of: 64 hexadecimal digits and a line's end.

    Raises:
        ValueError: it is not of any.
    """
    key = bytes.fromhex(text.decode("ascii"))
    if len(key) != STORE_KEY_BYTES:
        raise ValueError(f"expected {STORE_KEY_BYTES} bytes, found {len(key)}")
    return key
