"""A listing tells what happened to a host, and that nothing did."""

from __future__ import annotations

import pytest

from tests.harness.hosts import Lab
from tests.hosts.talk import Talk, ssh

CHANGES = {
    "file": "echo x >/opt/new",
    "directory": "mkdir /opt/new",
    "link": "ln -s /etc /opt/new",
    "content": "echo x >>/etc/passwd",
    "mode": "chmod 0600 /etc/passwd",
    "owner": "chown 1:1 /etc/passwd",
    "removed": "rm /etc/passwd",
    "removed tree": "rm -r /etc/apt",
    "replaced tree": "rm -r /etc/apt; mkdir -p /etc/apt/apt.conf.d",
    "in /tmp": "touch /tmp/new",
    "in /run": "mkdir -p /run/new",
    "in /dev/shm": "touch /dev/shm/new",
    "in /var/tmp": "touch /var/tmp/new",
    "a unit": "mkdir -p /etc/systemd/system && touch /etc/systemd/system/x.service",
    "a process": "setsid sleep 1000 >/dev/null 2>&1 &",
    "a cgroup": "mkdir /sys/fs/cgroup/new",
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen(lab: Lab, change: str) -> None:
    host = lab.host("a", base="bookworm")
    before = host.listing()
    host.output("sh", "-c", CHANGES[change])
    assert host.listing().since(before) != []


def test_what_is_undone_is_not_seen(lab: Lab) -> None:
    host = lab.host("a", base="bookworm")
    before = host.listing()
    undone = """
        cp -a /etc/passwd /etc/apt /tmp; rm -r /etc/passwd /etc/apt
        mv /tmp/passwd /tmp/apt /etc
        mkdir -p /opt/a/b; touch /opt/a/b/c; rm -r /opt/a
        chmod 0700 /srv; chmod 0755 /srv
        sleep 1000 & kill $!
        mkdir /sys/fs/cgroup/a; rmdir /sys/fs/cgroup/a
    """
    done = ssh(lab, host, undone)
    assert done.returncode == 0, done.stderr
    assert host.listing().since(before) == []


def test_sessions_and_time_are_no_change(lab: Lab) -> None:
    host = lab.host("a", base="bookworm")
    before = host.listing()
    assert ssh(lab, host, "touch /etc/passwd /etc").returncode == 0
    with Talk(lab, host):
        assert host.listing().since(before) == ["+ process cat"]


def test_the_words_name_what_was_and_what_is(lab: Lab) -> None:
    host = lab.host("a", base="bookworm")
    before = host.listing()
    ssh(lab, host, "umask 077; mkdir /opt/new; ln -s x /opt/new/link; rm -r /etc/apt; mkdir /etc/apt")
    lines = host.listing().since(before)
    assert "/opt/new: as in the base -> d 0700 0:0" in lines
    assert any(
        line.startswith("/opt/new/link: as in the base -> l ") and line.endswith("-> x") for line in lines
    )
    assert "/etc/apt/sources.list: as in the base -> gone" in lines
    assert "/etc/apt: as in the base -> d 0700 0:0" in lines
