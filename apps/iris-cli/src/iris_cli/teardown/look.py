"""Looks at what is there. Failing to look is not seeing nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from iris_cli.teardown.scope import Place
from iris_platform import SeesStrays
from iris_platform.base import NoCredentials, PartlySeen, PlatformError, SliceInfo, Unreachable, VmState
from iris_platform.local import Found, take_census
from iris_platform.names import parse_slice_name
from iris_proto.v1.controller_pb2 import Slice

# Looks and deletions that are under way at once.
AT_ONCE = 8


@dataclass(frozen=True)
class Seen:
    """A place and what it holds; `strays` are this cluster's by half, or by their name alone."""

    site: Place
    slices: tuple[SliceInfo, ...]
    strays: tuple[Found, ...] = ()


@dataclass(frozen=True)
class Blind:
    """A place that could not be looked at: nobody knows all that it holds.

    `known` is what of ours is there all the same, and can be deleted by name.
    `helps` is what to do first, where to try again alone may not help.
    """

    zone: str
    provider: str
    why: str
    site: Place | None = field(default=None, compare=False)
    known: tuple[Found, ...] = ()
    helps: str = ""


@dataclass(frozen=True)
class Foreign:
    """Slices of this cluster's name, or under its local root, that no listing of its own shows."""

    zone: str
    slices: tuple[Found, ...]


Look = Seen | Blind | Foreign
Item = TypeVar("Item")
Answer = TypeVar("Answer")
T = TypeVar("T")


def look_beyond(
    census: Iterable[Found], looks: Sequence[Seen | Blind], zones: Sequence[str] | None
) -> list[Foreign]:
    """What is there and nothing deletes, by zone: the strays of the looks, and what only the census has.

    `zones` are those of the census that count; None means all.
    """
    shown = {name for look in looks for _, name in doomed_in(look)}
    default = next((look.site.zone if isinstance(look, Seen) else look.zone for look in looks), "local")
    found: dict[str, list[Found]] = {}
    for stray in [stray for look in looks for stray in strays_of(look)]:
        here = found.setdefault(stray.zone or default, [])
        # Groups of one project see the same.
        here += [stray] if stray not in here else []
    for entry in census:
        meant = zones is None or entry.zone is None or entry.zone in zones
        if meant and entry.name not in shown:
            found.setdefault(entry.zone or default, []).append(entry)
    return [Foreign(zone, tuple(slices)) for zone, slices in found.items()]


def zones_by(blind: Iterable[tuple[str, T]]) -> Iterator[tuple[str, T]]:
    """`zone a`, or `zones a, b`, by what is said of each: said once, it is read."""
    found: dict[T, list[str]] = {}
    for zone, said in blind:
        found.setdefault(said, []).append(zone)
    for said, zones in found.items():
        yield f"zone{'s' if len(zones) > 1 else ''} {', '.join(zones)}", said


def strays_of(look: Seen | Blind) -> tuple[Found, ...]:
    """What a look showed that is the cluster's by half, or by its name alone."""
    return look.strays if isinstance(look, Seen) else ()


def look_at(sites: Iterable[Place], zones: Sequence[str]) -> list[Seen | Blind]:
    """A fresh listing of every place in these zones, several at once."""
    places = list(sites)
    narrowed = any(site.zone not in zones for site in places)
    here = [site for site in places if site.zone in zones]
    own = {site.cluster_id for site in places}
    return at_once(lambda site: _look(site, own, narrowed=narrowed), here)


def at_once(call: Callable[[Item], Answer], items: Sequence[Item]) -> list[Answer]:
    """The answers in order. After Ctrl-C nobody waits for those that are under way; there are none else."""
    if len(items) < 2:
        return [call(item) for item in items]
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        return list(pool.map(call, items))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _look(site: Place, own: Collection[str], *, narrowed: bool) -> Seen | Blind:
    try:
        slices = tuple(site.platform.list_slices({}, site.zone))
        return Seen(site, slices, tuple(_strays(site, own)))
    except PartlySeen as error:
        return Blind(site.zone, site.provider, str(error), site, tuple(map(_found, error.slices)))
    except PlatformError as error:
        known = tuple(_known(site, narrowed=narrowed))
        helps = error.HELP if isinstance(error, NoCredentials) else site.helps
        return Blind(site.zone, site.provider, str(error), site, known, helps)


def _strays(site: Place, own: Collection[str]) -> Iterable[Found]:
    """What the list of a place showed beside its slices, and no other place deletes."""
    if not isinstance(site.platform, SeesStrays):
        return
    for stray in site.platform.strays(site.zone):
        if stray.cluster_id and stray.cluster_id in own:
            continue
        parts = parse_slice_name(stray.name)
        whole = parts is not None and parts.cluster_id == stray.cluster_id
        # With its own id in name and labels it can be stopped by that.
        why = "" if whole else f"{stray.kind}: {stray.why}; only you can say whether to delete it"
        yield Found(stray.name, stray.cluster_id if whole else "", site.zone, stray.hosts, stray.hosts, why)


def _found(info: SliceInfo) -> Found:
    parts = parse_slice_name(info.slice_id)
    cluster_id = parts.cluster_id if parts else ""
    running = sum(vm.state is VmState.RUNNING for vm in info.vms)
    return Found(info.slice_id, cluster_id, info.zone, len(info.vms), running)


def _known(site: Place, *, narrowed: bool) -> Iterable[Found]:
    """What of ours lies in a local place that cannot be listed, record by record.

    One without a record that says its zone counts only where all zones are meant.
    """
    if site.local_root is None:
        return
    try:
        census = take_census(site.local_root)
    except Unreachable:
        return
    for found in census:
        here = found.zone == site.zone or (found.zone is None and not narrowed)
        if here and found.cluster_id == site.cluster_id:
            yield found


def delete_all(looks: Iterable[Seen | Blind]) -> dict[str, str]:
    """Delete every slice that is known, by name; returns what went wrong, by slice."""
    work = [(site, name) for look in looks for site, name in doomed_in(look)]
    results = at_once(lambda item: _delete(*item), work)
    return {name: why for (_, name), why in zip(work, results, strict=True) if why}


def doomed_in(look: Seen | Blind) -> list[tuple[Place, str]]:
    """The slices of a look that can be deleted by name."""
    if isinstance(look, Seen):
        return [(look.site, info.slice_id) for info in look.slices]
    return [(look.site, found.name) for found in look.known] if look.site else []


def _delete(site: Place, name: str) -> str:
    try:
        site.platform.delete_slice(name, site.zone)
    except PlatformError as error:
        return str(error)
    return ""


def still_there(
    told: Iterable[Slice], sites: Iterable[Place], known: Collection[str]
) -> list[dict[str, str]]:
    """What the controller said was left and no provider says is gone, beyond the `known` names."""
    places = list(sites)
    found = []
    for entry in told:
        why = "" if entry.name in known else _presence(entry, places)
        if why:
            found.append({"zone": entry.zone, "name": entry.name, "why": why})
    return found


def _presence(entry: Slice, sites: Iterable[Place]) -> str:
    """Why a slice is not known to be gone; empty where it is."""
    parts = parse_slice_name(entry.name)
    own = [site for site in sites if parts is None or site.cluster_id in ("", parts.cluster_id)]
    here = [site for site in own if site.zone == entry.zone]
    if not here:
        return "the controller knew it, and its zone cannot be looked at"
    for site in here:
        try:
            info = site.platform.get_slice(entry.name, entry.zone)
        except PlatformError as error:
            return str(error)
        if info is not None:
            return info.detail or info.state.value
    return ""
