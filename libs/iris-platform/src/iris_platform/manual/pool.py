"""Which hosts a new slice gets. Decides and does nothing; time is passed in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from iris_platform.base import NoCapacity

# A host that failed is tried again after this long, then twice as long, ...
FIRST_PAUSE_MS = 30_000
LONGEST_PAUSE_MS = 15 * 60_000
# Slices in one message.
MOST_NAMED = 3


@dataclass(frozen=True)
class Aside:
    """A host that is left alone for now: since it failed `failures` times in a row."""

    reason: str
    until_ms: int
    failures: int


@dataclass
class Asides:
    """Hosts that failed, and how long they are left alone. Times are milliseconds of any one clock."""

    _hosts: dict[str, Aside] = field(default_factory=dict)

    def put(self, host: str, reason: str, now_ms: int) -> None:
        """A host could not be used."""
        before = self._hosts.get(host)
        failures = before.failures + 1 if before else 1
        reason = one_line(reason).removeprefix(f"{host}: ")
        pause_ms = min(FIRST_PAUSE_MS << min(failures - 1, 16), LONGEST_PAUSE_MS)
        self._hosts[host] = Aside(reason, now_ms + pause_ms, failures)

    def clear(self, host: str) -> None:
        """A host works."""
        self._hosts.pop(host, None)

    def reason(self, host: str, now_ms: int) -> str:
        """Why a host is left alone now; empty if it is not."""
        aside = self._hosts.get(host)
        return aside.reason if aside and now_ms < aside.until_ms else ""


def free_hosts(pool: Sequence[str], taken: Iterable[str], asides: Asides, now_ms: int) -> list[str]:
    """The hosts that may be tried, in the pool's order."""
    out = set(taken)
    return [host for host in pool if host not in out and not asides.reason(host, now_ms)]


def listed(troubles: Mapping[str, object]) -> str:
    """What is wrong with each of some hosts, on one line; its name once, though the trouble may begin with it."""
    return told({host: one_line(trouble) for host, trouble in troubles.items()})


def told(troubles: Mapping[str, object]) -> str:
    """The same with all lines of each: a start that failed ends with those of its log."""
    words = {host: str(trouble).removeprefix(f"{host}: ") for host, trouble in troubles.items()}
    return "; ".join(f"{host}: {trouble}" for host, trouble in words.items())


def one_line(trouble: object) -> str:
    """The lines of a trouble that ends with those of a log, each once."""
    lines = dict.fromkeys(line.strip() for line in str(trouble).splitlines() if line.strip())
    return " | ".join(lines).replace(": | ", ": ")


def unknown(blind: Mapping[str, object]) -> str:
    """What to say of hosts that could not be looked at."""
    return f"whether a slice is on {' or '.join(blind)} is not known: {listed(blind)}"


def too_few(wanted: int, found: int, troubles: Mapping[str, str], slices: Sequence[str]) -> NoCapacity:
    """The error where there are not enough hosts: what is wrong with which, and the slices that have the others."""
    why = [listed(troubles)] if troubles else []
    if slices:
        more = f" and {len(slices) - MOST_NAMED} more" if len(slices) > MOST_NAMED else ""
        word = "slice" if len(slices) == 1 else "slices"
        why.append(f"in use by {word} {', '.join(slices[:MOST_NAMED])}{more}")
    hosts = "1 host" if wanted == 1 else f"{wanted} hosts"
    return NoCapacity(f"{hosts} wanted, {found} to be had" + (f" ({'; '.join(why)})" if why else ""))
