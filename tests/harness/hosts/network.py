"""The lab's bridge and the hosts' cables: interfaces, addresses, and packets that vanish."""

from __future__ import annotations

import ctypes
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.harness.hosts.commands import COMMAND_S, call, run

LABS = 200
# A host may take over another's address; notice it soon. host.sh does the same.
NEIGHBOURS = {
    "base_reachable_time_ms": "500",
    "retrans_time_ms": "50",
    "delay_first_probe_time": "0",
    "ucast_solicit": "1",
}
# CLONE_NEWNET, from <sched.h>.
NETWORK = 0x40000000
TABLE = "iris_cut"
# Where packets come in at one end of the cable: what the other end sent is lost on
# the way. Neighbours stay known, as they are to a router far away, or the kernel
# would soon say "no route to host".
CUT = """\
table netdev {table} {{
    chain cut {{
        type filter hook ingress device "{device}" priority 0; policy accept;
        ether type {{ ip, ip6 }} drop
    }}
}}
"""
# The same for one sender and one port.
BLOCK_TABLE = "iris_block"
BLOCK = """\
table netdev {table} {{
    chain block {{
        type filter hook ingress device "eth0" priority 0; policy accept;
        ip saddr {address} tcp dport {port} drop
    }}
}}
"""


class Bridge:
    """The switch that a lab's hosts are plugged into; the lab itself has address .1 on it."""

    def __init__(self) -> None:
        self._index = self._claim()
        self.name = f"lab{self._index}"
        self.network = f"10.77.{self._index}"
        self.address = f"{self.network}.1"
        call(["ip", "address", "add", f"{self.address}/24", "dev", self.name])
        call(["ip", "link", "set", self.name, "up"])
        for setting, value in NEIGHBOURS.items():
            Path(f"/proc/sys/net/ipv4/neigh/{self.name}/{setting}").write_text(value)

    @staticmethod
    def _claim() -> int:
        """The first number that no other lab of this sealed run has; the kernel decides races."""
        for index in range(LABS):
            add = ["ip", "link", "add", f"lab{index}", "type", "bridge", "forward_delay", "0"]
            done = run(add, None, COMMAND_S)
            if done.returncode == 0:
                return index
            assert b"File exists" in done.stderr, done.stderr.decode()
        raise AssertionError(f"{LABS} labs at once")

    def remove(self) -> None:
        """Takes the bridge away; the cables go with their hosts."""
        call(["ip", "link", "delete", self.name])


class Cable:
    """A host's network namespace for one boot, with `eth0` in it, and its end on the bridge."""

    def __init__(self, bridge: Bridge, number: int, boot: int) -> None:
        self.end = f"l{bridge.name[3:]}h{number}b{boot}"
        self.netns = self.end
        call(["ip", "netns", "add", self.netns])
        # The same card at every boot, as neighbours remember it.
        card = f"02:00:00:{int(bridge.name[3:]):02x}:00:{number:02x}"
        plug = f"link add {self.end} type veth peer name eth0 address {card} netns {self.netns}\n"
        call(["ip", "-batch", "-"], f"{plug}link set {self.end} master {bridge.name} up\n")
        self._plugged, self._cut = True, False

    def unplug(self) -> None:
        """From now on nothing that the host sends arrives, not even the end of a connection."""
        call(["ip", "link", "delete", self.end])
        self._plugged = False

    def remove(self) -> None:
        """Forgets the namespace and every socket in it; its processes are dead."""
        self._mend_our_side()
        # Deleting a namespace takes a while, and would keep the interface's name for as long.
        if self._plugged:
            self.unplug()
        call(["ip", "netns", "delete", self.netns])

    def inside(self, *argv: str, stdin: str = "") -> str:
        """Runs a program of this machine in the host's network."""
        return call(["nsenter", f"--net=/run/netns/{self.netns}", *argv], stdin)

    def cut(self, *, incoming: bool, outgoing: bool) -> None:
        """Drops packets in silence: nobody gets an error, not even the host itself."""
        self.heal()
        if incoming:
            self.inside("nft", "-f", "-", stdin=CUT.format(table=TABLE, device="eth0"))
        if outgoing:
            call(["nft", "-f", "-"], CUT.format(table=f"{TABLE}_{self.end}", device=self.end))
            self._cut = True

    def block(self, address: str, port: int) -> None:
        """A firewall in front of it: what `address` sends to a TCP port of it vanishes."""
        self.inside("nft", "-f", "-", stdin=BLOCK.format(table=BLOCK_TABLE, address=address, port=port))

    def heal(self) -> None:
        """Lets packets through again."""
        tables = self.inside("nft", "list", "tables").splitlines()
        for table in (TABLE, BLOCK_TABLE):
            if f"table netdev {table}" in tables:
                self.inside("nft", "delete", "table", "netdev", table)
        self._mend_our_side()

    def _mend_our_side(self) -> None:
        if self._cut:
            call(["nft", "delete", "table", "netdev", f"{TABLE}_{self.end}"])
            self._cut = False

    def set_address(self, old: str, new: str) -> None:
        """Gives `eth0` another address, for everybody to find out."""
        self.inside("ip", "address", "delete", old, "dev", "eth0")
        self.inside("ip", "address", "add", new, "dev", "eth0")


def listen_in(netns: str, address: str, port: int) -> socket.socket:
    """A listening socket of this process in another network namespace, where it stays."""

    def there() -> socket.socket:
        libc = ctypes.CDLL(None, use_errno=True)
        handle = os.open(f"/run/netns/{netns}", os.O_RDONLY)
        try:
            if libc.setns(handle, NETWORK) != 0:
                raise OSError(ctypes.get_errno(), f"cannot enter the network of {netns}")
        finally:
            os.close(handle)
        return socket.create_server((address, port), backlog=64)

    # A namespace is a thread's own, and ends with it.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(there).result()
