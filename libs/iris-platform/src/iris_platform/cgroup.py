"""A control group for everything that runs on one host, where the kernel and our rights allow it.

A mark can be taken off and a parent left; nobody leaves a group of version 2
but by a right to write elsewhere. It is made below the group that we are in, so
that whoever limits or ends that one still has us. Without it (version 1 alone,
no rights) files and marks have to do. Standard library only.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

_PROCS = "cgroup.procs"


def enter_cgroup(host_dir: Path) -> str:
    """Move this process into the host's group; the group's path, empty where there can be none.

    Children are born into the group of their parent.
    """
    name = f"iris-{hashlib.sha256(os.fsencode(host_dir.resolve())).hexdigest()[:16]}"
    try:
        own = _own_group()
        if own is None:
            return ""
        # A keeper that was started out of its own host's group stays there.
        group = own if own.name == name else own / name
        group.mkdir(exist_ok=True)
        (group / _PROCS).write_text(str(os.getpid()))
    except OSError:
        return ""
    return str(group)


def leave_cgroup(path: str) -> None:
    """Move this process out of a group that `enter_cgroup` returned, and remove that if it is empty now."""
    if path:
        with suppress(OSError):
            (Path(path).parent / _PROCS).write_text(str(os.getpid()))
        remove_cgroup(path)


def cgroup_members(path: str) -> set[int]:
    """The processes in a group and in those below it; none where there is no such group."""
    found: set[int] = set()
    for directory, _, _ in os.walk(path):
        # Gone meanwhile, or of a kind that has threads only.
        with suppress(OSError):
            found.update(map(int, Path(directory, _PROCS).read_bytes().split()))
    # Stands for processes of another pid namespace, who are not ours to name.
    return found - {0}


def remove_cgroup(path: str) -> None:
    """Remove a group with those below it, as far as nothing is in them."""
    for directory, _, _ in os.walk(path, topdown=False):
        with suppress(OSError):
            os.rmdir(directory)


def _own_group() -> Path | None:
    """The directory of the version 2 group that we are in; None where there is none to be seen."""
    mount = _mount()
    if mount is None:
        return None
    root, point = mount
    for line in Path("/proc/self/cgroup").read_text("ascii", "surrogateescape").splitlines():
        if line.startswith("0::"):
            with suppress(ValueError):
                return point / Path(line[3:]).relative_to(root)
    return None


def _mount() -> tuple[str, Path] | None:
    """What of the groups' tree is mounted, and where."""
    for line in Path("/proc/self/mountinfo").read_text("ascii", "surrogateescape").splitlines():
        fields, _, kind = line.partition(" - ")
        if kind.split(" ", 1)[0] == "cgroup2":
            root, point = fields.split()[3:5]
            return root, Path(point)
    return None
