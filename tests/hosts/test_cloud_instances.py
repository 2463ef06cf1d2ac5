"""Compute Engine's instances on the bench: a disk that outlives them, people who log in, names."""

from __future__ import annotations

import subprocess
from collections.abc import Generator

import pytest

from tests.cloud.clients import ZONE
from tests.cloud.test_compute import DISKS, INSTANCES, Engine
from tests.harness.cloud import CloudServer
from tests.harness.cloud.bench_vms import LOG, BenchVms
from tests.harness.cluster import wait_until
from tests.harness.hosts import Host, Lab

# What Iris's own script does, in short: only an empty disk is formatted.
MOUNT = """\
#!/bin/sh
set -eu
disk=/dev/disk/by-id/google-state
status=0
blkid -p "$disk" >/dev/null || status=$?
[ "$status" -ne 2 ] || mkfs.ext4 -q "$disk"
mkdir -p /mnt/state
mount "$disk" /mnt/state
echo "$(hostname)" >>/mnt/state/boots
echo mounted
"""


class Machines:
    """A cloud on a lab, and its Compute interface."""

    def __init__(self, lab: Lab, engine: Engine, vms: BenchVms) -> None:
        self.lab, self.engine, self.vms = lab, engine, vms

    def make(self, name: str, script: str = MOUNT, *keys: str) -> Host:
        """An instance with the disk d1, whose script has run."""
        items = [{"key": "startup-script", "value": script}]
        if keys:
            items.append({"key": "ssh-keys", "value": "\n".join(keys)})
        disks = self.engine.with_disk("d1")
        body = self.engine.instance(name, metadata={"items": items}, disks=disks)
        assert "error" not in self.engine.done("POST", INSTANCES, body)
        wait_until(lambda: self.vms.is_up(name))
        return self.vms.host(name)


@pytest.fixture
def machines(lab: Lab) -> Generator[Machines]:
    vms = BenchVms(lab)
    with CloudServer(vms=vms, address=lab.address) as cloud:
        engine = Engine(cloud)
        engine.done("POST", DISKS, {"name": "d1", "sizeGb": "20"})
        yield Machines(lab, engine, vms)
        engine.close()


def test_what_is_on_a_disk_outlives_the_machine(machines: Machines) -> None:
    def has_mounted(host: Host) -> bool:
        return b"exit status 0" in host.run(["cat", LOG]).stdout

    first = machines.make("first")
    wait_until(lambda: has_mounted(first))
    machines.engine.done("DELETE", f"{INSTANCES}/first")
    second = machines.make("second")
    wait_until(lambda: has_mounted(second))
    assert second.read("/mnt/state/boots") == b"first\nsecond\n"
    # A reboot keeps both disks, and runs the script again.
    machines.engine.done("POST", f"{INSTANCES}/second/stop")
    wait_until(lambda: not second.is_on)
    machines.engine.done("POST", f"{INSTANCES}/second/start")
    wait_until(lambda: machines.vms.is_up("second"))
    wait_until(lambda: second.run(["cat", "/mnt/state/boots"]).stdout == b"first\nsecond\nsecond\n")
    # And a disk that is made anew is empty, whatever it is called.
    machines.engine.done("DELETE", f"{INSTANCES}/second")
    machines.engine.done("DELETE", f"{DISKS}/d1")
    machines.engine.done("POST", DISKS, {"name": "d1", "sizeGb": "20"})
    third = machines.make("third")
    wait_until(lambda: has_mounted(third))
    assert third.read("/mnt/state/boots") == b"third\n"


def test_who_is_in_the_metadata_logs_in_and_becomes_root(machines: Machines) -> None:
    lab = machines.lab
    key = lab.user_key.with_suffix(".pub").read_text().strip()
    host = machines.make("i1", "#!/bin/sh\n", f"someone:{key}")
    command = [*lab.ssh_command(host, user="someone"), "id -un; sudo -n -- sh -c 'id -un; echo $HOME'"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == ["someone", "root", "/root"], done.stderr
    # Another one is let in later.
    engine = machines.engine
    metadata = engine.ask("GET", f"{INSTANCES}/i1").json()["metadata"]
    items = [{"key": "ssh-keys", "value": f"someone:{key}\nother:{key}"}]
    engine.done("POST", f"{INSTANCES}/i1/setMetadata", {**metadata, "items": items})
    again = [*lab.ssh_command(host, user="other"), "id -un"]
    wait_until(lambda: subprocess.run(again, capture_output=True, timeout=60).stdout == b"other\n")
    # And the first no more.
    metadata = engine.ask("GET", f"{INSTANCES}/i1").json()["metadata"]
    items = [{"key": "ssh-keys", "value": f"other:{key}"}]
    engine.done("POST", f"{INSTANCES}/i1/setMetadata", {**metadata, "items": items})
    wait_until(lambda: subprocess.run(command, capture_output=True, timeout=60).returncode == 255)
    assert subprocess.run(again, capture_output=True, timeout=60).stdout == b"other\n"


def test_machines_know_each_other_by_name(machines: Machines) -> None:
    host = machines.make("i1", "#!/bin/sh\n")
    for name in ("i1", f"i1.{ZONE}.c.{machines.engine.project}.internal", "metadata.google.internal"):
        assert host.output("getent", "hosts", name).split()[0] in (
            host.address,
            "127.0.1.1",
            "169.254.169.254",
        )
    body = machines.engine.instance("i2")
    machines.engine.done("POST", INSTANCES, body)
    wait_until(lambda: machines.vms.is_up("i2"))
    other = machines.vms.host("i2")
    assert (
        host.output("getent", "hosts", f"i2.{ZONE}.c.{machines.engine.project}.internal").split()[0]
        == other.address
    )
