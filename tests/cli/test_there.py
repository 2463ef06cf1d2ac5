"""The configuration of a controller elsewhere, and what is known of it here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from iris_cli.operator import this_operator
from iris_cli.reach.tunnel_file import TUNNEL_FILE, published, read_tunnel
from iris_cli.there import comparable, config_there, is_here, manual_hosts
from iris_config import diff_configs, parse_config
from iris_platform.base import Refused
from iris_platform.paths import ClusterPaths

CONFIG = """\
name: demo
controller: { manual: { host: box } }
scale_groups:
  one: { provider: { manual: { hosts: [a, b], ssh_key_file: ~/.ssh/mine, ssh_jump_host: gate } } }
  two:
    provider: { manual: { hosts: [c], ssh_user: me, per_host: { c: { ssh_port: 24, ssh_key_file: /k } } } }
  here: { provider: { local: {} }, host_resources: { cpu: 1 } }
"""


class Known:
    """A user's SSH configuration."""

    def __init__(self, **hosts: Mapping[str, Any]) -> None:
        self._hosts = hosts

    def lookup(self, hostname: str) -> Mapping[str, Any]:
        return self._hosts.get(hostname, {})


def test_what_is_said_here_is_resolved_for_there() -> None:
    config = parse_config(CONFIG)
    assert not is_here(config) and manual_hosts(config) == {"a", "b", "c"}
    given = config_there(config, Known(a={"hostname": "10.0.0.5", "user": "ops", "port": "2222"}))
    one, two = (given.scale_groups[name].provider.manual for name in ("one", "two"))
    assert list(one.hosts) == ["10.0.0.5", "b"]
    assert (one.per_host["10.0.0.5"].ssh_user, one.per_host["10.0.0.5"].ssh_port) == ("ops", 2222)
    assert "b" not in one.per_host
    assert (two.per_host["c"].ssh_user, two.per_host["c"].ssh_port) == ("me", 24)
    text = given.to_json()
    # No key, no jump host and no setting of this machine.
    assert set(re.findall(r'"ssh_?[kK]ey_?[fF]ile": *"([^"]*)"', text)) <= {"", "@state@/pki/ssh.key"}
    assert "gate" not in text and "/k" not in text.replace("/pki/ssh.key", "")
    assert given.proto.ssh.config_file == "/dev/null"


def test_the_keys_own_place() -> None:
    config = parse_config(CONFIG + "storage: { pki_dir: /keys }\n")
    given = config_there(config, None)
    assert given.scale_groups["one"].provider.manual.ssh_key_file == "/keys/ssh.key"


def test_a_host_that_only_a_program_of_ours_reaches() -> None:
    with pytest.raises(Refused, match="ProxyCommand"):
        config_there(parse_config(CONFIG), Known(c={"proxycommand": "nc %h %p"}))


def test_two_configurations_are_compared_without_the_keys_place() -> None:
    config = parse_config(CONFIG)
    given, run = config_there(config, None), config_there(config, None)
    run.proto.scale_groups["one"].provider.manual.ssh_key_file = "/var/lib/x/pki/ssh.key"
    assert diff_configs(given, run) != []
    assert diff_configs(comparable(given), comparable(run)) == []
    run.proto.scale_groups["one"].max_slices = 7
    assert len(diff_configs(comparable(given), comparable(run))) == 1


def test_a_tunnel_is_found_as_long_as_its_process_lives(tmp_path: Path) -> None:
    paths = ClusterPaths(tmp_path, tmp_path / "pki", tmp_path / "local")
    assert read_tunnel(paths) is None
    with published(paths, "127.0.0.1:7"):
        assert read_tunnel(paths) == "127.0.0.1:7"
        text = (tmp_path / TUNNEL_FILE).read_text()
        # Another process has the number now.
        (tmp_path / TUNNEL_FILE).write_text(re.sub('"start_time": [0-9]+', '"start_time": 1', text))
        assert read_tunnel(paths) is None
        (tmp_path / TUNNEL_FILE).write_text("{")
        assert read_tunnel(paths) is None
    assert not (tmp_path / TUNNEL_FILE).exists()


@pytest.mark.parametrize(
    ("user", "machine"), [("root", "box"), ("Ann Müller", "x.y"), ("", "-"), ("u" * 90, "m")]
)
def test_an_operators_name_is_one(user: str, machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: user)
    monkeypatch.setattr("socket.gethostname", lambda: machine)
    name = this_operator(lambda words: nullcontext(), print).name
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,62}", name)
