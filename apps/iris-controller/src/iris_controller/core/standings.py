"""What failed creations teach: which groups wait in which zones, and for how long.

Every kind of failure has its patience. A stockout may be over in seconds, a
quota is raised by people, and a request that is wrong stays wrong until somebody
mends it. A rate limit is nobody's failure (`calls`), and where it is not known
whether something happened, nothing is learned.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from iris_controller.core.entities import GroupPolicy, Slice, Standing
from iris_controller.core.explain import duration
from iris_controller.core.values import AcceleratorName, Now, Reason
from iris_controller.core.world import World
from iris_platform.base import Failure

MINUTE_MS = 60_000


class Patience(NamedTuple):
    """How long to wait after the first failure; doubled with each in a row, up to the most."""

    first_ms: int
    most_ms: int


# Short enough not to freeze a group for one stockout, long enough not to ask in a circle.
BRIEF = Patience(5_000, 5 * MINUTE_MS)
# Others have to give something back first.
QUOTA = Patience(MINUTE_MS, 10 * MINUTE_MS)
# An operator has to do something first, and is told.
LONG = Patience(2 * MINUTE_MS, 30 * MINUTE_MS)
LONGEST_MS = max(BRIEF.most_ms, QUOTA.most_ms, LONG.most_ms)

_PATIENCE = {
    Failure.QUOTA.value: QUOTA,
    Failure.REFUSED.value: LONG,
    Failure.PERMISSION.value: LONG,
    Failure.NOT_OURS.value: LONG,
}
# Credentials are the same in every zone.
_EVERYWHERE = (Failure.PERMISSION.value,)


def patience(why: Reason) -> Patience:
    """How long a failure of this kind makes its group wait."""
    return _PATIENCE.get(why.code, BRIEF)


def after_failure(standing: Standing, why: Reason, now: Now) -> Standing:
    """A creation failed: wait longer before the next; another kind of failure is counted anew."""
    its = patience(why)
    failures = standing.failures + 1 if patience(standing.reason) == its else 1
    wait_ms = min(its.most_ms, its.first_ms * 2 ** min(failures - 1, 16))
    return replace(standing, failures=failures, not_before_ms=now.wall_ms + wait_ms, reason=why)


def note_failure(world: World, slice_: Slice, why: Reason, now: Now) -> None:
    """A slice never came to work: its group and whoever shares its limits wait, there.

    Not if they wait already, as long as this would have them: then it was asked for
    before that, and says nothing that the first failure did not say.
    """
    group = world.group(slice_)
    if group is None:
        return
    for name, zone in _taught(world, group, slice_.zone, why):
        standing = world.standing(name, zone)
        waits = world.clocks.backoff_until.get((name, zone), 0) > now.boot_ms
        if not waits or patience(standing.reason) < patience(why):
            world.put_standing(after_failure(standing, why, now), now)


def _taught(world: World, group: GroupPolicy, zone: str, why: Reason) -> Iterator[tuple[str, str]]:
    if why.code in _EVERYWHERE:
        yield group.name, ""
        return
    yield group.name, zone
    if why.code == Failure.QUOTA.value and group.is_cloud:
        for other in world.settings.groups.values():
            if other.name != group.name and zone in other.zones and _needs_no_less(other, group):
                yield other.name, zone


def _needs_no_less(other: GroupPolicy, refused: GroupPolicy) -> bool:
    """Whether who refused one slice for its quota would refuse the other: quotas count chips of one kind."""
    kind, size = AcceleratorName.of(refused.accelerator)
    other_kind, other_size = AcceleratorName.of(other.accelerator)
    same_limit = (other.project, other.capacity, other_kind) == (refused.project, refused.capacity, kind)
    return same_limit and other_size >= size


def note_success(world: World, slice_: Slice, now: Now) -> None:
    """A slice came to work: the past of its group there is forgiven."""
    for zone in (slice_.zone, ""):
        if world.standing(slice_.group, zone) != Standing(slice_.group, zone):
            world.put_standing(Standing(slice_.group, zone), now)


def try_mended(world: World, now: Now) -> None:
    """An operator has started the controller: what waits for somebody to mend something is tried at once.

    Failures are still counted: where nothing was mended, the next wait is no shorter.
    """
    for where, standing in list(world.standings.items()):
        if patience(standing.reason) == LONG and world.clocks.backoff_until.get(where, 0) > now.boot_ms:
            world.put_standing(replace(standing, not_before_ms=now.wall_ms), now)


def of_zones(world: World, group: GroupPolicy, now: Now) -> tuple[Standing, ...]:
    """Where a group stands in each of its zones, in order, whatever the wall clock was set to since."""
    general = _now(world, world.standing(group.name, ""), now)
    standings = [_now(world, world.standing(group.name, zone), now) for zone in group.zones]
    return tuple(
        replace(general, zone=one.zone) if general.not_before_ms > one.not_before_ms else one
        for one in standings
    )


def _now(world: World, standing: Standing, now: Now) -> Standing:
    until_ms = world.clocks.backoff_until.get((standing.group, standing.zone), 0)
    return replace(standing, not_before_ms=now.wall_ms + max(0, until_ms - now.boot_ms))


def words(world: World, now_boot_ms: int) -> list[str]:
    """What an operator has to mend before a group can grow where it cannot, though it can elsewhere."""
    found: list[str] = []
    if world.stopping:
        # Nothing is tried.
        return found
    for (name, zone), standing in world.standings.items():
        wait_ms = world.clocks.backoff_until.get((name, zone), 0) - now_boot_ms
        is_stuck = world.availability.get(name, ("", None))[0] in ("BACKOFF", "QUOTA_EXCEEDED")
        if wait_ms > 0 and patience(standing.reason) == LONG and zone and not is_stuck:
            why = f"{standing.reason.code}: {standing.reason.message}"
            found.append(f"scale group {name} in {zone}: {why}; tried again in {duration(wait_ms)}")
    return found
