"""A cgroup per host: to freeze it, to limit its memory, and to be the root of what it sees.

Freezing needs cgroup v2 (a v1 freezer keeps even SIGKILL waiting, so a test that
died would leave processes behind). Memory is limited through whichever version
holds that controller on this machine.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from tests.harness.cluster import wait_until
from tests.harness.hosts.needs import BenchLacks

MOUNTS = Path("/proc/mounts")
# Everything of one sealed run is below a directory of this name, in both versions.
RUN = "IRIS_HOSTS_CGROUP"
PREFIX = "iris-hosts-"
GONE_S = 5.0


def unified() -> Path | None:
    """Where cgroup v2 is mounted, if it is and can be written."""
    return _mounted("cgroup2")


def memory_v1() -> Path | None:
    """Where the memory controller of cgroup v1 is mounted, if it is and can be written."""
    return _mounted("cgroup", "memory")


def _mounted(kind: str, option: str = "") -> Path | None:
    for line in MOUNTS.read_text().splitlines():
        _, where, found, options, *_ = line.split()
        if found == kind and (not option or option in options.split(",")) and os.access(where, os.W_OK):
            return Path(where)
    return None


class HostCgroup:
    """The cgroups of one host: one in the v2 tree, and one for its memory where v1 holds that."""

    def __init__(self, name: str, memory: int | None) -> None:
        root = unified()
        if root is None:
            raise BenchLacks("hosts need a cgroup v2 tree that can be written")
        below = Path(os.environ[RUN]) / name
        self._v2 = root / below
        self._v2.mkdir(parents=True)
        self._all = [self._v2]
        if memory is not None:
            self._limit_memory(root, below, memory)

    def _limit_memory(self, root: Path, below: Path, limit: int) -> None:
        v1 = memory_v1()
        if v1 is not None:
            where, file = v1 / below, "memory.limit_in_bytes"
            where.mkdir(parents=True)
            self._all.append(where)
        else:
            where, file = self._v2, "memory.max"
            for above in (root, *[root / part for part in list(below.parents)[-2::-1]]):
                with suppress(OSError):
                    (above / "cgroup.subtree_control").write_text("+memory")
            if not (where / file).exists():
                raise BenchLacks("no cgroup of this machine can limit memory")
        (where / file).write_text(str(limit))

    @property
    def doors(self) -> list[str]:
        """The files that a process writes its id to, to be in."""
        return [str(where / "cgroup.procs") for where in self._all]

    def freeze(self) -> None:
        """Stops every process; returns when all stand still."""
        self._freeze(1)

    def thaw(self) -> None:
        """Lets them go on."""
        self._freeze(0)

    def _freeze(self, state: int) -> None:
        (self._v2 / "cgroup.freeze").write_text(str(state))
        events = self._v2 / "cgroup.events"
        wait_until(lambda: f"frozen {state}" in events.read_text().splitlines())

    def below(self) -> list[str]:
        """The cgroups that the host made, as it names them."""
        return sorted(str(path.relative_to(self._v2)) for path in self._v2.rglob("*") if path.is_dir())

    def remove(self) -> None:
        """Takes the cgroups away; their processes are dead or about to be."""
        wait_until(lambda: all(map(remove_tree, self._all)), GONE_S)


def remove_tree(top: Path) -> bool:
    """Removes a cgroup and those below it; whether it is gone now. One that is in use stays."""
    for where, _, _ in os.walk(top, topdown=False):
        with suppress(OSError):
            os.rmdir(where)
    return not top.exists()


def remove_run(run: str) -> bool:
    """Removes all cgroups of a sealed run; whether they are gone."""
    roots = [root for root in (unified(), memory_v1()) if root]
    left = [root for root in roots if not remove_tree(root / run)]
    return not left


def wait_and_remove_run(run: str) -> None:
    """Removes them as soon as their last process is gone; gives up after a few seconds."""
    with suppress(AssertionError):
        wait_until(lambda: remove_run(run), GONE_S)
