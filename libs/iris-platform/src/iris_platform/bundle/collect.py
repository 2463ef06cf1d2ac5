"""Gathers the wheels of a bundle: ours from what is installed, others through pip.

Knows no host. What pip fetched is kept in `$XDG_CACHE_HOME/iris/wheels`; once it
is there, no network is needed. The versions are those that this installation
runs with itself, so that a bundle holds what was tested together.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache as cache_of_calls
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from iris_platform import file_lock
from iris_platform.bundle import tags
from iris_platform.bundle.siblings import is_installed, pack_installed
from iris_platform.bundle.wheels import (
    BundleError,
    Wheel,
    applies,
    environment,
    oldest_python,
    read_wheel,
    wheel_name,
)
from iris_platform.files import make_private_dir
from iris_platform.paths import base_directory

PROGRAMS = ("iris-bootstrap", "iris-controller")
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
MACHINES = ("x86_64", "aarch64")
# Ubuntu 20.04 and Debian 11; every distribution with Python 3.10 has a later one.
OLDEST_GLIBC_MINOR = 31
PIP_S = 300.0
LOCK_S = 900.0
_NO_NETWORK = re.compile(r"NewConnectionError|NameResolutionError|ConnectTimeoutError|ProxyError")
# A closure that has not ended by then goes round in circles.
_ROUNDS = 20


def wheel_cache(environ: Mapping[str, str] | None = None) -> Path:
    """`$XDG_CACHE_HOME/iris/wheels`, by default below `~/.cache`."""
    return base_directory("XDG_CACHE_HOME", ".cache", environ) / "iris" / "wheels"


def once_online() -> str:
    """What to do where wheels are missing."""
    return f"this machine needs the internet once, for wheels, which it then keeps in {wheel_cache()}"


def missing_wheels(programs: Sequence[str], python: str, machine: str, cache: Path | None = None) -> str:
    """What would have to be fetched first for a bundle, in words; empty where all is here. Changes nothing."""
    try:
        with TemporaryDirectory(prefix="iris-wheels-") as directory:
            shop = _Shop(cache or wheel_cache(), Path(directory), None, fetches=False)
            _closure(shop, programs, int(python.partition(".")[2]), machine)
    except BundleError as error:
        return str(error)
    except OSError as error:
        return f"{error.filename}: {error.strerror}"
    return ""


def collect_wheels(
    out_dir: Path,
    programs: Sequence[str] = PROGRAMS,
    pythons: Sequence[str] = PYTHONS,
    machines: Sequence[str] = MACHINES,
    constraints: Path | None = None,
    cache: Path | None = None,
) -> list[Path]:
    """The wheels of `programs` and of all that they need, for each Python and machine.

    Ours are written to `out_dir`, others stay in `cache` (default: `wheel_cache()`).
    `constraints` is a file as pip takes it, whose versions come before those that
    are installed here. A program is
    left out for a Python that it does not run on.

    Raises:
        BundleError: a wheel cannot be had; says which, for which Python.
    """
    cache = cache or wheel_cache()
    make_private_dir(cache)
    make_private_dir(out_dir)
    shop = _Shop(cache, out_dir, constraints)
    found: dict[str, Path] = {}
    try:
        with file_lock.hold(cache / ".lock", LOCK_S):
            for python in pythons:
                for machine in machines:
                    for wheel in _closure(shop, programs, int(python.partition(".")[2]), machine):
                        found[wheel.path.name] = wheel.path
    except TimeoutError as error:
        raise BundleError(f"somebody else is collecting wheels: {error}") from error
    except OSError as error:
        raise BundleError(f"{error.filename or cache}: {error.strerror}") from error
    return [found[name] for name in sorted(found)]


def _closure(shop: _Shop, programs: Iterable[str], minor: int, machine: str) -> list[Wheel]:
    markers = environment(minor, machine)
    chosen: dict[str, Wheel] = {}
    extras: dict[str, set[str]] = {}
    wanted = [Requirement(program) for program in programs if shop.runs_on(program, minor)]
    for _ in range(_ROUNDS):
        new = [r for r in wanted if _is_news(r, chosen, extras)]
        if not new:
            return list(chosen.values())
        missing = {str(name): r for r in new if (name := canonicalize_name(r.name)) not in chosen}
        chosen |= shop.get(missing, minor, machine)
        for requirement in new:
            extras.setdefault(canonicalize_name(requirement.name), set()).update(requirement.extras)
        wanted = [
            requirement
            for name, wheel in chosen.items()
            for requirement in wheel.requires
            if applies(requirement, extras[name], markers)
        ]
    raise BundleError(f"what {', '.join(programs)} need for Python 3.{minor} does not come to an end")


def _is_news(requirement: Requirement, chosen: Collection[str], extras: Mapping[str, set[str]]) -> bool:
    name = canonicalize_name(requirement.name)
    return name not in chosen or not requirement.extras <= extras[name]


class _Shop:
    """Where wheels come from: packed here, kept from last time, or fetched."""

    def __init__(self, cache: Path, out_dir: Path, constraints: Path | None, *, fetches: bool = True) -> None:
        self._fetches = fetches
        self._cache = cache
        self._out_dir = out_dir
        self._pins = _read_constraints(constraints) if constraints else []
        self._ours: dict[str, Wheel] = {}
        # Several Pythons share most of them.
        self._read = cache_of_calls(read_wheel)
        # By the distribution in their names; what they say is read only of those that are wanted.
        self._kept: dict[str, list[Path]] = {}
        for path in sorted(cache.glob("*.whl")):
            self._kept.setdefault(canonicalize_name(path.name.partition("-")[0]), []).append(path)

    def runs_on(self, program: str, minor: int) -> bool:
        if not is_installed(program):
            return True  # pip will tell
        accepted = metadata.metadata(program).json.get("requires_python", "")
        return minor >= oldest_python(str(accepted))[1]

    def get(self, wanted: Mapping[str, Requirement], minor: int, machine: str) -> dict[str, Wheel]:
        found: dict[str, Wheel] = {}
        missing: dict[str, Requirement] = {}
        for name, requirement in wanted.items():
            if name.startswith("iris-") and is_installed(name):
                found[name] = self._own(name)
                continue
            pinned = self._pinned(requirement, minor, machine)
            kept = self._look_up(name, pinned, minor, machine)
            if kept is not None:
                found[name] = kept
            else:
                missing[name] = pinned
        if missing:
            found |= self._fetch(missing, minor, machine)
        return found

    def _own(self, name: str) -> Wheel:
        if name not in self._ours:
            self._ours[name] = read_wheel(pack_installed(name, self._out_dir))
        return self._ours[name]

    def _pinned(self, requirement: Requirement, minor: int, machine: str) -> Requirement:
        """The version that is given, else the one that runs here, where it suits; else any that does."""
        markers = environment(minor, machine)
        for pin in self._pins:
            if canonicalize_name(pin.name) == canonicalize_name(requirement.name) and applies(
                pin, [], markers
            ):
                return Requirement(f"{requirement.name}{pin.specifier}")
        try:
            facts = metadata.metadata(requirement.name).json
        except metadata.PackageNotFoundError:
            return requirement
        version, accepted = str(facts["version"]), str(facts.get("requires_python", ""))
        if version not in requirement.specifier or oldest_python(accepted)[1] > minor:
            return requirement
        return Requirement(f"{requirement.name}=={version}")

    def _look_up(self, name: str, wanted: Requirement, minor: int, machine: str) -> Wheel | None:
        """The newest wheel that was fetched before and suits."""
        host = tags.Host((3, minor), f"cp3{minor}", machine, ("manylinux", 2, OLDEST_GLIBC_MINOR))
        fitting = [
            (tags.version_key(str(version)), max(ranks), path.name, path)
            for path in self._kept.get(name, ())
            for _, version, _, found in [wheel_name(path)]
            if version in wanted.specifier
            and (ranks := [rank for tag in found if (rank := tags.fit(str(tag), host)) is not None])
        ]
        newest_first = (self._read(one[3]) for one in sorted(fitting, reverse=True))
        return next((wheel for wheel in newest_first if wheel.python <= (3, minor)), None)

    def _fetch(self, wanted: Mapping[str, Requirement], minor: int, machine: str) -> dict[str, Wheel]:
        if not self._fetches:
            raise BundleError(
                f"wheels of {', '.join(sorted(wanted))} and perhaps others for Python 3.{minor} on {machine}"
                " are not here yet"
            )
        with TemporaryDirectory(dir=self._cache, prefix=".fetch-") as folder:
            self._download([_text(r) for r in wanted.values()], Path(folder), minor, machine)
            fetched = {}
            for path in sorted(Path(folder).glob("*.whl")):
                # Only what can be read gets into the cache.
                wheel = replace(read_wheel(path), path=self._cache / path.name)
                os.replace(path, wheel.path)
                fetched[wheel.name] = wheel
                self._kept.setdefault(wheel.name, []).append(wheel.path)
        absent = sorted(wanted.keys() - fetched.keys())
        if absent:
            raise BundleError(
                f"pip fetched no wheel of {', '.join(absent)} for Python 3.{minor} on {machine}"
            )
        return fetched

    def _download(self, wanted: Sequence[str], folder: Path, minor: int, machine: str) -> None:
        argv = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download"]
        argv += ["--quiet", "--no-deps", "--only-binary", ":all:", "--dest", str(folder)]
        argv += ["--implementation", "cp", "--python-version", f"3.{minor}"]
        argv += [word for tag in _platforms(machine) for word in ("--platform", tag)]
        what = f"for Python 3.{minor} on {machine}"
        try:
            done = subprocess.run(
                [*argv, *wanted],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=PIP_S,
            )
        except subprocess.TimeoutExpired as error:
            words = f"pip did not fetch {', '.join(wanted)} {what} within {PIP_S:g} s: is the network slow?"
            raise BundleError(words) from error
        if done.returncode:
            raise BundleError(_why(done.stdout, wanted, what))


def _why(output: str, wanted: Sequence[str], what: str) -> str:
    if "No module named pip" in output:
        return f"fetching wheels needs pip beside iris: install iris-platform[bundle] in {sys.prefix}"
    missing = re.findall(r"No matching distribution found for (\S+)", output)
    wheels = f"there is no wheel of {', '.join(missing or wanted)} {what}"
    if _NO_NETWORK.search(output):
        return f"{wheels}, and the package index cannot be reached; {once_online()}"
    # It warns of each of its tries, and says in the end what is wrong.
    errors = [line.partition("ERROR: ")[2] for line in output.splitlines() if line.startswith("ERROR: ")]
    return f"{wheels}; pip says: {errors[-1] if errors else 'nothing'}"


def _read_constraints(path: Path) -> list[Requirement]:
    """The pins of a constraints file; pip would judge their markers for itself, not for the target."""
    lines = (line.partition(" #")[0].strip() for line in path.read_text().splitlines())
    try:
        return [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]
    except InvalidRequirement as error:
        raise BundleError(f"{path}: {error}") from error


def _text(requirement: Requirement) -> str:
    # Markers were judged for the target; pip would judge them for itself.
    return f"{requirement.name}{requirement.specifier}"


def _platforms(machine: str) -> list[str]:
    names = [f"manylinux_2_{minor}_{machine}" for minor in range(OLDEST_GLIBC_MINOR, 4, -1)]
    return [*names, *(f"{old}_{machine}" for old in ("manylinux2014", "manylinux2010", "manylinux1"))]
