"""What was called, by whom it was answered how: for tests that count."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True)
class Call:
    """One call that came in. `status` is OK, the name of a code, or what was done to it (hang, reset).

    `name` is the resource's last word; of an operation, that of what it is about.
    `credentials`: whether any were sent along. `done` is False where nothing was
    done but to answer.
    """

    at_ms: int
    method: str
    project: str
    zone: str
    name: str
    via: str  # grpc, rest
    status: str
    done: bool
    credentials: bool
    faults: tuple[str, ...] = ()


class Journal:
    """Every call, the oldest first."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def counts(self) -> dict[str, int]:
        """Calls by method."""
        return dict(sorted(Counter(call.method for call in self.calls).items()))

    def counts_of(self, name: str) -> dict[str, int]:
        """Calls by method that named one resource."""
        return dict(sorted(Counter(call.method for call in self.calls if call.name == name).items()))
