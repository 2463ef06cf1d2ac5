"""What the bench asks of the machine, and the words for what is missing."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

# The launcher sets it for what runs inside; the absence of a way out proves it.
SEALED = "IRIS_HOSTS_SEALED"
OUTSIDE = ("192.0.2.1", 9)  # RFC 5737: nobody's address

SSHD = "/usr/sbin/sshd"
FROM_PACKAGES = {
    "ip": "iproute2",
    "nft": "nftables",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "tini-static": "tini",
    "unshare": "util-linux",
}


class BenchLacks(Exception):
    """This machine cannot do it; a test that needs it is skipped with these words."""


def programs_missing() -> str | None:
    """Why no host can be made on this machine, or None."""
    if os.geteuid() != 0:
        return "hosts need root"
    packages = {package for program, package in FROM_PACKAGES.items() if not shutil.which(program)}
    if not Path(SSHD).exists():
        packages.add("openssh-server")
    if packages:
        return f"hosts need the packages {' '.join(sorted(packages))}"
    return None


def lacking() -> str | None:
    """Why no host can be made in this process, or None."""
    if why := programs_missing():
        return why
    if SEALED not in os.environ or not no_way_out():
        return "hosts are made in sealed namespaces: ./dev test -e hosts"
    return None


def no_way_out() -> bool:
    """Whether this network namespace has no route to anywhere else; sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(OUTSIDE)
        except OSError:
            return True
    return False
