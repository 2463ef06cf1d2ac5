"""When a provider is asked, and how often: creations, deletions, looks and lists.

A provider at hand is asked about each slice by name, as often as it may matter. On
a cloud every call counts against a limit that others share, so there one list of a
zone tells of all its slices; a name is asked for only where a list raised a doubt
or a deed must rest on the answer.
"""

from __future__ import annotations

from collections.abc import Iterable

from iris_controller.core import states as s
from iris_controller.core.buckets import loose, strict
from iris_controller.core.effects import CreateSlice, DeleteSlice, Effect, ListZone, LookAtSlice
from iris_controller.core.entities import GroupPolicy, Slice
from iris_controller.core.values import Now
from iris_controller.core.world import World

# How often a slice that is on its way in or out is looked at, and how often a
# zone is listed as a whole.
LOOK_INTERVAL_MS = 1_000
LIST_INTERVAL_MS = 30_000
# To list machines of one's own is a connection to each. Once it is known what is there,
# their agents and looks by name tell more, and sooner.
LIST_SELDOM_MS = 300_000
# A zone of a cloud where slices come or go, and one of which something was heard.
LIST_BUSY_MS = 10_000
LIST_SOON_MS = 5_000
# Asked again after this share of the time that it has taken so far, in that range:
# what is slow is not made faster by asking, and every call counts against a limit.
ASK_AGAIN_SHARE = 8
# A cloud that has accepted a deletion is reminded only after this long, or a share of what it takes.
REMIND_MS = 120_000
# A list that began before a creation was accepted may still come in so long after.
LIST_LAG_MS = 25_000
# Names that may be asked for in a minute, in one project.
LOOKS_PER_MINUTE = 240
# Of a slice that is given up, as many hosts are asked for their logs: each is a few calls more.
MOST_LOGS = 4
# How long a project is left alone after it said that we call too often.
RATE_PAUSE_MS = 15_000


def open_accounts(world: World, now: Now) -> None:
    """Begins to count calls, as if many had been made just before."""
    most = world.settings.creates_per_minute
    for group in world.settings.groups.values():
        made = strict(most, now.boot_ms) if group.is_cloud else loose(most, now.boot_ms)
        world.asked.creating.setdefault(group.account, made)
        if group.is_cloud:
            world.asked.deleting.setdefault(group.account, strict(most, now.boot_ms))
            world.asked.looking.setdefault(group.account, strict(LOOKS_PER_MINUTE, now.boot_ms))


def account_of(world: World, slice_: Slice) -> str:
    """Whose calls those about a slice are; "" of a group that is not configured any more."""
    group = world.group(slice_)
    return group.account if group is not None else ""


def is_cloud(world: World, slice_: Slice) -> bool:
    """Whether calls about a slice count, and lists tell of it."""
    group = world.group(slice_)
    return group is not None and group.is_cloud


def may_wait_in_line(world: World, slice_: Slice) -> bool:
    """Whether a slice is no more than a request yet, of those that wait in the provider's line."""
    group = world.group(slice_)
    queued = group is not None and group.queued_for_ms is not None
    return queued and isinstance(slice_.state, s.SliceRequesting)


def create(world: World, slice_: Slice, now: Now) -> Effect:
    """Asks for a slice by its name; whoever asks has a token for it."""
    world.clocks.looked[slice_.name] = now.boot_ms
    world.asked.unanswered[slice_.name] = None
    world.asked.creations[slice_.name] = world.asked.creations.get(slice_.name, 0) + 1
    return CreateSlice(slice_.name, slice_.group, slice_.zone)


def create_again(world: World, slice_: Slice, now: Now) -> list[Effect]:
    """Asks for the same slice again, where calls count as soon as there is a token; `tick` comes back until then."""
    bucket = world.asked.creating[account_of(world, slice_)]
    if is_cloud(world, slice_) and not bucket.take(now.boot_ms):
        return []
    return [create(world, slice_, now)]


def delete(world: World, slice_: Slice, now: Now) -> list[Effect]:
    """Asks for a deletion, as soon as there is a token; `tick` comes back until then."""
    bucket = world.asked.deleting.get(account_of(world, slice_))
    if bucket is not None and not bucket.take(now.boot_ms):
        world.clocks.looked.pop(slice_.name, None)
        return []
    world.clocks.looked[slice_.name] = now.boot_ms
    world.asked.unanswered[slice_.name] = None
    return [DeleteSlice(slice_.name, slice_.group, slice_.zone)]


def slow_down(world: World, slice_: Slice, now: Now) -> None:
    """The provider says that we call too often: its project is left alone for a while."""
    account = account_of(world, slice_)
    for buckets in (world.asked.creating, world.asked.deleting, world.asked.looking):
        if account in buckets:
            buckets[account].pause(now.boot_ms, RATE_PAUSE_MS)


