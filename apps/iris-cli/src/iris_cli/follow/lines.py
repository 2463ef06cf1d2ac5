"""Puts `[index] ` before every line of several tasks' logs.

Lines of one task stay whole among those of others: a line is held back until
its end came. Pure but for what it holds back.
"""

from __future__ import annotations

from iris_cli.follow.positions import AttemptKey

# A line that is longer is cut, so that a task that writes no newline is seen
# and does not fill our memory.
LONGEST_LINE = 64 * 1024


class LinePrefixer:
    """The unfinished lines of many attempts."""

    def __init__(self) -> None:
        self._held: dict[AttemptKey, bytes] = {}

    def feed(self, key: AttemptKey, data: bytes) -> bytes:
        """The lines that `data` finished, each with its prefix."""
        lines = (self._held.pop(key, b"") + data).split(b"\n")
        rest = lines.pop()
        while len(rest) > LONGEST_LINE:
            lines.append(rest[:LONGEST_LINE])
            rest = rest[LONGEST_LINE:]
        if rest:
            self._held[key] = rest
        return self._prefixed(key, lines)

    def end(self, key: AttemptKey) -> bytes:
        """What was held back of an attempt that has ended, as a line."""
        rest = self._held.pop(key, b"")
        return self._prefixed(key, [rest]) if rest else b""

    def end_all(self) -> bytes:
        """What was held back of every attempt."""
        return b"".join(self.end(key) for key in sorted(self._held))

    def _prefixed(self, key: AttemptKey, lines: list[bytes]) -> bytes:
        prefix = b"[%d] " % key[0]
        return b"".join(prefix + line + b"\n" for line in lines)
