"""Base trees of hosts: what a bare Debian machine has, built once and kept in the user's cache.

Knows debootstrap and where trees are kept; nothing of hosts. Building takes the
network, so it happens before the tests are sealed in.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.harness.hosts.commands import call, run
from tests.harness.hosts.needs import BenchLacks

MACHINE = "machine"
# Debian's name of a release -> the Python that comes with it.
BARE = {"bookworm": "3.11", "trixie": "3.13"}
BUILD_S = 300.0
# What failed in the launcher, for those who skip: base -> reason, as JSON.
WHY_NOT = "IRIS_HOSTS_NO_BASE"

# In memory, since dpkg waits for the disk after every file; then without what is
# of no use to a host, and what hosts make for themselves.
RECIPE = """\
set -eu
mount -t tmpfs -o mode=755 tmpfs "$3"
debootstrap --force-check-gpg --variant=minbase --include=python3,openssh-server "$1" "$3" ${4:+"$4"} >&2
rm -rf "$3"/dev/* "$3"/var/cache/apt/* "$3"/var/lib/apt/lists/* "$3"/usr/share/doc/* "$3"/usr/share/locale/*
rm -f "$3"/etc/ssh/ssh_host_*
mkdir "$2"
cp -a "$3"/. "$2"
"""


def cache() -> Path:
    """Where trees are kept between runs."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "iris-test-hosts"


def tree(base: str) -> Path:
    """The directory of a base tree, there or not; another recipe means another tree."""
    return cache() / f"{base}-{hashlib.sha256(RECIPE.encode()).hexdigest()[:10]}"


def find(base: str) -> Path:
    """The root of a base tree; BenchLacks if this machine has none and why."""
    if base == MACHINE:
        return Path("/")
    assert base in BARE, f"no base {base!r}; there are: {', '.join([MACHINE, *BARE])}"
    if not tree(base).is_dir():
        why = json.loads(os.environ.get(WHY_NOT, "{}")).get(base, "never built")
        raise BenchLacks(f"no bare {base} to copy: {why}")
    return tree(base)


def missing() -> list[str]:
    """The bare trees that are not there yet."""
    return [base for base in BARE if not tree(base).is_dir()]


def build_missing() -> dict[str, str]:
    """Builds the trees that are not there yet, at the same time; those that could not be, with the reason."""
    if not missing():
        return {}
    with _lock(), ThreadPoolExecutor(len(BARE)) as pool:
        wanted = missing()
        return {base: why for base, why in zip(wanted, pool.map(_build, wanted), strict=True) if why}


def _build(base: str) -> str | None:
    """Builds one tree, or says why not."""
    if not shutil.which("debootstrap"):
        return "debootstrap is not installed"
    half, scratch = cache() / f"{base}.half", cache() / f"{base}.scratch"
    for old in (half, *cache().glob(f"{base}-*")):
        shutil.rmtree(old, ignore_errors=True)
    scratch.mkdir(exist_ok=True)
    apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]
    words = ["sh", "-c", RECIPE, "recipe", base, str(half), str(scratch), *_mirror()]
    try:
        done = run([*apart, *words], None, BUILD_S)
    except subprocess.TimeoutExpired:
        return f"debootstrap took more than {BUILD_S:g} s"
    finally:
        scratch.rmdir()
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["nothing said"]
        return f"debootstrap failed: {said[-1]}"
    half.rename(tree(base))
    return None


def _mirror() -> list[str]:
    """Where this machine gets Debian from, if it does; else debootstrap knows one."""
    if not shutil.which("apt-get"):
        return []
    targets = ["apt-get", "indextargets", "--format", "$(ORIGIN) $(COMPONENT) $(REPO_URI)"]
    lines = call([*targets, "Created-By: Packages"]).splitlines()
    places = [line.split()[2] for line in lines if line.startswith("Debian main ")]
    return [place for place in places if "security" not in place][:1]


@contextmanager
def _lock() -> Iterator[None]:
    """One builder at a time; the lock goes with the process."""
    cache().mkdir(parents=True, exist_ok=True)
    handle = os.open(cache(), os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