def look_last(world: World, slice_: Slice, now: Now) -> list[Effect]:
    """Asks for a slice that is given up if nothing has changed, and what its missing hosts say for themselves."""
    looks = look(world, [slice_], now)
    if looks:
        world.asked.last_looks[slice_.name] = None
    if may_wait_in_line(world, slice_):
        # There it has no hosts.
        return looks
    missing = tuple(world.missing(slice_)[:MOST_LOGS])
    return [LookAtSlice(slice_.name, slice_.group, slice_.zone, missing) for _ in looks]


def look(world: World, slices: Iterable[Slice], now: Now, *, at_once: bool = False) -> list[Effect]:
    """Asks the provider for slices by name, each at most once in an interval."""
    effects: list[Effect] = []
    for slice_ in slices:
        last = world.clocks.looked.get(slice_.name)
        if not at_once and last is not None and now.boot_ms - last < LOOK_INTERVAL_MS:
            continue
        bucket = world.asked.looking.get(account_of(world, slice_))
        if bucket is None or bucket.take(now.boot_ms):
            world.clocks.looked[slice_.name] = now.boot_ms
            effects.append(LookAtSlice(slice_.name, slice_.group, slice_.zone))
    return effects


def look_into(world: World, slices: Iterable[Slice], now: Now, *, at_once: bool = False) -> list[Effect]:
    """Something may have happened to these: asks for each by name, on a cloud soon for a list of its zone."""
    effects: list[Effect] = []
    for slice_ in slices:
        if is_cloud(world, slice_):
            world.asked.list_soon[world.settings.groups[slice_.group].provider, slice_.zone] = None
        else:
            effects += look(world, [slice_], now, at_once=at_once)
    return effects


def is_due(world: World, slice_: Slice, now: Now) -> bool:
    """Whether it is time to do something about a slice in transit again."""
    is_deleting = isinstance(slice_.state, s.SliceDeleting)
    if slice_.name in world.asked.unanswered and (is_cloud(world, slice_) or not is_deleting):
        # Nothing is won by asking twice at the same time: on a cloud both would count, and
        # hosts of one's own are given their agents one after the other.
        return False
    age_ms = now.boot_ms - world.clocks.slice_since[slice_.name]
    pause_ms = min(max(LOOK_INTERVAL_MS, age_ms // ASK_AGAIN_SHARE), LIST_INTERVAL_MS)
    if is_deleting and slice_.name in world.asked.let_go:
        pause_ms = max(REMIND_MS, age_ms // ASK_AGAIN_SHARE)
    last = world.clocks.looked.get(slice_.name)
    return last is None or now.boot_ms - last >= pause_ms


def is_told_by_lists(world: World, group: GroupPolicy, slice_: Slice) -> bool:
    """Whether there is nothing to ask by name about a slice that comes."""
    requesting = isinstance(slice_.state, s.SliceRequesting)
    return group.is_cloud and (not requesting or slice_.name in world.asked.accepted)


def is_missed(world: World, slice_: Slice, now: Now) -> bool:
    """Whether a complete list that does not show a slice is worth a look by its name."""
    match slice_.state:
        case s.SliceGone():
            return False
        case s.SliceRequesting():
            accepted_ms = world.asked.accepted.get(slice_.name)
            return accepted_ms is not None and now.boot_ms - accepted_ms > LIST_LAG_MS
        case _:
            return True


def list_zones(world: World, now: Now) -> list[Effect]:
    """Every zone in its turn; of a cloud sooner those where slices come or go."""
    clouds = {group.provider for group in world.settings.groups.values() if group.is_cloud}
    moving: dict[tuple[str, str], None] = {}
    for slice_ in world.present_slices():
        group = world.group(slice_)
        if group is not None and not isinstance(slice_.state, s.SliceReady):
            moving[group.provider, slice_.zone] = None
    effects: list[Effect] = []
    for where in world.zones:
        last = world.clocks.listed.get(where)
        if where[0] in clouds:
            interval_ms = LIST_BUSY_MS if where in moving else LIST_INTERVAL_MS
        else:
            interval_ms = LIST_SELDOM_MS if _is_well_known(world, where) else LIST_INTERVAL_MS
        if where in world.asked.list_soon:
            interval_ms = LIST_SOON_MS
        if last is None or now.boot_ms - last >= interval_ms:
            world.clocks.listed[where] = now.boot_ms
            world.asked.list_soon.pop(where, None)
            effects.append(ListZone(*where))
    return effects


def _is_well_known(world: World, where: tuple[str, str]) -> bool:
    """Whether all that a zone has is in the store."""
    unknown = any((one.provider, one.zone) == where for one in world.unknown.values())
    return where in world.shown and world.cluster.incomplete is None and not unknown
