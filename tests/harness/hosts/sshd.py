"""`sshd` of a host and its keys."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

from tests.harness.cluster import wait_until
from tests.harness.hosts.commands import call
from tests.harness.hosts.machine import Machine
from tests.harness.hosts.needs import SSHD

PORT = 22
BANNER_S = 0.5
LISTENS = "Server listening"
# Every connection and session of a test with many clients at once gets in.
CONFIG = """\
Port {port}
AddressFamily inet
HostKey /run/lab/host_key
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
PidFile none
Subsystem sftp internal-sftp
MaxSessions 200
MaxStartups 400:30:800
PrintMotd no
PrintLastLog no
LogLevel VERBOSE
{more}
"""


def make_key(path: Path, comment: str) -> str:
    """Makes a key pair, 0600, without a passphrase; the public line."""
    path.unlink(missing_ok=True)
    call(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)])
    return path.with_suffix(".pub").read_text().strip()


class Sshd:
    """The daemon on one machine."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.host_key = make_key(machine.settings / "host_key", machine.build.name)
        self.write_config()

    def write_config(self, more: str = "") -> None:
        """Settings for the next start or reload."""
        (self._machine.settings / "sshd_config").write_text(CONFIG.format(port=PORT, more=more))

    def new_host_key(self) -> None:
        """Makes another host key, for the next start or reload."""
        self.host_key = make_key(self._machine.settings / "host_key", self._machine.build.name)

    def answers(self) -> bool:
        """Whether a connection gets the banner."""
        # Asking for an address before it is there makes the kernel ask again only a second later.
        if LISTENS not in self._machine.console_of_boot:
            return False
        try:
            with socket.create_connection((self._machine.address, PORT), BANNER_S) as peer:
                return peer.recv(4) == b"SSH-"
        except OSError:
            return False

    @property
    def listener(self) -> int:
        """The pid here of the daemon itself."""
        first = self._machine.first_process
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        found = [int(pid) for pid in children if is_sshd(int(pid)) and b"-D" in _words(int(pid))]
        assert found, f"no sshd on {self._machine.build.name}"
        return found[0]

    def reload(self) -> None:
        """Makes it read its settings and keys again; sessions go on."""
        said = self._machine.console.count(LISTENS)
        os.kill(self.listener, signal.SIGHUP)
        wait_until(lambda: self._machine.console.count(LISTENS) > said and self.answers())


def is_sshd(pid: int) -> bool:
    """Whether it is the daemon or what it started for a connection; true if it has ended."""
    try:
        return Path(os.readlink(f"/proc/{pid}/exe")).name.startswith("sshd")
    except OSError:
        return True


def _words(pid: int) -> list[bytes]:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    # It rewrites its own title: "sshd: /usr/sbin/sshd -D -e ... [listener]".
    return [part for word in words for part in word.split()] if SSHD.encode() in b" ".join(words) else []
