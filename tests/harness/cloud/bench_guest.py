"""What Google's guest agent and its virtual hardware do on a machine, done to a host of the bench.

Disks that outlive the machine are sparse files behind loop devices; people who
may log in are users with the keys that the metadata value `ssh-keys` has for them.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from tests.harness.cloud.machines import Disk, Vm
from tests.harness.hosts import Host
from tests.harness.hosts.commands import call

LOOP_MAJOR = 7
# However large a disk is said to be: its blocks are in memory.
MOST_OF_A_DISK = 512 << 20
GIB = 1 << 30
SSH_KEYS = "ssh-keys"
ATTACH = """\
set -eu
device=/dev/$1
[ -b "$device" ] || mknod "$device" b "$2" "$3"
mkdir -p /dev/disk/by-id
ln -sf "../../$1" "/dev/disk/by-id/google-$4"
"""
# $1: the user; the keys come on standard input.
LET_IN = """\
set -eu
id "$1" >/dev/null 2>&1 || useradd --create-home --password '*' --shell /bin/bash "$1"
getent group google-sudoers >/dev/null || groupadd --system google-sudoers
usermod -aG google-sudoers "$1"
home=$(getent passwd "$1" | cut -d: -f6)
install -d -m 700 -o "$1" "$home/.ssh"
cat >"$home/.ssh/authorized_keys"
chown "$1" "$home/.ssh/authorized_keys"
chmod 600 "$home/.ssh/authorized_keys"
"""
# The arguments are those who are still let in.
LET_OUT = """\
set -eu
for user in $(getent group google-sudoers | cut -d: -f4 | tr , ' '); do
  case " $* " in
    *" $user "*) ;;
    *) : >"$(getent passwd "$user" | cut -d: -f6)/.ssh/authorized_keys" ;;
  esac
done
"""
# Where there is no sudo: the same words lead to a program that may become root, for that
# group alone.
SUDO = """\
set -eu
if [ -x /usr/bin/sudo ]; then
  printf '%%google-sudoers ALL=(ALL:ALL) NOPASSWD:ALL\n' >/etc/sudoers.d/google_sudoers
  exit 0
fi
[ -e /usr/local/bin/sudo ] && exit 0
install -d /usr/local/lib/lab /usr/local/bin
install -m 4750 -g google-sudoers "$(command -v setpriv)" /usr/local/lib/lab/become
cat >/usr/local/bin/sudo <<'END'
#!/bin/sh
while [ $# -gt 0 ]; do
  case $1 in
    -n) shift ;;
    --) shift; break ;;
    *) break ;;
  esac
done
export HOME=/root USER=root LOGNAME=root
exec /usr/local/lib/lab/become --reuid=0 --regid=0 --init-groups -- "$@"
END
chmod 755 /usr/local/bin/sudo
"""


class BenchDisks:
    """Files in a directory, by the disks' full names; a loop device each while they are attached."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._open: dict[str, int] = {}

    def attach(self, host: Host, disks: tuple[Disk, ...]) -> None:
        """Makes them the host's sdb, sdc and so on, by the names that Google gives them."""
        for number, disk in enumerate(disks):
            handle = self._open.get(disk.name)
            if handle is None:
                handle = self._open[disk.name] = self._loop(disk)
            minor = str(os.minor(os.fstat(handle).st_rdev))
            letter = "bcdefghij"[number]
            words = [f"sd{letter}", str(LOOP_MAJOR), minor, disk.device]
            host.output("sh", "-c", ATTACH, "attach", *words)

    def _loop(self, disk: Disk) -> int:
        """An open loop device, which is nobody's as soon as it is closed, however we end."""
        self._directory.mkdir(parents=True, exist_ok=True)
        file = self._file(disk.name)
        if not file.exists():
            with file.open("wb") as made:
                made.truncate(min(disk.size_gb * GIB, MOST_OF_A_DISK))
        device = call(["losetup", "--find", "--show", str(file)]).strip()
        handle = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
        # While it is open, that is a promise for later.
        call(["losetup", "--detach", device])
        return handle

    def detach(self, disks: tuple[Disk, ...]) -> None:
        """The machine that had them has no power."""
        for disk in disks:
            handle = self._open.pop(disk.name, None)
            if handle is not None:
                os.close(handle)

    def forget(self, name: str) -> None:
        """What was on it is lost."""
        self._file(name).unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        return self._directory / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.img"


def let_in(host: Host, vm: Vm) -> None:
    """Makes the users that the metadata names, with their keys and the right to become root.

    Who is no longer named stays, without keys.
    """
    keys: dict[str, list[str]] = {}
    for line in vm.attributes.get(SSH_KEYS, "").splitlines():
        user, colon, key = line.strip().partition(":")
        if colon:
            keys.setdefault(user, []).append(key)
    for user, lines in keys.items():
        done = host.run(["sh", "-c", LET_IN, "let-in", user], "".join(f"{line}\n" for line in lines).encode())
        assert done.returncode == 0, done.stderr.decode(errors="replace")
    if keys:
        host.output("sh", "-c", SUDO)
    host.output("sh", "-c", LET_OUT, "let-out", *keys)
