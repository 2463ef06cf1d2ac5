"""What is to go wrong, on request: which calls, and how.

A fault waits for calls that match it, skips the first `nth - 1` of them, acts on
`count` (None: on all from there), and is used up then. What it does:

    on any call, before the act or (with `after`) when it is done
        error       answers with `code` (8 is 429, 13 is 500, 14 is 503), `retry_after_s`
        hang        never answers
        late        answers `delay_ms` later
        reset       closes the connection with a reset
    on creations (CreateNode, CreateQueuedResource, instances.insert)
        stockout, quota, fail    at once, or with `after` at the end of the operation
        partial     the hosts `hosts` never boot; with `after` the operation ends with an
                    error and leaves the node behind, else it says that all is well
        slow        takes `delay_ms` longer (a queued resource: is delivered later)
        stuck       never leaves CREATING (a queued resource: WAITING_FOR_RESOURCES)
    on deletions (DeleteNode, DeleteQueuedResource, instances.delete)
        slow, stuck  stays in DELETING
    on lists
        lag         shows what was `delay_ms` ago
        half        the first page is half of it, the next fails with `code`
        empty       200, and nothing in it
        unreachable says that it could not look, and shows nothing (`unreachable` of the answer)
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

SPOILS = ("error", "hang", "reset")
ON_CALLS = (*SPOILS, "late")
ON_CREATIONS = ("stockout", "quota", "fail", "partial", "slow", "stuck")
ON_LISTS = ("lag", "half", "empty", "unreachable")
KINDS = ON_CALLS + ON_CREATIONS + ON_LISTS
UNAVAILABLE = 14


@dataclass(frozen=True)
class Fault:
    """One thing to do wrong. `method`, `name` (the resource's last word) and `zone` are patterns."""

    do: str
    method: str = "*"
    name: str = "*"
    zone: str = "*"
    nth: int = 1
    count: int | None = 1
    after: bool = False
    code: int = UNAVAILABLE
    message: str = ""
    retry_after_s: float | None = None
    delay_ms: int = 0
    hosts: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.do not in KINDS:
            raise ValueError(f"no such fault: {self.do}; there are {', '.join(KINDS)}")
        if self.nth < 1 or (self.count is not None and self.count < 1):
            raise ValueError("nth and count start at 1")

    def fits(self, method: str, name: str, zone: str) -> bool:
        """Whether a call is one of those."""
        patterns = ((self.method, method), (self.name, name), (self.zone, zone))
        return all(fnmatchcase(text, pattern) for pattern, text in patterns)


class Faults:
    """Those that are waiting, by number."""

    def __init__(self) -> None:
        self._waiting: dict[int, tuple[Fault, int]] = {}  # with the calls seen so far
        self._last = 0

    def add(self, fault: Fault) -> int:
        """Waits for its calls from now on; the number to take it away by."""
        self._last += 1
        self._waiting[self._last] = fault, 0
        return self._last

    def remove(self, number: int) -> None:
        """Nothing if it is used up."""
        self._waiting.pop(number, None)

    def clear(self) -> None:
        """From now on all goes well."""
        self._waiting.clear()

    def waiting(self) -> dict[int, Fault]:
        """What is not used up."""
        return {number: fault for number, (fault, _) in self._waiting.items()}

    def take(self, method: str, name: str, zone: str) -> tuple[Fault, ...]:
        """What goes wrong with this call; it is counted."""
        taken = []
        for number, (fault, seen) in list(self._waiting.items()):
            if not fault.fits(method, name, zone):
                continue
            seen += 1
            self._waiting[number] = fault, seen
            if seen >= fault.nth:
                taken.append(fault)
            if fault.count is not None and seen >= fault.nth + fault.count - 1:
                del self._waiting[number]
        return tuple(taken)


def find(faults: tuple[Fault, ...], *kinds: str) -> Fault | None:
    """The first of these kinds."""
    return next((fault for fault in faults if fault.do in kinds), None)


def lateness(faults: tuple[Fault, ...]) -> int:
    """How much later the answer comes, in ms of the wall clock."""
    return sum(fault.delay_ms for fault in faults if fault.do == "late")


def delay(faults: tuple[Fault, ...]) -> int:
    """How much longer it takes, in ms."""
    return sum(fault.delay_ms for fault in faults if fault.do == "slow")
