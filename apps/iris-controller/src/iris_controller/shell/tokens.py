"""What a host shows to be given its first certificate: proofs, and the one-use tokens among them.

A token goes to the host on the standard input of a command over SSH. Tokens are
never written down: a controller that starts again has forgotten them, and
whoever needs one mints another.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from iris_controller.core.values import Place

TOKEN_BYTES = 32
# More hosts than join within a token's life, in a fleet of ten thousand.
MOST_TOKENS = 20_000
# A used or expired token is known as such for so long, to say so.
REMEMBERED_S = 3600.0


class Denied(Exception):
    """The proof is none; the message says why and what to do, and never quotes it."""


class TooManyTokens(Exception):
    """So many hosts are joining that another token would have no bound."""


class Proof(Protocol):
    """One way of proving to be a place. `POST /join` names it as the proof's `kind`."""

    async def check(self, value: str, place: Place, source: str) -> None:
        """Return if `value`, sent from the address `source`, proves to be `place`; at most once.

        Must have a deadline of its own. Called in the join port's event loop.

        Raises:
            Denied: it does not.
        """
        ...


@dataclass(slots=True)
class _Minted:
    digest: bytes
    expires_s: float
    used: bool = False


class TokenStore:
    """One-use tokens, at most one for each place. Safe to use from any thread."""

    def __init__(self, clock_s: Callable[[], float]) -> None:
        """`clock_s` counts seconds, suspends included."""
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._tokens: dict[Place, _Minted] = {}

    def mint(self, place: Place, ttl_s: float) -> str:
        """A token that makes its bearer this place, once, for so many seconds. An earlier one is void.

        Raises:
            TooManyTokens: too many are outstanding; try again when hosts have joined.
        """
        token = secrets.token_urlsafe(TOKEN_BYTES)
        now_s = self._clock_s()
        with self._lock:
            if len(self._tokens) >= MOST_TOKENS and place not in self._tokens:
                self._forget(now_s)
                if len(self._tokens) >= MOST_TOKENS:
                    raise TooManyTokens(f"{MOST_TOKENS} hosts are joining; try again later")
            self._tokens[place] = _Minted(_digest(token), now_s + ttl_s)
        return token

    async def check(self, value: str, place: Place, source: str) -> None:
        """See `Proof`."""
        self.use(value, place)

    def use(self, token: str, place: Place) -> None:
        """Take a token for a place; the same one is good for nothing more.

        Raises:
            Denied: it is not the place's, or not any more.
        """
        digest = _digest(token)
        now_s = self._clock_s()
        with self._lock:
            minted = self._tokens.get(place)
            if minted is None or not hmac.compare_digest(minted.digest, digest):
                # All of them, whether one fits or not.
                others = [hmac.compare_digest(one.digest, digest) for one in self._tokens.values()]
                raise Denied(_ELSEWHERE if any(others) else _UNKNOWN)
            if minted.used:
                raise Denied("the token was used before; bootstrap the host again for another")
            if now_s >= minted.expires_s:
                raise Denied("the token is over; bootstrap the host again for another")
            minted.used = True

    def _forget(self, now_s: float) -> None:
        kept = {
            p: m for p, m in self._tokens.items() if now_s < m.expires_s + (0 if m.used else REMEMBERED_S)
        }
        if len(kept) >= MOST_TOKENS:
            kept = {p: m for p, m in kept.items() if not m.used and now_s < m.expires_s}
        self._tokens = kept


_ELSEWHERE = "the token is another place's; the host's place and its token do not belong together"
_UNKNOWN = "the token is not known; bootstrap the host again for one (they end with the controller)"


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
