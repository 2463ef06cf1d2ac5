"""Which host, as whom, through whom: the cluster's configuration and the user's."""

from __future__ import annotations

from pathlib import Path

import pytest

from iris_platform.base import Refused
from iris_platform.ssh import SshSettings, SshTarget, UserConfig, load_user_config, resolve, targets_of
from iris_platform.ssh.target import jump_chain, route
from iris_proto.v1 import config_pb2
from tests.platform.ssh.conftest import Dial
from tests.platform.ssh.sshd import Sshd


@pytest.fixture
def write(no_user: Path) -> Path:
    pytest.importorskip("paramiko", reason="paramiko is not installed: iris-platform[ssh]")
    return no_user / ".ssh" / "config"


def config(file: Path, text: str) -> UserConfig:
    file.write_text(text)
    return load_user_config("~/.ssh/config")


def test_hosts_of_a_group_with_exceptions() -> None:
    manual = config_pb2.ManualProvider(
        hosts=["a", "b"],
        ssh_user="ray",
        ssh_key_file="~/key",
        ssh_port=2200,
        per_host={"b": config_pb2.HostSshConfig(ssh_user="ada", ssh_port=22, ssh_jump_host="c")},
    )
    assert targets_of(manual) == {
        "a": SshTarget("a", 2200, "ray", "~/key"),
        "b": SshTarget("b", 22, "ada", "~/key", "c"),
    }
    assert list(manual.per_host) == ["b"]


def test_defaults_do_not_overrule_the_user(write: Path) -> None:
    manual = config_pb2.ManualProvider(hosts=["gpu1"], ssh_user="root", ssh_port=22)
    target = targets_of(manual)["gpu1"]
    assert resolve(target, None) == SshTarget("gpu1", 22, "root")
    user = config(write, "Host gpu*\n  Port 2222\n  User ada\n")
    assert resolve(target, user) == SshTarget("gpu1", 2222, "ada")


def test_without_any_configuration(write: Path) -> None:
    for user_config in (None, load_user_config(str(write))):
        assert resolve(SshTarget("a"), user_config) == SshTarget("a", 22, "root")


def test_what_the_user_says_and_what_the_cluster_says(write: Path, no_user: Path) -> None:
    user = config(
        write,
        "Host gpu*\n  HostName 10.0.0.9\n  Port 2222\n  User ada\n  IdentityFile ~/.ssh/gpu\n"
        "  IdentitiesOnly yes\n  ProxyJump bob@bastion:2022\n  IdentityAgent none\nHost *\n  User eve\n",
    )
    found = resolve(SshTarget("gpu1"), user)
    assert found == SshTarget(
        "10.0.0.9",
        2222,
        "ada",
        None,
        "bob@bastion:2022",
        (f"{no_user}/.ssh/gpu",),
        True,
        "",
    )
    ours = resolve(SshTarget("gpu1", 22, "root", "~/mine", "none"), user)
    assert (ours.port, ours.user, ours.key_file, ours.jump_host) == (22, "root", f"{no_user}/mine", None)
    assert resolve(SshTarget("other"), user).user == "eve"


def test_included_files(write: Path, no_user: Path) -> None:
    (no_user / ".ssh" / "config.d").mkdir()
    (no_user / ".ssh" / "config.d" / "a").write_text("Host a\n  User included\n")
    (no_user / ".ssh" / "config.d" / "b").write_text("Host b\n  Port 2200\nInclude more\n")
    (no_user / ".ssh" / "more").write_text("Host c\n  User deeper\n")
    user = config(write, "Include config.d/* nowhere\nPort 99\nHost *\n  User last\n")
    assert [resolve(SshTarget(name), user).user for name in "abc"] == ["included", "last", "deeper"]
    # What stands after an Include is not about the included file's hosts.
    assert [resolve(SshTarget(name), user).port for name in "abcz"] == [99, 2200, 99, 99]


@pytest.mark.parametrize("text", ["Include config\n", "Host *\n  Match what\n", "nonsense\n", 'Host "a\n'])
def test_a_file_that_cannot_be_understood(write: Path, text: str) -> None:
    with pytest.raises(Refused, match=r"\.ssh/config: .*ssh.config_file"):
        config(write, text).lookup("a")


@pytest.mark.parametrize("port", ["0", "65536", "many"])
def test_a_port_that_is_none(write: Path, port: str) -> None:
    with pytest.raises(Refused, match=f"Port {port}"):
        resolve(SshTarget("a"), config(write, f"Port {port}\n"))


def test_a_proxy_command_is_not_passed_over(write: Path) -> None:
    user = config(write, "Host *\n  ProxyCommand nc %h %p\n")
    with pytest.raises(Refused, match="ProxyCommand, which Iris does not run"):
        resolve(SshTarget("a"), user)
    assert resolve(SshTarget("a", jump_host="none"), config(write, "ProxyCommand none\n")).jump_host is None


@pytest.mark.parametrize(
    ("text", "hops"),
    [
        ("b", [SshTarget("b")]),
        ("ada@b:2222", [SshTarget("b", 2222, "ada")]),
        ("a@b@c:1", [SshTarget("c", 1, "a@b")]),
        ("[::1]:22", [SshTarget("::1", 22)]),
        ("ada@[::1]", [SshTarget("::1", 0, "ada")]),
        ("fe80::1", [SshTarget("fe80::1")]),
        ("ssh://ada@b:1, c", [SshTarget("b", 1, "ada"), SshTarget("c")]),
    ],
)
def test_jump_hosts_are_read(text: str, hops: list[SshTarget]) -> None:
    assert jump_chain(text) == hops


@pytest.mark.parametrize("text", ["", "ada@", "b:0", "b:x", "b:70000", "[::1", "[::1]x", ",", "a,,b"])
def test_jump_hosts_that_cannot_be_read(text: str) -> None:
    with pytest.raises(Refused, match=r"expected \[USER@\]HOST\[:PORT\]"):
        jump_chain(text)


def test_a_way_through_jump_hosts_of_jump_hosts(write: Path) -> None:
    user = config(write, "Host outer\n  ProxyJump outermost\nHost loop\n  ProxyJump loop\n")
    way = route(SshTarget("a", key_file="/key", jump_host="outer,inner"), user)
    assert [hop.host for hop in way] == ["outermost", "outer", "inner", "a"]
    assert [hop.identity_files for hop in way] == [("/key",)] * 3 + [()]
    with pytest.raises(Refused, match="more than 8 jump hosts"):
        route(SshTarget("loop"), user)


def test_a_host_by_its_name_in_the_users_configuration(write: Path, sshd: Sshd, dial: Dial) -> None:
    user = config(
        write,
        f"Host short\n  HostName 127.0.0.1\n  Port {sshd.port}\n  User {sshd.target.user}\n"
        f"  IdentityFile {sshd.key}\nHost behind\n  HostName 127.0.0.1\n  Port {sshd.port}\n"
        f"  User {sshd.target.user}\n  IdentityFile {sshd.key}\n  ProxyJump short\n",
    )
    settings = SshSettings(connect_timeout_s=20, user_config=user)
    assert dial(SshTarget("short"), settings).is_alive
    assert dial(SshTarget("behind"), settings).run(["true"], timeout_s=20).status == 0
