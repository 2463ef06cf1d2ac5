"""Looks at what is there. Failing to look is not seeing nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from iris_cli.teardown.scope import Site
from iris_platform.base import PlatformError, SliceInfo

# Deletions that are under way at once.
AT_ONCE = 8


@dataclass(frozen=True)
class Seen:
    """A place and what it holds."""

    site: Site
    slices: tuple[SliceInfo, ...]


@dataclass(frozen=True)
class Blind:
    """A place that could not be looked at: nobody knows what it holds."""

    zone: str
    provider: str
    why: str


def look_at(sites: Iterable[Site], zones: Sequence[str]) -> list[Seen | Blind]:
    """A fresh listing of every place in these zones."""
    return [_look(site) for site in sites if site.zone in zones]


def _look(site: Site) -> Seen | Blind:
    try:
        return Seen(site, tuple(site.platform.list_slices({}, site.zone)))
    except PlatformError as error:
        return Blind(site.zone, site.provider, str(error))


def delete_all(seen: Iterable[Seen]) -> dict[str, str]:
    """Delete every slice that was seen, by name; returns what went wrong, by slice."""
    work = [(look.site, info.slice_id) for look in seen for info in look.slices]
    if not work:
        return {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        results = list(pool.map(lambda item: _delete(*item), work))
    return {name: why for (_, name), why in zip(work, results, strict=True) if why}


def _delete(site: Site, name: str) -> str:
    try:
        site.platform.delete_slice(name, site.zone)
    except PlatformError as error:
        return str(error)
    return ""
