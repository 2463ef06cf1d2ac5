"""Hosts that refuse our key: they are let be for a while, or their SSH servers shut our address out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from iris_platform.base import PermissionMissing
from iris_platform.ssh import Connect, SshConnection, SshTarget

# A key that was refused is shown again after this long, later after the longer one.
FIRST_PAUSE_S, LATER_PAUSE_S = 30.0, 60.0


class Refusals:
    """A way to connect that shows no refused key again at once, whoever asks; safe to use from any thread.

    With `own_key` the key is a controller's own, which no operator has by hand.
    """

    def __init__(
        self, connect: Connect, *, own_key: bool = False, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._connect = connect
        self._own_key = own_key
        self._clock_s = clock_s
        self._lock = threading.Lock()
        # The last refusal of each host, and until when it is believed.
        self._refused: dict[SshTarget, tuple[str, float]] = {}

    def connect(self, target: SshTarget) -> SshConnection:
        """Connect as it is done without us.

        Raises:
            PermissionMissing: the host takes none of the keys, or took none a moment ago.
        """
        with self._lock:
            words, until_s = self._refused.get(target, ("", 0.0))
        if words and self._clock_s() < until_s:
            raise PermissionMissing(words)
        try:
            connection = self._connect(target)
        except PermissionMissing as error:
            pause_s = LATER_PAUSE_S if words else FIRST_PAUSE_S
            words = self._words(target, error)
            with self._lock:
                self._refused[target] = words, self._clock_s() + pause_s
            raise PermissionMissing(words) from error
        with self._lock:
            self._refused.pop(target, None)
        return connection

    def _words(self, target: SshTarget, error: PermissionMissing) -> str:
        if not self._own_key:
            return str(error)
        return f"{target.host}: did not let the controller's key in; `iris cluster start` lets it in"
