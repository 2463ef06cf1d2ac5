"""Which wheels fit which host. Standard library only: it travels inside bundles.

https://packaging.python.org/specifications/platform-compatibility-tags/
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

_LEGACY = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}
_LIBC = re.compile(r"(manylinux|musllinux)_(\d+)_(\d+)_(\w+)")

# A wheel as the manifest describes it.
Wheel = Mapping[str, Any]


class Host(NamedTuple):
    """What decides which wheels fit. `libc` is (manylinux or musllinux, major, minor)."""

    python: tuple[int, int]
    abi: str
    machine: str
    libc: tuple[str, int, int]

    @classmethod
    def here(cls) -> Host:
        """The running interpreter."""
        version = sys.version_info[:2]
        # `t`: a build without the global lock, which needs wheels of its own.
        abi = f"cp{version[0]}{version[1]}{'t' if 't' in getattr(sys, 'abiflags', '') else ''}"
        return cls(version, abi, platform.machine(), _libc())

    def __str__(self) -> str:
        kind, major, minor = self.libc
        libc = "glibc" if kind == "manylinux" else "musl"
        return f"{self.abi} on {self.machine} with {libc} {major}.{minor}"


def choose(wheels: Iterable[Wheel], host: Host) -> list[Wheel]:
    """The best wheel of every distribution that has one for this host, by name."""
    best: dict[str, tuple[tuple[Any, ...], Wheel]] = {}
    for wheel in wheels:
        ranks = [rank for tag in wheel["tags"] if (rank := fit(tag, host)) is not None]
        if not ranks or list(host.python) < wheel["python"]:
            continue
        key = (version_key(wheel["version"]), max(ranks), wheel["file"])
        if wheel["name"] not in best or key > best[wheel["name"]][0]:
            best[wheel["name"]] = (key, wheel)
    return [best[name][1] for name in sorted(best)]


def fit(tag: str, host: Host) -> tuple[int, int, int] | None:
    """How well a tag such as `cp310-cp310-manylinux_2_17_x86_64` suits; None: not at all."""
    python, abi, where = tag.split("-")
    specific = _fit_platform(where, host)
    match = re.fullmatch(r"(cp|py)(\d)(\d*)", python)
    if specific is None or match is None or int(match[2]) != host.python[0]:
        return None
    minor = int(match[3]) if match[3] else 0
    exact = minor == host.python[1]
    if abi == host.abi and match[1] == "cp" and exact:
        return (3, minor, specific)
    if abi == "abi3" and match[1] == "cp" and minor <= host.python[1] and not host.abi.endswith("t"):
        return (2, minor, specific)
    if abi == "none" and (minor <= host.python[1] if match[1] == "py" else exact):
        return (1, minor, specific)
    return None


def _fit_platform(where: str, host: Host) -> int | None:
    if where == "any":
        return 0
    for alias, (major, minor) in _LEGACY.items():
        if where.startswith(f"{alias}_"):
            where = f"manylinux_{major}_{minor}_{where[len(alias) + 1 :]}"
    if where == f"linux_{host.machine}":
        return 1
    match = _LIBC.fullmatch(where)
    if match is None or match[4] != host.machine or match[1] != host.libc[0]:
        return None
    needs = (int(match[2]), int(match[3]))
    return 1000 * needs[0] + needs[1] if needs <= host.libc[1:] else None


def version_key(text: str) -> tuple[int, ...]:
    """Good enough to tell releases apart: the numbers of the release, in order."""
    return tuple(int(number) for number in re.findall(r"\d+", text.partition("+")[0]))


def _libc() -> tuple[str, int, int]:
    with suppress(ValueError, OSError):
        # "glibc 2.36"; other libraries do not know the name.
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
        if name == "glibc":
            major, minor = version.split(".")[:2]
            return ("manylinux", int(major), int(minor))
    return ("musllinux", 1, 2)
