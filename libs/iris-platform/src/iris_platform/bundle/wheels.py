"""What a wheel says of itself. Knows nothing of bundles or of where wheels come from.

The file's name and its metadata: https://packaging.python.org/specifications/binary-distribution-format/
"""

from __future__ import annotations

import email
import hashlib
import zipfile
from collections.abc import Iterable, Mapping
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.tags import Tag
from packaging.utils import BuildTag, InvalidWheelFilename, NormalizedName, parse_wheel_filename
from packaging.version import Version


class BundleError(Exception):
    """There is no bundle; the message says which wheel is missing or unusable, and what to do."""


class EntryPoint(NamedTuple):
    """A console script: `name = module:function`."""

    name: str
    module: str
    function: str


@dataclass(frozen=True)
class Wheel:
    """One wheel file. `python` is the oldest (major, minor) it accepts; `unpacked` counts bytes."""

    path: Path
    name: str
    version: str
    tags: tuple[str, ...]
    sha256: str
    unpacked: int
    files: int
    python: tuple[int, int]
    requires: tuple[Requirement, ...]
    programs: tuple[EntryPoint, ...]


def read_wheel(path: Path) -> Wheel:
    """A wheel by its file.

    Raises:
        BundleError: it is no wheel, or cannot be read.
    """
    name, version, _, tags = wheel_name(path)
    try:
        with zipfile.ZipFile(path) as packed:
            metadata, entry_points = _read_metadata(packed)
            entries = packed.infolist()
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        requires = tuple(Requirement(text) for text in metadata.get_all("Requires-Dist", ()))
    except (OSError, KeyError, zipfile.BadZipFile, InvalidRequirement, UnicodeDecodeError) as error:
        raise BundleError(f"{path}: not a usable wheel: {error}") from error
    return Wheel(
        path=path,
        name=name,
        version=str(version),
        tags=tuple(sorted(map(str, tags))),
        sha256=digest,
        unpacked=sum(entry.file_size for entry in entries),
        files=len(entries),
        python=oldest_python(metadata.get("Requires-Python", "")),
        requires=requires,
        programs=tuple(read_entry_points(entry_points)),
    )


def wheel_name(path: Path) -> tuple[NormalizedName, Version, BuildTag, frozenset[Tag]]:
    """What the name of a wheel's file says: distribution, version, build, tags.

    Raises:
        BundleError: it is not the name of a wheel.
    """
    try:
        return parse_wheel_filename(path.name)
    except InvalidWheelFilename as error:
        raise BundleError(f"{path}: not the name of a wheel") from error


def _read_metadata(packed: zipfile.ZipFile) -> tuple[email.message.Message, str]:
    names = packed.namelist()
    (name,) = [n for n in names if n.endswith(".dist-info/METADATA") and n.count("/") == 1] or [""]
    if not name:
        raise KeyError("no METADATA")
    scripts = name.replace("METADATA", "entry_points.txt")
    text = packed.read(scripts).decode("utf-8") if scripts in names else ""
    return email.message_from_bytes(packed.read(name)), text


def read_entry_points(text: str) -> Iterable[EntryPoint]:
    """The console scripts of an `entry_points.txt`."""
    parser = ConfigParser(delimiters=("=",), interpolation=None)
    # Names of programs are case-sensitive; configparser's own way to say so is this assignment.
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    for name, target in parser["console_scripts"].items() if "console_scripts" in parser else ():
        module, _, function = target.partition(":")
        yield EntryPoint(name, module.strip(), function.split("[")[0].strip())


def oldest_python(specifier: str) -> tuple[int, int]:
    """The oldest Python 3 that a `Requires-Python` lets in, as (3, minor)."""
    known = SpecifierSet(specifier)
    # Patch releases do not matter here: hosts have late ones.
    return next(((3, minor) for minor in range(100) if f"3.{minor}.99" in known), (3, 0))


def environment(minor: int, machine: str) -> dict[str, str]:
    """The values of environment markers for CPython 3.`minor` on Linux (PEP 508)."""
    return {
        "implementation_name": "cpython",
        "implementation_version": f"3.{minor}.99",
        "os_name": "posix",
        "platform_machine": machine,
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": f"3.{minor}.99",
        "python_version": f"3.{minor}",
        "sys_platform": "linux",
    }


def applies(requirement: Requirement, extras: Iterable[str], markers: Mapping[str, str]) -> bool:
    """Whether a requirement counts there, for a distribution that is wanted with `extras`."""
    marker = requirement.marker
    return marker is None or any(marker.evaluate({**markers, "extra": extra}) for extra in ("", *extras))
