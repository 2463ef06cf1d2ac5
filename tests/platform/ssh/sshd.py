"""A real OpenSSH server on loopback, with keys, HOME and log of its own.

It has no sftp subsystem, as many do not: whatever works here works without.
"""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from iris_platform import processes
from iris_platform.ssh.target import SshTarget
from tests.harness.ports import free_port

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
# Where sshd separates privileges; a package makes it at boot, so it may be absent.
PRIVILEGE_DIR = Path("/run/sshd")
START_TIMEOUT_S = 20.0

CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
SetEnv HOME={folder}/home
PidFile none
StrictModes no
UsePAM no
UseDNS no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 200
MaxSessions 200
LogLevel VERBOSE
"""


def make_key(path: Path, passphrase: str = "", kind: str = "ed25519", form: tuple[str, ...] = ()) -> Path:
    command: list[str | Path] = [
        "ssh-keygen",
        "-q",
        "-t",
        kind,
        "-N",
        passphrase,
        "-C",
        path.name,
        *form,
        "-f",
        path,
    ]
    subprocess.run(command, check=True, timeout=60)
    return path


class Sshd:
    """One server. `extra` are lines of sshd_config in front of the others, so that they win."""

    def __init__(self, folder: Path, extra: str = "") -> None:
        folder.mkdir()
        (folder / "home").mkdir()
        self.folder = folder
        self.port = free_port()
        self.key = make_key(folder / "user_key")
        make_key(folder / "host_key")
        self.authorize(self.key)
        (folder / "sshd_config").write_text(extra + CONFIG.format(port=self.port, folder=folder))
        self._process: subprocess.Popen[bytes] | None = None

    def authorize(self, key: Path) -> None:
        with (self.folder / "authorized_keys").open("a") as file:
            file.write(Path(f"{key}.pub").read_text())

    def start(self) -> None:
        assert SSHD is not None
        if os.geteuid() == 0:
            PRIVILEGE_DIR.mkdir(mode=0o755, exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [SSHD, "-D", "-e", "-f", self.folder / "sshd_config"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        assert processes.wait_until(self._answers, START_TIMEOUT_S), self.log()

    def _answers(self) -> bool:
        assert self._process is not None and self._process.poll() is None, self.log()
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as sock:
                return sock.recv(4) == b"SSH-"
        except OSError:
            return False

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def connections(self) -> list[int]:
        """The processes behind every connection, those of its commands included."""
        return [] if self._process is None else processes.descendants(self._process.pid)

    def signal_connections(self, number: int) -> None:
        for pid in self.connections():
            started = processes.start_time(pid)
            if started is not None:
                processes.send_signal(pid, started, number)

    def kill_connections(self) -> None:
        self.signal_connections(signal.SIGKILL)

    def stop(self) -> None:
        if self._process is None:
            return
        self.signal_connections(signal.SIGCONT)
        self.kill_connections()
        self._process.kill()
        self._process.wait(30)
        self._process = None

    def new_host_key(self) -> None:
        """Let it be another machine from now on."""
        self.stop()
        for name in ("host_key", "host_key.pub"):
            (self.folder / name).unlink()
        make_key(self.folder / "host_key")
        self.start()

    @property
    def target(self) -> SshTarget:
        return SshTarget("127.0.0.1", self.port, getpass.getuser(), str(self.key))
