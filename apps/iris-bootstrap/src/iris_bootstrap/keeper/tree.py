"""Which processes belong to which attempt, and whether any is left.

Knows pids and attempts, no phases, no clock. The keeper is a child subreaper:
what loses its parent becomes the keeper's child before that parent can be
reaped. So an attempt whose main process was reaped is over if the keeper has
no child that it cannot account for, and one short read of its list of
children says so for all attempts at once; /proc is scanned only when something
is left, or to kill. A cgroup for each attempt can take this module's place
where there are cgroups.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from iris_bootstrap.attempt import AttemptKey, parse_key
from iris_bootstrap.keeper.spawn import ATTEMPT_MARK
from iris_platform import processes

_PR_SET_CHILD_SUBREAPER = 36
_NONE: frozenset[int] = frozenset()


def become_subreaper() -> None:
    """Have orphans among our descendants become our children.

    Raises:
        OSError: the kernel refuses; nothing that a task left could be found.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) failed")


class Trees:
    """The processes of all attempts that have not ended.

    A *stray* is a child of the keeper that it did not start. As long as it is
    not reaped its pid is its own, so what was found out about it stays true.
    """

    def __init__(self, host_dir: Path) -> None:
        self._tasks = f"{host_dir}/tasks/"
        # Another host on this machine may run an attempt of the same name.
        self._host = (processes.HOST_MARK, str(host_dir))
        # Children that we started and have not reaped; None for one that is no attempt's.
        self._mains: dict[int, AttemptKey | None] = {}
        # By the pid of its main process, also after that was reaped: the kernel
        # gives no number out again that still names a session.
        self._sessions: dict[int, AttemptKey] = {}
        self._live: dict[AttemptKey, int] = {}
        self._strays: dict[int, AttemptKey | None] = {}
        self._owned: dict[AttemptKey, set[int]] = {}
        # Strays without a trace of their origin: the attempts that ran when each was first seen.
        self._unknown: dict[int, frozenset[AttemptKey]] = {}
        # Descendants seen while killing, to know them when they become strays.
        self._hints: dict[int, AttemptKey] = {}

    def admit(self, pid: int, key: AttemptKey | None) -> None:
        """A child was started: an attempt's main process, or another that is not a stray."""
        self._mains[pid] = key
        if key is not None:
            self._live[key] = pid
            self._sessions[pid] = key

    def on_reaped(self, pid: int) -> AttemptKey | None:
        """A child was reaped; the attempt whose main process it was."""
        if pid in self._mains:
            return self._mains.pop(pid)
        owner = self._strays.pop(pid, None)
        self._unknown.pop(pid, None)
        self._hints.pop(pid, None)
        if owner is not None:
            self._disown(pid, owner)
        return None

    def release(self, key: AttemptKey) -> None:
        """An attempt has ended."""
        pid = self._live.pop(key, None)
        if pid is not None and self._sessions.get(pid) == key:
            del self._sessions[pid]
        self._owned.pop(key, None)
        if self._hints:
            self._hints = {pid: owner for pid, owner in self._hints.items() if owner != key}

    def look(self) -> list[int]:
        """Take note of new strays; those that no live attempt owns are returned.

        To be called after a round of reaping and before it is judged.
        """
        listed = _children()
        if len(listed) == len(self._mains) + len(self._strays):
            return []
        for pid in map(int, listed):
            if pid not in self._mains and pid not in self._strays:
                self._take_in(pid)
        return [pid for pid in self._strays if self._is_nobodys(pid)]

    def leftovers(self, key: AttemptKey) -> frozenset[int]:
        """The strays that are left of an attempt whose main process was reaped."""
        if not self._strays:
            return _NONE
        due = (pid for pid in self._unknown if self._is_due(key, pid))
        return frozenset({*self._owned.get(key, ()), *due})

    def members(self, keys: Collection[AttemptKey]) -> dict[int, AttemptKey]:
        """Every live process of these attempts: a scan of /proc."""
        table = processes.parents()
        marked = processes.marks(ATTEMPT_MARK, self._host)
        found: dict[int, AttemptKey] = {}
        for key in keys:
            roots = set(self.leftovers(key))
            main = self._live.get(key)
            if main in self._mains:
                roots.add(main)
            text = str(key)
            roots.update(pid for pid, value in marked.items() if value == text)
            for pid in processes.with_descendants(roots, table) - {os.getpid()}:
                found[pid] = key
                if pid not in self._mains and pid not in self._strays:
                    self._hints[pid] = key
        return found

    def _is_nobodys(self, pid: int) -> bool:
        owner = self._strays[pid]
        owners = self._unknown[pid] if owner is None else [owner]
        return not any(key in self._live for key in owners)

    def _is_due(self, key: AttemptKey, pid: int) -> bool:
        """Whether a stray of unknown origin can be nobody's but this attempt's, as far as still matters."""
        suspects = self._unknown[pid]
        return key in suspects and not any(
            self._live.get(other) in self._mains for other in suspects if other != key
        )

    def _take_in(self, pid: int) -> None:
        owner = self._owner(pid)
        self._strays[pid] = owner
        if owner is not None:
            self._owned.setdefault(owner, set()).add(pid)
        else:
            self._unknown[pid] = frozenset(self._live)

    def _disown(self, pid: int, owner: AttemptKey) -> None:
        pids = self._owned.get(owner)
        if pids is not None:
            pids.discard(pid)
            if not pids:
                del self._owned[owner]

    def _owner(self, pid: int) -> AttemptKey | None:
        """Whose a stray is: by its mark, its session, what it was seen under, or its files."""
        mark = processes.mark_of(pid, ATTEMPT_MARK, self._host)
        if mark is not None:
            with suppress(ValueError):
                return parse_key(mark)
        with suppress(OSError):
            owner = self._sessions.get(os.getsid(pid)) or self._hints.get(pid)
            if owner is not None:
                return owner
        for link in ("cwd", "fd/1", "fd/2"):
            owner = self._owner_of_file(f"/proc/{pid}/{link}")
            if owner is not None:
                return owner
        return None

    def _owner_of_file(self, link: str) -> AttemptKey | None:
        try:
            target = os.readlink(link)
        except OSError:
            return None
        if not target.startswith(self._tasks):
            return None
        directory = target[len(self._tasks) :].split("/", 1)[0]
        return next((key for key in self._live if key.directory == directory), None)


def _children() -> list[bytes]:
    """The pids of our children, unreaped ones included.

    Exact, although proc(5) promises it for stopped processes only: a child
    leaves this list when it is reaped, and we, who reap, are reading.
    """
    try:
        # The keeper has one thread, whose number is the process's.
        with open(f"/proc/self/task/{os.getpid()}/children", "rb", buffering=0) as file:
            return file.read().split()
    except FileNotFoundError:
        # A kernel without CONFIG_PROC_CHILDREN.
        return [b"%d" % pid for pid in processes.children_of(os.getpid())]
