"""All platforms of a cluster together."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

from iris_platform import Platform
from iris_platform.base import PartlySeen, PlatformError, SliceInfo
from iris_platform.names import parse_slice_name

log = logging.getLogger(__name__)

# Zones that are listed at once.
MOST_AT_ONCE = 16


def distinct(platforms: Iterable[Platform]) -> list[Platform]:
    """Each platform once: groups of one provider share theirs."""
    return list({id(platform): platform for platform in platforms}.values())


def by_provider(
    provider_of: Mapping[str, str], platforms: Mapping[str, Platform]
) -> dict[str, list[Platform]]:
    """The platforms of each provider: every pool of manual hosts is one."""
    groups: dict[str, list[Platform]] = {}
    for name, provider in provider_of.items():
        groups.setdefault(provider, []).append(platforms[name])
    return {provider: distinct(each) for provider, each in groups.items()}


def highest_epoch(platforms: Iterable[Platform]) -> int:
    """The highest epoch in any slice's name; a zone that cannot be listed adds what was seen.

    The zones are listed together: of several that do not answer we wait for one.
    """
    places = [(platform, zone) for platform in distinct(platforms) for zone in platform.zones()]
    with ThreadPoolExecutor(max(1, min(len(places), MOST_AT_ONCE))) as pool:
        return max([0, *pool.map(lambda place: _highest_epoch_in(*place), places)])


def _highest_epoch_in(platform: Platform, zone: str) -> int:
    try:
        seen: Sequence[SliceInfo] = platform.list_slices({}, zone)
    except PlatformError as error:
        log.warning("zone %s cannot be listed for its epochs: %s", zone, error)
        seen = error.slices if isinstance(error, PartlySeen) else ()
    parts = [parse_slice_name(info.slice_id) for info in seen]
    return max([0, *(part.epoch for part in parts if part is not None)])


@contextmanager
def reachable(platforms: Iterable[Platform], addresses: tuple[str, str]) -> Iterator[None]:
    """Machines of every platform can reach us while this is held; without addresses there are none."""
    with ExitStack() as stack:
        for platform in distinct(platforms) if all(addresses) else []:
            stack.enter_context(platform.serve(addresses))
        yield
