"""What is known of slices of manual hosts, apart from the hosts themselves.

    DIR/NAME.json    a slice: its specification and which hosts it has
    DIR/known.json   hosts that were looked at since this directory was made

The truth about a host is on the host; these files say which hosts a slice was
given, also while one of them cannot be reached, and which deletions go on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from iris_platform import file_lock
from iris_platform.base import SliceSpec, Unreachable
from iris_platform.files import make_private_dir
from iris_platform.names import parse_slice_name
from iris_platform.slice_json import (
    CorruptSlice,
    Fields,
    read_json,
    spec_from_json,
    spec_to_json,
    write_json,
)

KNOWN_FILE = "known.json"
LOCK_FILE = ".lock"
LOCK_S = 10.0


@dataclass(frozen=True)
class ManualSlice:
    """A slice and its hosts, in order of their index.

    `clean` are those from which it was removed. `deleting_since_ms` is 0 until
    its deletion began. An abandoned one runs nowhere any more, although a host
    could not be cleaned. `boot_ids` are those of its hosts when they were given
    to it; none where that is not known. Times are wall clock, milliseconds.
    """

    spec: SliceSpec
    zone: str
    hosts: tuple[str, ...]
    created_at_ms: int
    deleting_since_ms: int = 0
    clean: frozenset[str] = frozenset()
    is_abandoned: bool = False
    boot_ids: tuple[str, ...] = ()

    @property
    def unclean(self) -> tuple[str, ...]:
        """The hosts that still have something of it."""
        return tuple(host for host in self.hosts if host not in self.clean)


def slice_to_json(record: ManualSlice) -> dict[str, object]:
    """A slice as it is written down, here and on its hosts."""
    return {
        **spec_to_json(record.spec),
        "zone": record.zone,
        "on": list(record.hosts),
        "created_at_ms": record.created_at_ms,
        "deleting_since_ms": record.deleting_since_ms,
        "clean": sorted(record.clean),
        "abandoned": int(record.is_abandoned),
        "boot_ids": list(record.boot_ids),
    }


def slice_from_json(source: str, value: object) -> ManualSlice:
    """The slice that `slice_to_json` wrote; `source` names it in messages.

    Raises:
        CorruptSlice: a field is missing or of another type.
    """
    fields = Fields(source, value)
    record = ManualSlice(
        spec=spec_from_json(fields),
        zone=fields.text("zone"),
        hosts=tuple(fields.texts("on")),
        created_at_ms=fields.number("created_at_ms"),
        deleting_since_ms=fields.number("deleting_since_ms"),
        clean=frozenset(fields.texts("clean")),
        is_abandoned=fields.number("abandoned") > 0,
        # An earlier release did not write them.
        boot_ids=tuple(fields.texts("boot_ids")) if fields.has("boot_ids") else (),
    )
    if len(record.boot_ids) not in (0, len(record.hosts)):
        raise CorruptSlice(f"{source}: boot_ids: expected none, or one for each host")
    if len(record.hosts) != record.spec.hosts:
        raise CorruptSlice(f"{source}: on: expected {record.spec.hosts} hosts")
    return record


class Records:
    """The slices of one cluster's manual hosts, on this machine's disk."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @contextmanager
    def lock(self, name: str = "") -> Iterator[None]:
        """Keep others, in this process or another, from one slice, or from giving hosts away.

        Raises:
            Unreachable: another call has been at it for too long.
        """
        make_private_dir(self._directory)
        try:
            with file_lock.hold(self._directory / f"{LOCK_FILE}{name}", LOCK_S):
                yield
        except TimeoutError as error:
            what = f"slice {name}" if name else "the hosts"
            raise Unreachable(f"{what}: another call is at work: {error}") from error

    def all(self) -> list[ManualSlice]:
        """Every slice, by name.

        Raises:
            Unreachable: a file cannot be read or understood.
        """
        try:
            names = sorted(path.stem for path in self._directory.glob("iris-*.json"))
        except OSError as error:
            raise Unreachable(f"{self._directory}: cannot list: {error.strerror}") from error
        found = (self.read(name) for name in names if parse_slice_name(name) is not None)
        return [record for record in found if record is not None]

    def read(self, name: str) -> ManualSlice | None:
        """One slice; None where there is none.

        Raises:
            Unreachable: its file cannot be read or understood.
        """
        path = self._path(name)
        value = _read(path)
        if value is None:
            return None
        record = slice_from_json(str(path), value)
        if record.spec.name != name:
            raise CorruptSlice(f"{path}: name: expected {name}, found {record.spec.name}")
        return record

    def write(self, record: ManualSlice) -> None:
        """Write a slice down; when this returns it would survive a power cut."""
        make_private_dir(self._directory)
        write_json(self._path(record.spec.name), slice_to_json(record))

    def note_clean(self, name: str, hosts: Iterable[str]) -> None:
        """Some hosts have nothing of a slice any more; with the last of them it is forgotten."""
        record = self.read(name)
        if record is None:
            return
        record = replace(record, clean=record.clean | set(hosts))
        if record.unclean:
            self.write(record)
        else:
            self._path(name).unlink(missing_ok=True)
            (self._directory / f"{LOCK_FILE}{name}").unlink(missing_ok=True)

    def note_abandoned(self, name: str) -> None:
        """Nothing of a slice runs any more, and some of its hosts are still to be cleaned."""
        record = self.read(name)
        if record is not None and not record.is_abandoned:
            self.write(replace(record, is_abandoned=True))

    def known(self) -> frozenset[str]:
        """Hosts of which these files say all there is."""
        value = _read(self._directory / KNOWN_FILE)
        return frozenset(Fields(KNOWN_FILE, value).texts("hosts")) if value is not None else frozenset()

    def note_known(self, hosts: Iterable[str]) -> None:
        """Some hosts were looked at, and what was there is in these files."""
        known = self.known()
        if more := set(hosts) - known:
            make_private_dir(self._directory)
            write_json(self._directory / KNOWN_FILE, {"hosts": sorted(known | more)})

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}.json"


def _read(path: Path) -> object:
    """What a file holds; None where there is none."""
    try:
        return read_json(path)
    except FileNotFoundError:
        return None
