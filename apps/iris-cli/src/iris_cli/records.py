"""Which clusters were started from this machine, and where each keeps its files.

One JSON file under the user's state directory. It names no secret and decides
nothing: losing it only means that state directories other than the default
have to be named again.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from iris_cli.exits import FAILED, CliError
from iris_cli.rehearsal import is_rehearsal
from iris_platform.files import make_private_dir, write_atomic
from iris_platform.paths import state_home

# The dot keeps it apart from clusters' directories beside it: no name has one.
FILE_NAME = "clusters.json"


@dataclass(frozen=True)
class Record:
    """A cluster that was started: its configuration file and its places.

    `zones` are those of the last start, so that one that was dropped from the
    file since is still stopped.
    """

    name: str
    config: str
    state_dir: str
    pki_dir: str
    zones: tuple[str, ...]


@dataclass(frozen=True)
class Records:
    """All records, and the name of the cluster that was started last."""

    clusters: Mapping[str, Record]
    last: str | None

    def of_config(self, path: Path, *, rehearsal: bool = False) -> Record | None:
        """The cluster that was started from a configuration file, or its rehearsal."""
        found = [
            record
            for record in self.clusters.values()
            if record.config == str(path) and is_rehearsal(record.name) == rehearsal
        ]
        return found[-1] if found else None


def records_file() -> Path:
    """Where the records are."""
    return state_home() / "iris" / FILE_NAME


def read_records() -> Records:
    """The records; empty where none was ever written.

    Raises:
        CliError: the file is there but cannot be used.
    """
    path = records_file()
    try:
        value = json.loads(path.read_bytes())
        clusters = {name: _record(name, fields) for name, fields in value["clusters"].items()}
        last = value.get("last")
    except FileNotFoundError:
        return Records({}, None)
    except OSError as error:
        raise CliError(
            FAILED, f"{path}: cannot read which clusters were started: {error.strerror}"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CliError(
            FAILED,
            f"{path}: cannot read which clusters were started: {error}",
            hint="remove that file; --config, --state-dir and --pki-dir then say where they are",
        ) from error
    return Records(clusters, last if last in clusters else None)


def remember(record: Record) -> None:
    """Record a cluster as the one that was started last.

    Raises:
        CliError: the file cannot be written.
    """
    _change(lambda records: Records({**records.clusters, record.name: record}, record.name))


def forget_record(name: str) -> None:
    """No cluster of this name was ever started from here.

    Raises:
        CliError: the file cannot be written.
    """

    def without(records: Records) -> Records:
        others = {other: record for other, record in records.clusters.items() if other != name}
        return Records(others, None if records.last == name else records.last)

    _change(without)


def _change(change: Callable[[Records], Records]) -> None:
    path = records_file()
    try:
        make_private_dir(path.parent)
        with _locked(path.with_suffix(".lock")):
            records = change(read_records())
            clusters = {name: _fields(entry) for name, entry in records.clusters.items()}
            value = {"last": records.last, "clusters": clusters}
            write_atomic(path, json.dumps(value, indent=2).encode() + b"\n")
    except OSError as error:
        raise CliError(FAILED, f"{path}: cannot record the cluster: {error.strerror}") from error


def _fields(record: Record) -> dict[str, Any]:
    fields = asdict(record)
    del fields["name"]
    return fields


def _record(name: str, fields: Mapping[str, Any]) -> Record:
    config, state_dir, pki_dir = (fields[key] for key in ("config", "state_dir", "pki_dir"))
    zones = tuple(fields["zones"])
    if not all(isinstance(text, str) for text in (config, state_dir, pki_dir, *zones)):
        raise ValueError(f"the record of {name} is damaged")
    return Record(name, config, state_dir, pki_dir, zones)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Two starts at once: neither loses the other's record."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
