"""Unpacks a bundle on a host: standard library only, Python 3.10 or later.

It travels inside the bundle (`python3 -I -S BUNDLE install --root DIR`) with
`tags.py` and `unpack.py`, and imports nothing else of Iris. What it makes,
`DIR/bundles/<sha256>/`, has the shape of a virtual environment: `bin/python3`
leads to the running interpreter, and `pyvenv.cfg` beside it keeps that from
looking at the host's own packages. The directory appears whole, by one rename,
or not at all.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import fcntl
import hashlib
import json
import os
import platform
import re
import select
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from iris_platform.bundle.tags import Host, Wheel, choose
from iris_platform.bundle.unpack import REFUSED, InstallError, unpack

MANIFEST = "manifest.json"
INSTALLED = "installed.json"
KEPT_BUNDLES = 2
LOCK_S = 300.0
# Compiles what it loads.
CHECK_S = 180.0
# Compiled modules take about as much again as their sources.
UNPACKED_FACTOR = 2
SPARE_BYTES = 16 * 1024 * 1024


def install(archive: Path, root: Path, program: str, keep: Sequence[str] = ()) -> Path:
    """Install what `program` and its siblings need; a finished install is not touched.

    `keep` names further bundles that are in use.

    Returns:
        The bundle's directory.

    Raises:
        InstallError: with the reason, and nothing half-done left behind.
    """
    sha = digest(archive)
    house = root / "bundles"
    try:
        house.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(house / ".lock", LOCK_S):
            target = house / sha
            if not is_finished(target, program):
                clean(house)
                _install(archive, target, program)
            prune(house, {sha, *keep})
            return target
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InstallError(f"the disk is full at {house}: make room and start again") from error
        raise InstallError(f"{error.filename or house}: {error.strerror or error}") from error


def is_finished(target: Path, program: str) -> bool:
    """Whether it is there, for this very interpreter, with `program`."""
    try:
        found = json.loads((target / INSTALLED).read_bytes())
    except (OSError, ValueError):
        return False
    return found.get("python") == _interpreter() and program in found.get("programs", ())


def _install(archive: Path, target: Path, program: str) -> None:
    with zipfile.ZipFile(archive) as bundle:
        manifest = json.loads(bundle.read(MANIFEST))
        host = Host.here()
        check_python(manifest, program, host)
        wheels = choose(manifest["wheels"], host)
        check_needs(manifest, program, wheels, host)
        check_room(target.parent, wheels)
        work = target.parent / f".{target.name}.{os.getpid()}.tmp"
        try:
            site = make_environment(work)
            for wheel in wheels:
                unpack(bundle, wheel, site, work)
            programs = [
                name
                for name in make_launchers(manifest, wheels, work, host)
                # One that does not work here is in nobody's way but its own.
                if check_imports(manifest, name, work, required=name == program)
            ]
            note = {"python": _interpreter(), "programs": programs, "wheels": [w["file"] for w in wheels]}
            (work / INSTALLED).write_text(json.dumps(note, indent=1) + "\n")
            sync(work)
            remove_tree(target)
            os.rename(work, target)
        except BaseException:
            remove_tree(work)
            raise
    sync(target.parent)


def digest(archive: Path) -> str:
    """The sha256 of a file, which is a bundle's name."""
    sha = hashlib.sha256()
    try:
        with archive.open("rb") as file:
            while part := file.read(1 << 20):
                sha.update(part)
    except OSError as error:
        raise InstallError(f"{archive}: cannot read the bundle: {error.strerror}", REFUSED) from error
    return sha.hexdigest()


# Which wheels.


def check_python(manifest: Mapping[str, Any], program: str, host: Host) -> None:
    known = manifest["programs"].get(program)
    if known is None:
        there = ", ".join(sorted(manifest["programs"]))
        raise InstallError(f"the bundle has no {program}; it has: {there}", REFUSED)
    if list(host.python) < known["python"]:
        found, least = ".".join(map(str, host.python)), ".".join(map(str, known["python"]))
        raise InstallError(f"python3 {found} is too old: {program} needs {least} or later", REFUSED)


def check_needs(manifest: Mapping[str, Any], program: str, wheels: Iterable[Wheel], host: Host) -> None:
    needs = manifest["programs"][program]["needs"]
    known = [minor for minor in sorted(map(int, needs)) if minor <= host.python[1]]
    # A Python newer than the bundle needs at least what the newest known one does.
    wanted = set(needs[str(known[-1])]) if known else set()
    missing = sorted(wanted - {wheel["name"] for wheel in wheels})
    if missing:
        raise InstallError(f"the bundle has no wheel of {', '.join(missing)} for {host}", REFUSED)


def check_room(where: Path, wheels: Sequence[Wheel]) -> None:
    needed = SPARE_BYTES + UNPACKED_FACTOR * sum(wheel["unpacked"] for wheel in wheels)
    disk = os.statvfs(where)
    free = disk.f_bavail * disk.f_frsize
    if free < needed:
        raise InstallError(
            f"not enough room at {where}: {needed >> 20} MiB are needed, {free >> 20} MiB are free"
        )
    files = UNPACKED_FACTOR * sum(wheel["files"] for wheel in wheels)
    if disk.f_files and disk.f_favail < files:
        raise InstallError(f"not enough room at {where}: {files} inodes are needed, {disk.f_favail} are free")


# What is made.


