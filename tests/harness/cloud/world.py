"""What all parts of the model share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from tests.harness.cloud import errors
from tests.harness.cloud.faults import Fault, Faults, find
from tests.harness.cloud.machines import Machines
from tests.harness.cloud.operations import Operations
from tests.harness.cloud.quota import Limits
from tests.harness.cloud.rules import ANY_ZONE
from tests.harness.cloud.settings import Settings
from tests.harness.cloud.timeline import Shelf, Timeline

FOR_EVER = 1 << 60
MOST_ON_A_PAGE = 1000
# A token whose page cannot be had.
BROKEN = "broken-"


@dataclass
class World:
    """One cloud's common things. `when_freed` is called when there may be more room than before."""

    settings: Settings
    timeline: Timeline
    faults: Faults
    limits: Limits
    operations: Operations
    machines: Machines
    when_freed: list[Callable[[], None]]

    @classmethod
    def new(cls, settings: Settings, now_ms: int, place: Callable[[str, str], str]) -> World:
        timeline = Timeline(now_ms)
        return cls(
            settings,
            timeline,
            Faults(),
            Limits(settings.rates),
            Operations(timeline),
            Machines(timeline, place),
            [],
        )

    def freed(self) -> None:
        """Something was deleted, or a limit was raised."""
        for each in self.when_freed:
            each()


@dataclass(frozen=True)
class Page:
    """Part of a list: resources, the token of the next page, places that could not be looked at."""

    items: list[Any]
    next_token: str = ""
    unreachable: tuple[str, ...] = ()


def list_page(
    world: World, shelf: Shelf[Any], parent: str, size: int, token: str, faults: tuple[Fault, ...]
) -> Page:
    """One page, by name; `parent` ends in `-` for all zones.

    Tokens are the last name of the page before, so what comes and goes between
    two pages is seen or not, but nothing twice.
    """
    if size < 0:
        raise errors.invalid("page_size must not be negative")
    if token.startswith(BROKEN):
        raise errors.of_code(int(token.removeprefix(BROKEN)))
    if find(faults, "empty"):
        return Page([])
    if find(faults, "unreachable"):
        return Page([], unreachable=(parent,))
    lag = max([world.settings.list_lag, *(fault.delay_ms for fault in faults if fault.do == "lag")])
    shown = shelf.as_it_was(world.timeline.now_ms - lag) if lag else shelf.all()
    prefix = parent.removesuffix(ANY_ZONE) if parent.endswith(f"/{ANY_ZONE}") else f"{parent}/"
    left = [(name, value) for name, value in shown if name.startswith(prefix) and name > token]
    most = min(size or world.settings.page_size, MOST_ON_A_PAGE)
    if half := find(faults, "half"):
        # One more page at least, even where there is nothing to be on it.
        return Page([value for _, value in left[: len(left) // 2]], f"{BROKEN}{half.code}")
    page = left[:most]
    return Page([value for _, value in page], page[-1][0] if len(left) > most else "")


def refuse_at_once(faults: Iterable[Fault], zone: str, name: str) -> None:
    """Raises what a creation is to end with before it begins."""
    for fault in faults:
        if fault.do in ("stockout", "quota", "fail") and not fault.after:
            raise failure(fault, zone, name)


def failure(fault: Fault, zone: str, name: str) -> errors.ApiError:
    """What an operation, or a call, is to end with."""
    if fault.message:
        return errors.ApiError(fault.code if fault.do == "fail" else 8, fault.message)
    if fault.do == "stockout":
        return errors.stockout(zone, name)
    if fault.do == "quota":
        return errors.quota("TPUV5sPreemptibleLitepodPerProjectPerZoneForTPUAPI", 0, zone)
    return errors.of_code(13 if fault.code == 14 else fault.code)
