"""What is on a host: everything that differs from its base tree, what runs, and the cgroups it made.

Two listings of one host are equal if nothing is left of what happened between
them. Content, kind, mode and owner count; times do not, and neither does a file
that was changed and changed back. Reads the host's disk from outside, so that
looking leaves no trace.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

# What `sshd` writes about logins, and what the bench itself keeps in the host.
NOISE = {"/run/lab", "/run/sshd", "/run/utmp", "/var/log/btmp", "/var/log/lastlog", "/var/log/wtmp"}
NOISE_PREFIXES = (
    # What libfaketime shares between processes of a host with another clock.
    *("/dev/shm/faketime_shm_", "/dev/shm/sem.faketime_sem_"),
    # An engine's own; it is asked for its containers instead.
    *("/run/containerd", "/run/containers", "/run/docker", "/run/libpod", "/dev/shm/libpod"),
    # What systemd knows of its units, and the journal.
    *("/run/systemd", "/run/log/journal", "/var/log/journal"),
)
OPAQUE = "trusted.overlay.opaque"
GONE = "gone"
AS_BASE = "as in the base"


@dataclass(frozen=True)
class Listing:
    """A host at one moment.

    `files`: path in the host -> kind, mode in octal, uid:gid, and size with digest
    or the link's target; "gone" for what the base has and the host has not.
    `processes`: command lines, without those of `sshd` and of the bench, sorted.
    `cgroups`: paths below the host's root cgroup.
    """

    files: Mapping[str, str]
    processes: tuple[str, ...]
    cgroups: tuple[str, ...]

    def since(self, before: Listing) -> list[str]:
        """What is different now, a line each; a file that is not listed is as the base has it, or has not."""
        lines = []
        for path in sorted({*before.files, *self.files}):
            was, now = before.files.get(path, AS_BASE), self.files.get(path, AS_BASE)
            if was != now:
                lines.append(f"{path}: {was} -> {now}")
        lines += _difference("process", before.processes, self.processes)
        return lines + _difference("cgroup", before.cgroups, self.cgroups)


def _difference(kind: str, before: tuple[str, ...], after: tuple[str, ...]) -> list[str]:
    left, come = list(before), []
    for each in after:
        if each in left:
            left.remove(each)
        else:
            come.append(each)
    return [f"+ {kind} {each}" for each in come] + [f"- {kind} {each}" for each in left]


def changed_files(upper: Path, base: Path) -> dict[str, str]:
    """What an overlay's upper directory says of the tree, where that differs from the base."""
    return {path: words for path, words in _changes(upper, base, "", hides=False) if not _is_noise(path)}


def _changes(upper: Path, base: Path | None, inside: str, *, hides: bool) -> Iterator[tuple[str, str]]:
    """Pairs of path and words; `base` is None where it has no such directory.

    `hides`: nothing of the base shows through here, since a directory above was made anew.
    """
    hides = hides or _is_opaque(upper)
    entries = _entries(upper)
    for entry in entries:
        path, here = f"{inside}/{entry.name}", Path(entry.path)
        below = base / entry.name if base and os.path.lexists(base / entry.name) else None
        if _is_whiteout(entry):
            if below:
                yield path, GONE
            continue
        words = describe(here)
        if words and (not below or describe(below) != words):
            yield path, words
        if entry.is_dir(follow_symlinks=False):
            is_directory = below is not None and below.is_dir() and not below.is_symlink()
            yield from _changes(here, below if is_directory else None, path, hides=hides)
    if base and hides:
        kept = {entry.name for entry in entries}
        yield from ((f"{inside}/{entry.name}", GONE) for entry in _entries(base) if entry.name not in kept)


def all_files(top: Path, inside: str) -> dict[str, str]:
    """What is in a directory of the host that is on no disk, such as /run."""
    found: dict[str, str] = {}
    for entry in _entries(top):
        path = f"{inside}/{entry.name}"
        words = None if _is_noise(path) else describe(Path(entry.path))
        if not words:
            continue
        found[path] = words
        if entry.is_dir(follow_symlinks=False):
            found |= all_files(Path(entry.path), path)
    return found


def _is_noise(path: str) -> bool:
    return path in NOISE or path.startswith(NOISE_PREFIXES)


def _entries(top: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(top) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:
        return []


def _is_whiteout(entry: os.DirEntry[str]) -> bool:
    status = entry.stat(follow_symlinks=False)
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _is_opaque(directory: Path) -> bool:
    return OPAQUE in os.listxattr(directory) and os.getxattr(directory, OPAQUE) == b"y"


def describe(path: Path) -> str | None:
    """Kind, mode, owner, and what is in it; follows no link. None if it has just gone."""
    try:
        status = path.lstat()
        mode = status.st_mode
        words = f"{stat.filemode(mode)[0]} {stat.S_IMODE(mode):04o} {status.st_uid}:{status.st_gid}"
        if stat.S_ISREG(mode):
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            return f"{words} {status.st_size} {digest[:16]}"
        if stat.S_ISLNK(mode):
            return f"{words} -> {os.readlink(path)}"
        return words
    except FileNotFoundError:
        return None
