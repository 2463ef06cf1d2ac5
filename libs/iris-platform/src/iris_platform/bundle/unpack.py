"""Unpacks one wheel of a bundle on a host. Standard library only: it travels inside bundles.

Knows nothing of which wheels are wanted. The format:
https://packaging.python.org/specifications/binary-distribution-format/
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import zipfile
from pathlib import Path, PurePosixPath

from iris_platform.bundle.tags import Wheel

# The caller's next move: mend the host, or give it another bundle.
HOST_TROUBLE, REFUSED = 3, 2


class InstallError(Exception):
    """Nothing was installed; `status` is the exit status that says whose move it is."""

    def __init__(self, reason: str, status: int = HOST_TROUBLE) -> None:
        super().__init__(reason)
        self.status = status


def unpack(bundle: zipfile.ZipFile, wheel: Wheel, site: Path, work: Path) -> None:
    """One wheel, every file of it checked against the wheel's own record.

    Scripts and headers of a wheel are left out: nobody runs them here.
    """
    data = bundle.read(f"wheels/{wheel['file']}")
    if hashlib.sha256(data).hexdigest() != wheel["sha256"]:
        raise InstallError(f"{wheel['file']}: damaged in the bundle", REFUSED)
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        record = read_record(packed, wheel["file"])
        for entry in packed.infolist():
            if entry.is_dir():
                continue
            content = packed.read(entry)
            name = entry.filename
            if name not in record:
                if name.rpartition("/")[2] in ("RECORD", "RECORD.jws", "RECORD.p7s"):
                    continue
                raise InstallError(f"{wheel['file']}: {name} is not in its RECORD", REFUSED)
            method, _, expected = record.pop(name).partition("=")
            if method not in ("sha256", "sha384", "sha512") or _encoded(method, content) != expected:
                raise InstallError(f"{wheel['file']}: {name} is not what its RECORD says", REFUSED)
            place = _place(name, site, work)
            if place is not None:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)
        if record:
            raise InstallError(f"{wheel['file']}: {min(record)} of its RECORD is missing", REFUSED)


def read_record(packed: zipfile.ZipFile, file: str) -> dict[str, str]:
    """The digests of a wheel's files, by name."""
    (name,) = [n for n in packed.namelist() if n.endswith(".dist-info/RECORD") and n.count("/") == 1] or [""]
    if not name:
        raise InstallError(f"{file}: no RECORD", REFUSED)
    rows = csv.reader(io.StringIO(packed.read(name).decode("utf-8")))
    return {row[0]: row[1] for row in rows if len(row) >= 2 and row[1]}


def _encoded(method: str, content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.new(method, content).digest()).rstrip(b"=").decode("ascii")


def _place(name: str, site: Path, work: Path) -> Path | None:
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or name.startswith("/"):
        raise InstallError(f"{name!r}: leads out of the bundle", REFUSED)
    if not parts[0].endswith(".data") or len(parts) < 3:
        return site.joinpath(*parts)
    if parts[1] in ("purelib", "platlib"):
        return site.joinpath(*parts[2:])
    return work.joinpath(*parts[2:]) if parts[1] == "data" else None
