"""The wheels of Iris's own packages, made again out of what is installed here.

Needs neither a build tool nor a network: a wheel is a zip of the files that an
installation has on disk anyway, with its metadata. An editable installation has
its files in the source tree that its `.pth` file names. Manual pages, shell
completion and scripts stay behind: no host needs them.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path, PurePosixPath

from packaging.utils import canonicalize_name

from iris_platform.bundle.wheels import BundleError
from iris_platform.zips import make_zip

_KEPT_METADATA = ("METADATA", "WHEEL", "entry_points.txt", "top_level.txt")


def is_installed(name: str) -> bool:
    """Whether a distribution is installed beside this one."""
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def pack_installed(name: str, out_dir: Path) -> Path:
    """The wheel of an installed pure-Python distribution; the same files, the same bytes.

    Raises:
        BundleError: it is not installed, or its files are not where it says.
    """
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError as error:
        raise BundleError(f"{name} is not installed beside iris: install it there") from error
    stem = f"{canonicalize_name(name).replace('-', '_')}-{found.version}"
    try:
        members = dict(_modules(found)) | dict(_metadata(found, f"{stem}.dist-info"))
    except OSError as error:
        raise BundleError(f"{name}: {error.filename}: cannot read: {error.strerror}") from error
    if not any(member.endswith(".py") for member in members):
        raise BundleError(f"{name}: its modules are nowhere to be found; install it again")
    members[f"{stem}.dist-info/RECORD"] = _record(members, stem)
    path = out_dir / f"{stem}-py3-none-any.whl"
    path.write_bytes(make_zip(members))
    return path


def _modules(found: metadata.Distribution) -> Iterator[tuple[str, bytes]]:
    for file in found.files or ():
        parts = PurePosixPath(str(file)).parts
        if file.suffix == ".pth":
            # An editable installation: a line for each directory with packages.
            for line in file.read_text().splitlines():
                yield from _tree(Path(line.strip()))
        elif parts[0] not in ("..", "/") and not parts[0].endswith(".dist-info") and _counts(parts):
            yield str(file), Path(str(file.locate())).read_bytes()


def _tree(source: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(source.rglob("*")):
        parts = path.relative_to(source).parts
        if path.is_file() and len(parts) > 1 and _counts(parts):
            yield "/".join(parts), path.read_bytes()


def _counts(parts: tuple[str, ...]) -> bool:
    return "__pycache__" not in parts and not any(part.startswith(".") for part in parts)


def _metadata(found: metadata.Distribution, folder: str) -> Iterator[tuple[str, bytes]]:
    for name in _KEPT_METADATA:
        if (text := found.read_text(name)) is not None:
            yield f"{folder}/{name}", text.encode("utf-8")


def _record(members: dict[str, bytes], stem: str) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for name in sorted(members):
        digest = base64.urlsafe_b64encode(hashlib.sha256(members[name]).digest()).rstrip(b"=")
        writer.writerow([name, f"sha256={digest.decode('ascii')}", len(members[name])])
    writer.writerow([f"{stem}.dist-info/RECORD", "", ""])
    return out.getvalue().encode("utf-8")
