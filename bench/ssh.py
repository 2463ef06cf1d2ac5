"""`ssh` to this machine over one connection that is reused, for benchmark 3.

With an `sshd` of its own and keys of its own; the machine's are left alone.
"""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.measure import PeerMissing
from tests.harness.ports import free_port

SETUP_S = 10.0
SYSTEM_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin"


@contextmanager
def reused_connection(home: Path) -> Iterator[Callable[[Sequence[str]], bytes]]:
    """A way to run a command over a connection that is open; gives what it printed.

    Raises:
        PeerMissing: there is no `ssh` or `sshd` here, or they do not come together.
    """
    programs = [shutil.which(name, path=SYSTEM_PATH) for name in ("ssh", "sshd", "ssh-keygen")]
    if not all(programs):
        raise PeerMissing("this machine has no ssh, sshd or ssh-keygen")
    ssh, sshd, keygen = map(str, programs)
    home.mkdir()
    key = home / "key"
    _run(keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(key))
    port = free_port()
    reused = [ssh, "-F", "/dev/null", "-S", str(home / "master")]
    there = ["-p", str(port), "-l", getpass.getuser(), "127.0.0.1"]

    def run(command: Sequence[str]) -> bytes:
        words = [*reused, *there, *command]
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=SETUP_S
        )
        return done.stdout

    with _server(sshd, key, port, home / "sshd.log"):
        options = {
            "BatchMode": "yes",
            "ConnectionAttempts": "5",
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": str(home / "known"),
        }
        # In the background once it is connected.
        _run(*reused, "-M", "-N", "-f", "-i", str(key), *_as_options(options), *there)
        try:
            yield run
        finally:
            _run(*reused, "-O", "exit", *there)


@contextmanager
def _server(sshd: str, key: Path, port: int, log: Path) -> Iterator[None]:
    settings = {
        "ListenAddress": "127.0.0.1",
        "Port": str(port),
        "HostKey": str(key),
        "AuthorizedKeysFile": f"{key}.pub",
        "StrictModes": "no",
        "PidFile": "none",
        # The login shell is part of ssh; what its owner's start-up files do is not.
        "SetEnv": "HOME=/",
    }
    command = [sshd, "-D", "-e", "-f", "/dev/null", *_as_options(settings)]
    with log.open("wb") as errors, subprocess.Popen(command, stderr=errors) as process:
        try:
            yield
        except PeerMissing as error:
            raise PeerMissing(f"{error}; sshd says: {log.read_text(errors='replace').strip()}") from error
        finally:
            process.terminate()


def _as_options(settings: Mapping[str, str]) -> list[str]:
    return [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]


def _run(*command: str) -> None:
    # Not captured: a master in the background would hold the pipes open.
    try:
        subprocess.run(
            command,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=SETUP_S,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise PeerMissing(f"{Path(command[0]).name} failed: {error}") from error
