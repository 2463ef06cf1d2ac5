"""Stopping without a controller: hold its place, delete by name, look again."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from iris_cli.exits import FAILED, LEFT_OVER, CliError
from iris_cli.teardown.live import CLOUD_S, SliceTeller, WaitTeller
from iris_cli.teardown.look import Blind, Seen, delete_all, doomed_in, look_at
from iris_cli.teardown.scope import Place
from iris_cli.text import duration
from iris_platform.base import PlatformError
from iris_platform.paths import ClusterPaths
from iris_platform.processes import wait_until
from iris_platform.state_lock import StateDirError, StateLock, StateLocked

# A slice that survives this many deletions needs a person.
ROUNDS = 3
# Another stop, or a controller that is just ending, may hold the directory.
LOCK_S = 3.0
# Between two looks at what a cloud deletes.
FOLLOW_S = 3.0


@dataclass(frozen=True)
class Result:
    """The last look, and what went wrong with deletions, by slice."""

    looks: tuple[Seen | Blind, ...]
    errors: dict[str, str]


def clear(
    sites: Sequence[Place], zones: Sequence[str], paths: ClusterPaths, note: Callable[[str], None]
) -> Result:
    """Delete whatever is listed in these zones until a fresh look finds nothing.

    The state directory's lock is held throughout, so that no controller starts
    underneath.

    Raises:
        CliError: somebody else holds the state directory.
    """
    is_new = not paths.state_dir.exists()
    lock = _take_lock(paths)
    with lock, _no_trace(paths, is_new):
        looks = look_at(sites, zones)
        # Of them nothing is known: to look again and again would hold up the others.
        blind = [look for look in looks if isinstance(look, Blind) and not look.known]
        sighted = [site for site in sites if all(look.site is not site for look in blind)]
        looks, errors = _clear([look for look in looks if look not in blind], sighted, zones, note)
        return Result(tuple(_tidied(look) for look in [*looks, *blind]), errors)


@contextmanager
def _no_trace(paths: ClusterPaths, is_new: bool) -> Iterator[None]:
    """A state directory that only the lock needed is none that a next start would find anything in."""
    try:
        yield
    finally:
        if is_new:
            shutil.rmtree(paths.state_dir, ignore_errors=True)


def _clear(
    looks: list[Seen | Blind], sites: Sequence[Place], zones: Sequence[str], note: Callable[[str], None]
) -> tuple[list[Seen | Blind], dict[str, str]]:
    errors: dict[str, str] = {}
    for _ in range(ROUNDS):
        doomed = [pair for look in looks for pair in doomed_in(look)]
        if not doomed:
            break
        for site, name in doomed:
            note(f"deleting slice {name} in zone {site.zone}")
        looks, errors = delete_and_follow(looks, lambda: look_at(sites, zones), note)
    return looks, errors


def delete_and_follow(
    looks: Sequence[Seen | Blind], look: Callable[[], list[Seen | Blind]], note: Callable[[str], None]
) -> tuple[list[Seen | Blind], dict[str, str]]:
    """Delete all that these looks show, and look again until it is gone; with what went wrong, by slice."""
    errors = delete_all(looks)
    doomed = [pair for one in looks for pair in doomed_in(one)]
    accepted = {(site.zone, name) for site, name in doomed if site.deletes_later and name not in errors}
    return _follow(accepted, look, note), errors


def _follow(
    going: Collection[tuple[str, str]], look: Callable[[], list[Seen | Blind]], note: Callable[[str], None]
) -> list[Seen | Blind]:
    """The look in which none of these is left, by zone and name, or the last one within a bound; tells what changes."""
    began = time.monotonic()
    pause = threading.Event()
    looks = look()
    teller = SliceTeller(_words(looks))
    waits = WaitTeller(CLOUD_S)
    names = {name for _, name in going}
    while any(_may_hold(one, going) for one in looks) and time.monotonic() - began < CLOUD_S:
        pause.wait(FOLLOW_S)
        looks = look()
        words = _words(looks)
        left = {name: of for name, of in words.items() if name in names}
        for line in waits.lines(teller.lines(words), left, time.monotonic() - began):
            note(f"{duration(time.monotonic() - began):>8}  {line}")
    return looks


def _may_hold(look: Seen | Blind, going: Collection[tuple[str, str]]) -> bool:
    """Whether a place has one of these, or may have: it could not be looked at."""
    if isinstance(look, Blind):
        return any(zone == look.zone for zone, _ in going)
    return any((site.zone, name) in going for site, name in doomed_in(look))


def _words(looks: Iterable[Seen | Blind]) -> dict[str, str]:
    """The provider's words for each slice that was seen, by its name; of one that was not there are none."""
    seen = [info for look in looks if isinstance(look, Seen) for info in look.slices]
    blind = {
        name: "cannot be seen" for look in looks if isinstance(look, Blind) for _, name in doomed_in(look)
    }
    return blind | {info.slice_id: info.state.value.upper() for info in seen}


def _tidied(look: Seen | Blind) -> Seen | Blind:
    """A look at a place; where nothing is left of its slices, nothing is kept for the next ones either.

    Nor on those hosts of a pool that could be looked at while others could not.
    """
    if look.site is None or doomed_in(look):
        return look
    try:
        look.site.platform.tidy(look.site.zone)
    except PlatformError as error:
        if isinstance(look, Blind):
            return look
        words = f"what is kept there for later could not be removed: {error}"
        return Blind(look.site.zone, look.site.provider, words)
    return look


def _take_lock(paths: ClusterPaths) -> StateLock:
    taken: list[StateLock] = []

    def take() -> bool:
        with suppress(StateLocked):
            taken.append(StateLock(paths.state_dir, role="cluster stop"))
        return bool(taken)

    try:
        if wait_until(take, LOCK_S):
            return taken[0]
    except StateDirError as error:
        raise CliError(FAILED, str(error)) from error
    raise CliError(
        LEFT_OVER,
        f"{paths.state_dir} is in use: a controller is being started, or another stop goes on",
        hint="try again when it is done",
    )
