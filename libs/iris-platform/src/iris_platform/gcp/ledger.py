"""What one process remembers of slices: what it asked for, and the last list of each zone.

All of it may be lost without harm: it saves calls, and keeps the name of an operation
whose end says why nothing came of a creation. Knows nothing of calls.
Times are monotonic seconds, passed in.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from iris_platform.gcp.errors import Cause
from iris_platform.gcp.reply import Sighting

# Slices in transit; beyond them the oldest are forgotten.
MOST = 4096


@dataclass
class Asked:
    """What this process asked for one slice.

    `operation` is the creation's, until it is known how that ended; `ended` is why
    it failed. `changed_s` is when the last creation or deletion was answered.
    """

    changed_s: float
    labels: Mapping[str, str]
    asked_ms: int = 0
    is_queued: bool = False
    operation: str = ""
    ended: Cause | None = None
    is_deleted: bool = False


@dataclass(frozen=True)
class ZoneView:
    """A complete list of one zone: this cluster's slices by name, and what was let alone."""

    began_s: float
    slices: Mapping[str, Sighting]
    strays: tuple[str, ...] = ()


@dataclass
class Ledger:
    """See the module; safe to use from any thread."""

    most: int = MOST
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _asked: OrderedDict[tuple[str, str], Asked] = field(default_factory=OrderedDict)
    _views: dict[str, ZoneView] = field(default_factory=dict)
    _blind_s: dict[str, float] = field(default_factory=dict)
    _listing: dict[str, threading.Lock] = field(default_factory=dict)

    def asked(self, zone: str, name: str) -> Asked | None:
        """What was asked for a slice, if that is remembered."""
        with self._lock:
            return self._asked.get((zone, name))

    def note(self, zone: str, name: str, asked: Asked) -> None:
        """Remembers what was asked."""
        with self._lock:
            self._asked[zone, name] = asked
            self._asked.move_to_end((zone, name))
            while len(self._asked) > self.most:
                self._asked.popitem(last=False)

    def forget(self, zone: str, name: str) -> None:
        """The slice is gone for good."""
        with self._lock:
            self._asked.pop((zone, name), None)

    def view(self, zone: str) -> ZoneView | None:
        """The last complete list of a zone."""
        with self._lock:
            return self._views.get(zone)

    def note_view(self, zone: str, view: ZoneView) -> None:
        """Remembers a complete list; one that began earlier does not replace a later one."""
        with self._lock:
            known = self._views.get(zone)
            if known is None or known.began_s <= view.began_s:
                self._views[zone] = view

    def note_blind(self, zone: str, now_s: float) -> None:
        """A list of a zone has just failed."""
        with self._lock:
            self._blind_s[zone] = now_s

    def is_blind(self, zone: str, since_s: float) -> bool:
        """Whether the last list of a zone failed, not before `since_s`."""
        with self._lock:
            view = self._views.get(zone)
            blind_s = self._blind_s.get(zone, since_s)
            return blind_s > since_s and (view is None or view.began_s < blind_s)

    def strays(self) -> list[str]:
        """What the last lists showed and nobody touches."""
        with self._lock:
            return [words for view in self._views.values() for words in view.strays]

    def listing(self, zone: str) -> threading.Lock:
        """Held while a zone is listed for looks: who comes meanwhile takes that list."""
        with self._lock:
            return self._listing.setdefault(zone, threading.Lock())
