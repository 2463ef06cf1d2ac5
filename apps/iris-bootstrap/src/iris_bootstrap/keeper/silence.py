"""How long the other process has said nothing, while we were there to hear it.

Keeper and session watch each other with it. A machine that sleeps, or both of
us halted at once, is nobody's silence: whatever the clock says, a turn counts for
a part of the limit only, so that several must pass in which the other could
have spoken. Knows no clock and no processes.
"""

from __future__ import annotations

# Looks within the time that the other may be silent, at least.
_TURNS = 6
# How often each says something, if nothing else then that it is there.
SPEAK_S = 1.0
# However soon a controller suspects workers: a busy machine is no reason to kill a keeper's tasks.
_LEAST_LIMIT_S = 3.0


class Silence:
    """One watch over the other process; `look` after every turn."""

    def __init__(self, now_s: float) -> None:
        self._looked_s = now_s
        self._silent_s = 0.0

    def look(self, now_s: float, suspect_after_s: float, heard: bool) -> bool:
        """Whether the other has been silent for too long. `heard`: it spoke since the last look."""
        limit_s = max(suspect_after_s, _LEAST_LIMIT_S)
        took_s = min(now_s - self._looked_s, limit_s / _TURNS)
        self._looked_s = now_s
        self._silent_s = 0.0 if heard else self._silent_s + took_s
        return self._silent_s >= limit_s
