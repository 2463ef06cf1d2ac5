"""Hosts for benchmark 6: real `sshd`, bare, and some way off.

Runs sealed. A host is reached at a loopback address of this machine's, through one process
that delays and counts (`programs/wire.py`); its agent dials this machine without a delay.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.by_hand import ByHandCluster
from bench.companion import Companion
from bench.sealed import ROOT
from iris_platform.bundle import Shelf
from tests.harness.cluster import LocalCluster
from tests.harness.hosts import Host, Lab
from tests.harness.ports import free_port

RTT_S = 0.020
# The product's own bound, and everybody else's.
PARALLEL = 32
HOST_CPU = 2
SSH_PORT = 22
# Where those who do it by hand put it on a host.
BUNDLE_THERE = "/var/tmp/iris-bundle"
# A host is a few processes, which start with a fork of this one.
BOOTS_AT_ONCE = 4

CONFIG = """\
name: bench
controller: {{ advertise_address: "{address}:{port}" }}
autoscaler: {{ max_creates_per_minute: 1000 }}
scale_groups:
  boxes:
    provider:
      manual: {{ hosts: [{hosts}], ssh_key_file: {key} }}
    host_resources: {{ cpu: {cpu} }}
    slice_size: {slice_size}
    idle_timeout: 1h
    boot_timeout: 10m
ssh: {{ config_file: /nonexistent, max_parallel: {parallel} }}
"""
# Where hosts come back through the connections of SSH.
ADVERTISED = CONFIG.splitlines()[1]


@dataclass(frozen=True)
class Bundle:
    """What is uploaded to every host."""

    sha256: str
    path: Path


def bundle_for(host: Host, scratch: Path) -> Bundle:
    """The bundle for a host's own Python."""
    asked = "import sys; print('%d.%d' % sys.version_info[:2])"
    python = host.output("python3", "-c", asked).strip()
    made = Shelf(scratch / "bundles").bundle_for(python, platform.machine())
    return Bundle(made.sha256, made.path)


class Fleet:
    """So many hosts. `addresses` are where this machine finds them, one each."""

    def __init__(self, lab: Lab, hosts: Sequence[Host], wire: Companion, bundle: Bundle) -> None:
        self.lab = lab
        self.hosts = hosts
        self.bundle = bundle
        self.addresses = [f"127.1.0.{number}" for number in range(1, len(hosts) + 1)]
        self._wire = wire
        wire.ask([(near, host.address, SSH_PORT) for near, host in zip(self.addresses, hosts, strict=True)])

    def reset(self) -> None:
        """Every host as if it had just been installed."""
        # One after the other: each has to see the end of all that ran there.
        for host in self.hosts:
            host.kill()
        with ThreadPoolExecutor(BOOTS_AT_ONCE) as pool:
            for _ in pool.map(lambda host: host.boot(fresh_disk=True), self.hosts):
                pass

    def count(self) -> list[Mapping[str, int]]:
        """What went over the wire since the last time, for each host."""
        counts: list[Mapping[str, int]] = self._wire.ask("")
        return counts

    def cluster(self, home: Path, slice_size: int, *, forwards: bool = False) -> LocalCluster:
        """A cluster of the product's, not started; its agents dial us, or come back through SSH."""
        home.mkdir()
        cluster = LocalCluster(home, name="bench")
        text = CONFIG.replace(f"{ADVERTISED}\n", "") if forwards else CONFIG
        cluster.config.write_text(
            text.format(
                address=self.lab.address,
                port=free_port("0.0.0.0", together=2),
                hosts=", ".join(self.addresses),
                key=self.lab.user_key,
                cpu=HOST_CPU,
                slice_size=slice_size,
                parallel=PARALLEL,
            )
        )
        return cluster

    def by_hand(self, home: Path, count: int) -> ByHandCluster:
        """A cluster whose hosts are for others to start: the first `count` ones, a slice each."""
        home.mkdir()
        bundle = f"{self.bundle.sha256} {BUNDLE_THERE}"
        address = self.lab.address
        return ByHandCluster(home, hosts=count, cpu=HOST_CPU, address=address, bundle=bundle)


@contextmanager
def fleet(size: int, scratch: Path) -> Iterator[Fleet]:
    """Hosts with a fresh disk each, and the bundle for their Python.

    Raises:
        BenchLacks: they cannot be had here.
    """
    with ExitStack() as stack:
        lab = stack.enter_context(Lab())
        hosts = lab.hosts(size)
        made = bundle_for(hosts[0], scratch)
        environ = {"PYTHONPATH": str(ROOT)}
        wire = stack.enter_context(Companion("wire", str(RTT_S), home=scratch, environ=environ))
        yield Fleet(lab, hosts, wire, made)
