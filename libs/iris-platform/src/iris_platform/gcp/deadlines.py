"""How long Google may take to answer. Plain data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Deadlines:
    """How long calls may take, in seconds.

    `try_s` is for one try of a reading call and `read_s` for all tries of one;
    `list_s` for all pages of a list; `write_s` for a creation or deletion.
    """

    try_s: float = 8.0
    read_s: float = 15.0
    list_s: float = 60.0
    write_s: float = 30.0
    first_pause_s: float = 0.5
    longest_pause_s: float = 5.0


DEADLINES = Deadlines()
