"""Encrypts what the store must not show: AES-256-GCM, and what it is about is authenticated with it.

Knows no tables. The key is `store.key` in `--pki-dir` (docs/decisions/010-stored-secrets.md).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

# Random ones of 96 bits are safe for 2^32 values under one key (NIST SP 800-38D, 8.3).
NONCE_BYTES = 12
_KEY_ID_DIGITS = 16


class NotSealed(ValueError):
    """A value that was damaged, moved from elsewhere, or never sealed with this key."""


class Cipher:
    """One key. `key_id` tells it from others and says nothing about it."""

    def __init__(self, key: bytes, randomness: Callable[[int], bytes]) -> None:
        """`randomness` gives so many bytes, never the same ones again."""
        self._aead = AESGCM(key)
        self._randomness = randomness
        self.key_id = hashlib.sha256(b"iris store key\0" + key).hexdigest()[:_KEY_ID_DIGITS]

    def seal(self, value: bytes, about: bytes) -> bytes:
        """The nonce, the encrypted value and its tag; it can be opened with the same `about` alone."""
        nonce = self._randomness(NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, value, about)

    def unseal(self, sealed: object, about: bytes) -> bytes:
        """The value.

        Raises:
            NotSealed: it is not what was sealed with this key and this `about`.
        """
        if not isinstance(sealed, bytes) or len(sealed) < NONCE_BYTES:
            raise NotSealed("expected a nonce and what it encrypts")
        try:
            return self._aead.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], about)
        except InvalidTag as error:
            raise NotSealed("the value, its key or its place is another") from error