def make_environment(work: Path) -> Path:
    """An environment without packages, as `python3 -m venv --without-pip` makes; returns where they go."""
    site = work / "lib" / "python{}.{}".format(*sys.version_info[:2]) / "site-packages"
    site.mkdir(parents=True, mode=0o755)
    (work / "bin").mkdir(mode=0o755)
    base = _base_executable()
    (work / "pyvenv.cfg").write_text(
        f"home = {os.path.dirname(base)}\ninclude-system-site-packages = false\n"
        f"version = {platform.python_version()}\n"
    )
    os.symlink(base, work / "bin" / "python3")
    return site


# Finds its interpreter beside itself, so that no path stands in shell text. To
# the shell the second line is `:`, to Python a string.
_LAUNCHER = '''#!/bin/sh
""":"
exec "$(dirname -- "$(readlink -f -- "$0")")/python3" -I "$0" "$@"
":"""
import sys
from {module} import {function}
sys.exit({function}())
'''


def make_launchers(manifest: Mapping[str, Any], wheels: Iterable[Wheel], work: Path, host: Host) -> list[str]:
    """`bin/PROGRAM` for every program that can run here; returns their names."""
    there = {wheel["name"] for wheel in wheels}
    made = []
    for name, program in sorted(manifest["programs"].items()):
        if program["distribution"] not in there or list(host.python) < program["python"]:
            continue
        path = work / "bin" / name
        path.write_text(_LAUNCHER.format(module=program["module"], function=program["function"]))
        path.chmod(0o755)
        made.append(name)
    return made


def check_imports(manifest: Mapping[str, Any], name: str, work: Path, required: bool) -> bool:
    """Whether a program can load what it will need: not so where the C library is too old.

    What it loads is compiled on the way and stays so, such that no start has to; the rest,
    which is several times as much, when somebody asks for it.

    Raises:
        InstallError: it cannot, and is `required`.
    """
    modules = manifest["programs"][name]["checks"]
    load = "import sys, importlib\nfor name in sys.argv[1:]: importlib.import_module(name)"
    status, output = run([str(work / "bin" / "python3"), "-I", "-c", load, *modules], CHECK_S)
    if status == 0:
        return True
    if required:
        why = (output.strip().splitlines() or [f"exit status {status}"])[-1][-500:]
        raise InstallError(f"{name} cannot run on {Host.here()}: {why}", REFUSED)
    (work / "bin" / name).unlink()
    return False


def run(argv: Sequence[str], timeout_s: float) -> tuple[int, str]:
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
        )
    except subprocess.TimeoutExpired as error:
        raise InstallError(f"the new installation did not answer within {timeout_s:g} s") from error
    return done.returncode, done.stdout.decode("utf-8", "replace")


# The house.


def clean(house: Path) -> None:
    """Remove what installs that were killed left behind; call with the lock held."""
    for path in house.glob(".*.tmp"):
        remove_tree(path)


def prune(house: Path, keep: set[str]) -> None:
    """Remove all bundles but the newest two and those in use."""
    found = [path for path in house.iterdir() if re.fullmatch(r"[0-9a-f]{64}", path.name)]
    found.sort(key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True)
    # What is in use counts among the two.
    found.sort(key=lambda path: path.name not in keep)
    for path in found[KEPT_BUNDLES:]:
        if path.name not in keep:
            remove_tree(path)


def remove_tree(path: Path) -> None:
    """Take a directory away in such a way that no reader takes the rest for whole."""
    if not path.is_dir():
        return
    doomed = path
    if not path.name.startswith("."):
        doomed = path.with_name(f".{path.name}.{os.getpid()}.old.tmp")
        os.rename(path, doomed)
    shutil.rmtree(doomed)


def sync(path: Path) -> None:
    """Make everything on the file system of `path` durable, and nothing else's."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # Not in `os`; one call instead of thousands of fsyncs.
        if ctypes.CDLL(None).syncfs(fd) != 0:
            os.sync()
    except AttributeError:
        os.sync()
    finally:
        os.close(fd)


@contextmanager
def locked(path: Path, timeout_s: float) -> Iterator[None]:
    """Hold a lock file; it goes with the process."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + timeout_s
    try:
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise InstallError(f"another installation has held {path} for {timeout_s:g} s") from None
                # Nobody announces the end of a lock.
                select.select([], [], [], 0.05)
        yield
    finally:
        os.close(fd)


def _base_executable() -> str:
    # Under a virtual environment the real one; and no link that an upgrade turns elsewhere.
    return os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable)


def _interpreter() -> str:
    return f"{_base_executable()} {platform.python_version()}"


def main(argv: Sequence[str] | None = None) -> int:
    """`install --root DIR --program NAME [--keep SHA256]…`: one JSON object on stdout."""
    parser = argparse.ArgumentParser(prog="BUNDLE", description="install this bundle of Iris")
    parser.add_argument("command", choices=["install", "manifest"])
    parser.add_argument("--root", type=Path)
    parser.add_argument("--program", default="iris-bootstrap")
    parser.add_argument("--keep", action="append", default=[])
    options = parser.parse_args(argv)
    archive = Path(os.path.abspath(sys.argv[0]))
    if options.command == "manifest":
        with zipfile.ZipFile(archive) as bundle:
            sys.stdout.write(bundle.read(MANIFEST).decode("utf-8"))
        return 0
    if options.root is None:
        parser.error("install needs --root")
    os.umask(0o022)
    try:
        where = install(archive, options.root.absolute(), options.program, options.keep)
    except InstallError as error:
        sys.stdout.write(json.dumps({"status": "failed", "reason": str(error)}) + "\n")
        return error.status
    sys.stdout.write(json.dumps({"status": "installed", "path": str(where)}) + "\n")
    return 0
