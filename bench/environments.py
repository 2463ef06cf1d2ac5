"""Environments for peers: made by venv and pip below a cache directory, never in the project's."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from bench.measure import PeerMissing

INSTALL_S = 600.0

# Newest at the time of writing; older figures are of older releases.
RAY_RELEASE = "ray==2.60.0"
DASK_RELEASE = "distributed==2026.8.0"
ASYNCSSH_RELEASE = "asyncssh==2.24.1"
HYPERQUEUE_RELEASE = "hyperqueue==0.27.0"


class Environments:
    """One environment for each set of requirements; deleting the directory forgets them."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache

    def allow(self) -> None:
        """Peers are welcome."""

    def environment(self, name: str, *requirements: str) -> Path:
        """The directory of the peer's executables, `python` among them.

        Raises:
            PeerMissing: it cannot be made.
        """
        what = "\0".join([sys.version, *requirements]).encode()
        place = self._cache / f"{name}-{hashlib.sha256(what).hexdigest()[:10]}"
        binaries, stamp = place / "bin", place / "complete"
        if not stamp.exists():
            shutil.rmtree(place, ignore_errors=True)
            place.parent.mkdir(parents=True, exist_ok=True)
            _run(sys.executable, "-m", "venv", str(place))
            # Not the project's pins: they would bend the peer.
            _run(str(binaries / "python"), "-m", "pip", "install", "--quiet", *requirements)
            stamp.touch()
        return binaries


class NoEnvironments:
    """For runs without peers."""

    def allow(self) -> None:
        """They are not.

        Raises:
            PeerMissing: always.
        """
        raise PeerMissing("this run is without peers")

    def environment(self, name: str, *requirements: str) -> Path:
        """None.

        Raises:
            PeerMissing: always.
        """
        raise PeerMissing("this run is without peers")


def default_cache() -> Path:
    """`$XDG_CACHE_HOME/iris-bench`, by default `~/.cache/iris-bench`."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if home else Path.home() / ".cache") / "iris-bench"


def _run(*command: str) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.endswith("_CONSTRAINT")}
    try:
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=INSTALL_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerMissing(str(error)) from error
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines() or [f"exit status {done.returncode}"]
        raise PeerMissing(f"{' '.join(command[1:4])}: {words[-1]}")
