"""Slices of the operator's own hosts, reached over SSH."""

from __future__ import annotations

from iris_platform import PlatformSettings
from iris_platform.bootstrap import container_of
from iris_platform.manual.connections import Connections
from iris_platform.manual.forwards import Forwards, hosts_with_slices
from iris_platform.manual.platform import ManualPlatform
from iris_platform.manual.records import Records
from iris_platform.manual.refusals import Refusals
from iris_platform.manual.slices import ManualSlices, PoolSettings
from iris_platform.manual.ssh_hosts import SshHosts
from iris_platform.manual.startup import HostSettings
from iris_platform.pki.names import SSH_KEY_FILE
from iris_platform.ssh import KnownHosts, SshSettings, dialler, settings_of, targets_of

# Beside keys and mirror: what was pinned must outlive a lost state directory.
KNOWN_HOSTS_FILE = "known_hosts"
RECORDS_DIR = "manual"
# DESIGN 7: the controller's own margin on a lease.
LEASE_MARGIN, LEASE_MARGIN_S = 1.05, 5.0


def make_platform(settings: PlatformSettings) -> ManualPlatform:
    """The platform of one pool of hosts."""
    manual, ssh = settings.provider.manual, settings.ssh
    known_hosts = KnownHosts(settings.paths.pki_dir / KNOWN_HOSTS_FILE)
    reach = SshSettings()
    most = len(manual.hosts)
    if ssh is not None:
        reach = settings_of(ssh)
        most = ssh.max_parallel

    own_key = manual.ssh_key_file == str(settings.paths.pki_dir / SSH_KEY_FILE)
    dial = Refusals(dialler(reach, known_hosts), own_key=own_key).connect
    targets = targets_of(manual)
    connections = Connections(lambda host: dial(targets[host]))
    records = Records(settings.paths.state_dir / RECORDS_DIR)
    forwards = None
    if settings.joining is not None and settings.joining.forwarded is not None:
        forwards = Forwards(
            connections,
            lambda: hosts_with_slices(records, settings.groups) & targets.keys(),
            settings.joining.forwarded,
            settings.paths.state_dir / RECORDS_DIR,
        )
    hosts = SshHosts(
        targets,
        connections,
        HostSettings(
            max(1, most),
            settings.boot_s,
            settings.orphan_timeout_s,
            container=container_of(settings.bootstrap, "worker"),
        ),
        settings.joining,
        *([forwards.ensure] if forwards is not None else []),
    )
    pool = PoolSettings(
        identity=settings.identity,
        groups=settings.groups,
        hosts=tuple(manual.hosts),
        lease_ms=round((settings.lease_s * LEASE_MARGIN + LEASE_MARGIN_S) * 1000),
        boot_ms=round(settings.boot_s * 1000),
    )
    slices = ManualSlices(pool, hosts, records)
    return ManualPlatform(settings.identity, settings.zones, slices, settings.now_ms, forwards)
