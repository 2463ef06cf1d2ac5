"""Benchmark 7, for a controller on another host: `iris job list` through SSH.

Runs sealed: the controller's host is a set of namespaces, without a delay. The limits are
the same command where the controller is on this machine, and `ssh HOST true` with the same
key, key exchange, cipher and MAC, which is what a command that makes its own connection
cannot do without. Each value is one process, from spawn to reaping.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import paramiko

from bench.cli import IRIS, Line
from bench.measure import Benchmark, Floor, Lineup, Role, Sample, Scale, Setting, Subject, Unit
from bench.sealed import on_hosts
from iris_platform.bundle import PROGRAMS
from tests.harness.cluster import LocalCluster
from tests.harness.hosts import Host, Lab
from tests.harness.hosts.commands import call

OWN = "iris job list, its own SSH connection"
HELD = "iris job list, iris cluster tunnel held open"
LOCAL = "iris job list, controller on this machine"
SSH = "ssh host true"
# How the list begins while there is a job.
BEGINS = "JOB ID"

CONFIG = """\
name: bench
controller: {{ manual: {{ host: {controller}, ssh_key_file: {key} }} }}
scale_groups:
  boxes:
    provider:
      manual: {{ hosts: [{host}], ssh_key_file: {key} }}
    host_resources: {{ cpu: 2 }}
    max_slices: 0
ssh: {{ config_file: /nonexistent }}
"""


@contextmanager
def _started(home: Path, config: str = "") -> Iterator[LocalCluster]:
    """A cluster with one job, which waits for what it may not have; a local one without a configuration."""
    home.mkdir()
    cluster = LocalCluster(home, name="bench", max_slices=0)
    if config:
        cluster.config.write_text(config)
    try:
        cluster.iris("cluster", "start")
        cluster.submit("--", "true")
        yield cluster
    finally:
        cluster.destroy()


@contextmanager
def _tunnel(cluster: LocalCluster) -> Iterator[None]:
    process = cluster.spawn("cluster", "tunnel")
    try:
        assert process.stdout is not None
        address = process.stdout.readline()
        assert address.startswith("127.0.0.1:"), f"no tunnel: {address}"
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate()


def _agreed(host: Host) -> list[str]:
    """What paramiko and the host's `sshd` agree upon, as options of `ssh`."""
    # The host's OpenSSH is this machine's: the client's first one that it has.
    known = call(["ssh", "-Q", "kex"]).split()
    with paramiko.Transport((host.address, host.ssh_port)) as transport:
        transport.start_client(timeout=10.0)
        found = {
            "KexAlgorithms": next(name for name in transport.get_security_options().kex if name in known),
            "Ciphers": transport.local_cipher,
            "MACs": transport.local_mac,
            "HostKeyAlgorithms": transport.host_key_type,
        }
    return [word for name, value in found.items() for word in ("-o", f"{name}={value}")]


def _ssh(lab: Lab, host: Host) -> tuple[str, ...]:
    program, *words = lab.ssh_command(host)
    return (str(shutil.which(program)), *_agreed(host), *words, "true")


def _list(name: str, cluster: LocalCluster, out: Path, role: Role, against: str) -> Subject:
    argv: Sequence[str] = (IRIS, "--config", str(cluster.config), "job", "list")
    environ: Mapping[str, str] = cluster.environ
    return Line(name, tuple(argv), BEGINS).subject(role, against, environ, out)


@contextmanager
def lineup(setting: Setting) -> Iterator[Lineup]:
    """On two hosts: the controller's, and one of its group's, to which nothing happens."""
    out = setting.scratch / "out"
    with ExitStack() as stack:
        lab = stack.enter_context(Lab())
        controller, host = lab.hosts(2)
        text = CONFIG.format(controller=controller.address, host=host.address, key=lab.user_key)
        remote = stack.enter_context(_started(setting.scratch / "remote", text))
        local = stack.enter_context(_started(setting.scratch / "local"))
        own = _list(OWN, remote, out, Role.PRODUCT, SSH)
        held = _list(HELD, remote, out, Role.PRODUCT, LOCAL)

        def measure_held() -> Sample:
            # Not while the other is measured, which would use it.
            with _tunnel(remote):
                return held.measure()

        yield [
            own,
            Line(SSH, _ssh(lab, controller), "").subject(Role.LIMIT, "", os.environ, out),
            Subject(HELD, Role.PRODUCT, measure_held, LOCAL),
            _list(LOCAL, local, out, Role.LIMIT, ""),
        ]


REMOTE = Benchmark(
    name="remote",
    number=7,
    title="iris job list where the controller is on another host, from spawn to exit",
    unit=Unit.SECONDS,
    full=Scale(rounds=51, size=1),
    smoke=Scale(rounds=1, size=1),
    floors=(Floor(HELD, 1.4, against=LOCAL),),
    lineup=on_hosts("bench.remote:lineup", programs=PROGRAMS),
)
