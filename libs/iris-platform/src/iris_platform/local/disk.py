"""What local slices leave on disk.

    ROOT/NAME/slice.json          the slice: labels, zone, shape
    ROOT/NAME/deleting            its deletion has begun
    ROOT/NAME/INDEX/host.json     a host (`env_probe`); the agent's own files beside it

A slice's directory appears whole and disappears whole, so every one that is
there has its `slice.json`. Knows nothing of processes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from iris_platform import file_lock
from iris_platform.base import SliceSpec, Unreachable
from iris_platform.env_probe import Environment, write_environment
from iris_platform.files import make_private_dir, sync_dir, write_atomic
from iris_platform.names import parse_slice_name
from iris_platform.slice_json import (
    CorruptSlice,
    Fields,
    read_json,
    spec_from_json,
    spec_to_json,
    write_json,
)

SLICE_FILE = "slice.json"
DELETING_FILE = "deleting"
GONE_PREFIX = ".gone-"


@dataclass(frozen=True)
class SliceRecord:
    """A slice as it was written down, and when its hosts were last started.

    Times are wall clock, milliseconds.
    """

    spec: SliceSpec
    zone: str
    created_at_ms: int
    started_at_ms: int


class SliceStore:
    """The slices under one root. Calls about one slice must hold its lock."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextmanager
    def lock(self, name: str, timeout_s: float) -> Iterator[None]:
        """Keep others, in this process or another, from changing a slice.

        Raises:
            Unreachable: another call has been at it for `timeout_s`.
        """
        make_private_dir(self.root)
        try:
            with file_lock.hold(self._lock_file(name), timeout_s):
                yield
        except TimeoutError as error:
            raise Unreachable(f"slice {name}: another call is at work on it: {error}") from error

    def names(self) -> list[str]:
        """Every directory that is named like a slice, sorted.

        Raises:
            Unreachable: the root is there but cannot be listed.
        """
        try:
            with os.scandir(self.root) as entries:
                found = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise Unreachable(f"{self.root}: cannot list: {error.strerror}") from error
        return sorted(name for name in found if parse_slice_name(name) is not None)

    def read(self, name: str) -> SliceRecord | None:
        """A slice as it was written down; None when there is none.

        Raises:
            CorruptSlice: its file cannot be understood; names file and field.
            Unreachable: its file cannot be read.
        """
        path = self.root / name / SLICE_FILE
        try:
            value = read_json(path)
        except FileNotFoundError:
            if not path.parent.exists():
                return None
            raise CorruptSlice(f"{path}: missing, although the slice's directory is there") from None
        return _decode(path, value)

    def create(self, record: SliceRecord, hosts: list[Environment]) -> None:
        """Write a new slice down; when this returns it would survive a power cut."""
        name = record.spec.name
        fresh = self._fresh(name)
        # Of a creation that died before it became visible: no process has it.
        shutil.rmtree(fresh, ignore_errors=True)
        make_private_dir(fresh)
        for host in hosts:
            host_dir = fresh / str(host.worker_index)
            make_private_dir(host_dir)
            write_environment(host_dir, host)
        _write_record(fresh / SLICE_FILE, record)
        fresh.rename(self.root / name)
        sync_dir(self.root)

    def note_start(self, record: SliceRecord, started_at_ms: int) -> None:
        """Write down that hosts are being started now."""
        path = self.root / record.spec.name / SLICE_FILE
        _write_record(path, replace(record, started_at_ms=started_at_ms))

    def host_dir(self, name: str, index: int) -> Path:
        """Where a host lives."""
        return self.root / name / str(index)

    def host_dirs(self, name: str) -> list[Path]:
        """The directories of all hosts that a slice has on disk."""
        with suppress(FileNotFoundError):
            return [path for path in (self.root / name).iterdir() if path.name.isdecimal()]
        return []

    def exists(self, name: str) -> bool:
        """Whether a slice has a directory."""
        return (self.root / name).is_dir()

    def is_deleting(self, name: str) -> bool:
        """Whether a slice's deletion has begun."""
        return (self.root / name / DELETING_FILE).exists()

    def mark_deleting(self, name: str) -> None:
        """Write down that a slice is to go, before anything of it does."""
        if not self.is_deleting(name):
            write_atomic(self.root / name / DELETING_FILE, b"")

    def remove(self, name: str) -> None:
        """Remove a slice's files. Nothing of it may be running."""
        with suppress(FileNotFoundError):
            (self.root / name).rename(self.root / f"{GONE_PREFIX}{name}")
        # All of them: also those of removals that died here.
        for gone in self.root.glob(f"{GONE_PREFIX}*"):
            shutil.rmtree(gone, ignore_errors=True)
        shutil.rmtree(self._fresh(name), ignore_errors=True)
        self._lock_file(name).unlink(missing_ok=True)
        sync_dir(self.root)

    def _fresh(self, name: str) -> Path:
        return self.root / f".new-{name}"

    def _lock_file(self, name: str) -> Path:
        return self.root / f".lock-{name}"


def _write_record(path: Path, record: SliceRecord) -> None:
    value = {
        **spec_to_json(record.spec),
        "zone": record.zone,
        "created_at_ms": record.created_at_ms,
        "started_at_ms": record.started_at_ms,
    }
    write_json(path, value)


def _decode(path: Path, value: object) -> SliceRecord:
    fields = Fields(str(path), value)
    spec = spec_from_json(fields)
    if spec.name != path.parent.name:
        raise CorruptSlice(f"{path}: name: expected {path.parent.name}, found {spec.name}")
    return SliceRecord(
        spec, fields.text("zone"), fields.number("created_at_ms"), fields.number("started_at_ms")
    )
