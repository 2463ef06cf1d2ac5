"""Slices with our id that the store does not know (DESIGN 6): adopted, held, or deleted late.

Adopted when their agents report (`slices.adopt`). A store that is suddenly
empty must never lead to mass deletion, so all else takes its time and has a cap.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from iris_controller.core import calls
from iris_controller.core import states as s
from iris_controller.core.effects import Effect, LookAtSlice
from iris_controller.core.entities import GroupPolicy, Slice
from iris_controller.core.explain import duration, how_many
from iris_controller.core.fleeting import Unknown
from iris_controller.core.states import GoneCause
from iris_controller.core.values import Now, Reason
from iris_controller.core.world import World
from iris_platform.base import SliceInfo
from iris_platform.names import group_part, is_ours, parse_slice_name

# Between the first and the last complete list that show it.
STANDS_MS = 60_000
# Lists are not as far behind as that: one that comes so long after another shows what was there before.
LAG_MS = 25_000
# At most so many, or this share of what is listed, until an operator says so.
LEAST_CAP = 2
CAP_SHARE = 0.1


def group_of(world: World, name: str) -> GroupPolicy | None:
    """The configured group that a slice of ours is of, by its name."""
    parts = parse_slice_name(name)
    groups = world.settings.groups.values()
    return next((g for g in groups if parts is not None and group_part(g.name) == parts.group), None)


def note_listed(
    world: World, provider: str, zone: str, listed: Iterable[SliceInfo], now: Now
) -> list[Effect]:
    """Takes note of unknown slices in a complete list; what vanished from it is looked for by name."""
    ours = [v for v in listed if is_ours(v.slice_id, v.labels, world.settings.cluster_id)]
    world.listed[provider, zone] = len(ours)
    if now.boot_ms - world.clocks.first_shown.setdefault((provider, zone), now.boot_ms) >= LAG_MS:
        # The first list alone may be of a moment ago.
        world.shown[provider, zone] = None
    names = {seen.slice_id for seen in ours}
    for seen in ours:
        if seen.slice_id in world.slices:
            continue
        known = world.unknown.get(seen.slice_id)
        if known is None:
            known = Unknown(provider, zone, max(1, len(seen.vms)), now.boot_ms, now.boot_ms)
            why = Reason("unknown", "it has this cluster's id and the store does not know it")
            world.record(now, "slice", seen.slice_id, "UNKNOWN", why)
        world.unknown[seen.slice_id] = replace(known, last_listed_ms=now.boot_ms)
    missing = [
        n for n, u in world.unknown.items() if (u.provider, u.zone) == (provider, zone) and n not in names
    ]
    return [LookAtSlice(name, _group_name(world, name), zone) for name in missing]


def _group_name(world: World, name: str) -> str:
    group = group_of(world, name)
    return group.name if group is not None else ""


def tick(world: World, now: Now) -> list[Effect]:
    """Deletes what nobody has reported for in all that time, within the cap."""
    effects: list[Effect] = []
    for name, known in list(world.unknown.items()):
        if _stood(known) and now.boot_ms >= _due_ms(world, name, known) and _may_delete(world):
            effects += _delete(world, name, known, now)
    return effects


def _due_ms(world: World, name: str, known: Unknown) -> int:
    """Its agents have until then to report."""
    group = group_of(world, name)
    groups = [group] if group is not None else list(world.settings.groups.values())
    wait_ms = max((max(g.boot_timeout_ms, g.task_lease_ms) for g in groups), default=STANDS_MS)
    return known.first_seen_ms + wait_ms


def _stood(known: Unknown) -> bool:
    """Whether two complete lists, so far apart, showed it."""
    return known.last_listed_ms - known.first_seen_ms >= STANDS_MS


def _may_delete(world: World) -> bool:
    cap = max(LEAST_CAP, int(CAP_SHARE * sum(world.listed.values())))
    return world.cluster.unknown_deleted < cap


def _delete(world: World, name: str, known: Unknown, now: Now) -> list[Effect]:
    why = Reason("unknown", f"nobody reported for it in {duration(now.boot_ms - known.first_seen_ms)}")
    group = _group_name(world, name)
    state = s.SliceDeleting(why, GoneCause.DELETED)
    row = Slice(name, group, known.zone, known.hosts, state, now.wall_ms, now.wall_ms, adopted=True)
    world.put_slice(row, now)
    world.put_cluster(replace(world.cluster, unknown_deleted=world.cluster.unknown_deleted + 1))
    world.record(now, "slice", name, "DELETING", why)
    return calls.delete(world, row, now)


def words(world: World, now_boot_ms: int) -> list[str]:
    """What is known of each unknown slice, for an operator."""
    result: list[str] = []
    for name, known in world.unknown.items():
        wait_ms = _due_ms(world, name, known) - now_boot_ms
        if wait_ms > 0:
            result.append(
                f"unknown slice {name}: deleted unless its agents report within {duration(wait_ms)}"
            )
        elif not _stood(known):
            result.append(f"unknown slice {name}: deleted if it is listed again")
        elif not _may_delete(world):
            deleted = how_many(world.cluster.unknown_deleted, "unknown slice")
            result.append(f"unknown slice {name}: held, {deleted} were deleted already; look at it yourself")
    return result
