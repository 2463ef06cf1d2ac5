"""What one process remembers of slices: what it asked for, and the last list of each zone.

All of it may be lost without harm: it saves calls, and keeps the name of an operation
whose end says why nothing came of a creation. Knows nothing of calls.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from iris_platform.base import Stray
from iris_platform.gcp.errors import Cause
from iris_platform.gcp.reply import Sighting

# Slices in transit; beyond them the oldest are forgotten.
MOST = 4096


@dataclass(frozen=True)
class Asked:
    """What this process asked for one slice.

    `operation` is the creation's, until it is known how that ended; `ended` is why
    it failed. `asked_ms` is since the epoch. One that `is_lone` was made by this process
    as a node: there is no queued resource of its name.
    """

    labels: Mapping[str, str]
    asked_ms: int = 0
    is_queued: bool = False
    operation: str = ""
    ended: Cause | None = None
    is_deleted: bool = False
    is_lone: bool = False


@dataclass(frozen=True)
class ZoneView:
    """A complete list of one zone: this cluster's slices by name, and what was let alone."""

    slices: Mapping[str, Sighting]
    strays: tuple[Stray, ...] = ()


@dataclass
class Ledger:
    """See the module; safe to use from any thread."""

    most: int = MOST
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _asked: OrderedDict[tuple[str, str], Asked] = field(default_factory=OrderedDict)
    _views: dict[str, ZoneView] = field(default_factory=dict)

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

    def sighting(self, zone: str, name: str) -> Sighting:
        """What the last complete list of a zone showed of a slice; nothing is no answer."""
        with self._lock:
            view = self._views.get(zone)
            return view.slices.get(name, Sighting()) if view is not None else Sighting()

    def note_view(self, zone: str, view: ZoneView) -> None:
        """Remembers a complete list."""
        with self._lock:
            self._views[zone] = view

    def strays(self) -> list[tuple[str, Stray]]:
        """What the last lists showed and nobody touches, with its zone."""
        with self._lock:
            return [(zone, stray) for zone, view in self._views.items() for stray in view.strays]
