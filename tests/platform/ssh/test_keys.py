"""Which keys are offered: files, encrypted ones, an agent's."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from iris_platform.base import PermissionMissing, Refused, Unreachable
from iris_platform.ssh import SshSettings
from tests.platform.ssh.conftest import Dial, MakeSshd
from tests.platform.ssh.sshd import Sshd, make_key


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A real ssh-agent, empty."""
    path = tmp_path / "agent"
    with subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline()
        monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
        yield path
        process.terminate()
        process.wait(20)


def add_to_agent(key: Path, passphrase: str, tmp_path: Path) -> None:
    ask = tmp_path / "ask"
    ask.write_text(f"#!/bin/sh\necho {passphrase}\n")
    ask.chmod(0o700)
    env = {**os.environ, "SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"}
    subprocess.run(["ssh-add", "-q", key], check=True, env=env, stdin=subprocess.DEVNULL, timeout=30)


@pytest.mark.parametrize(("kind", "form"), [("rsa", ()), ("ecdsa", ()), ("rsa", ("-m", "PEM"))])
def test_kinds_of_key_files(sshd: Sshd, dial: Dial, tmp_path: Path, kind: str, form: tuple[str, ...]) -> None:
    key = make_key(tmp_path / "key", kind=kind, form=form)
    sshd.authorize(key)
    assert dial(replace(sshd.target, key_file=str(key))).is_alive


@pytest.mark.parametrize("form", [(), ("-m", "PEM")])
def test_an_encrypted_key_without_an_agent(
    sshd: Sshd, dial: Dial, tmp_path: Path, form: tuple[str, ...]
) -> None:
    key = make_key(tmp_path / "key", "secret", kind="rsa", form=form)
    with pytest.raises(Refused, match=f"key file {key} is encrypted.*ssh-add {key}"):
        dial(replace(sshd.target, key_file=str(key)))


@pytest.mark.parametrize("has_public_file", [True, False])
def test_an_encrypted_key_that_the_agent_holds(
    sshd: Sshd, dial: Dial, tmp_path: Path, agent: Path, has_public_file: bool
) -> None:
    key = make_key(tmp_path / "key", "secret")
    sshd.authorize(key)
    add_to_agent(make_key(tmp_path / "other"), "", tmp_path)
    add_to_agent(key, "secret", tmp_path)
    if not has_public_file:
        Path(f"{key}.pub").unlink()
    assert dial(replace(sshd.target, key_file=str(key))).is_alive
    # The other one was never offered.
    assert "Failed publickey" not in sshd.log()


def test_the_agents_keys_where_none_is_named(sshd: Sshd, dial: Dial, tmp_path: Path, agent: Path) -> None:
    add_to_agent(make_key(tmp_path / "other", kind="ecdsa"), "", tmp_path)
    target = replace(sshd.target, key_file=None)
    with pytest.raises(PermissionMissing, match="offered: the agent's other;"):
        dial(target)
    add_to_agent(sshd.key, "", tmp_path)
    assert dial(target).is_alive


def test_only_the_identities_that_are_named(sshd: Sshd, dial: Dial, tmp_path: Path, agent: Path) -> None:
    add_to_agent(sshd.key, "", tmp_path)
    other = make_key(tmp_path / "other")
    only = replace(sshd.target, key_file=None, identity_files=(str(other),), identities_only=True)
    with pytest.raises(PermissionMissing, match=f"offered: {other};"):
        dial(only)
    # Its public half names a key that is in the agent alone.
    named = tmp_path / "named"
    Path(f"{named}.pub").write_bytes(Path(f"{sshd.key}.pub").read_bytes())
    assert dial(replace(only, identity_files=(str(named),))).is_alive


@pytest.mark.parametrize("socket_named", ["", "nobody"])
def test_no_agent(sshd: Sshd, dial: Dial, agent: Path, tmp_path: Path, socket_named: str) -> None:
    add_to_agent(sshd.key, "", tmp_path)
    name = socket_named and str(tmp_path / socket_named)
    with pytest.raises(PermissionMissing, match="there is none" if not name else f"the agent at {name}"):
        dial(replace(sshd.target, key_file=None, agent=name))


def test_an_agent_that_does_not_answer(sshd: Sshd, dial: Dial, tmp_path: Path) -> None:
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as stuck:
        stuck.bind(str(tmp_path / "stuck"))
        stuck.listen()
        target = replace(sshd.target, key_file=None, agent=str(tmp_path / "stuck"))
        with pytest.raises((PermissionMissing, Unreachable), match=r"the agent at .*timed out"):
            dial(target, SshSettings(connect_timeout_s=2))


def test_keys_in_their_usual_places(sshd: Sshd, dial: Dial, no_user: Path) -> None:
    (no_user / ".ssh" / "id_ed25519").write_bytes(sshd.key.read_bytes())
    make_key(no_user / ".ssh" / "id_rsa", "secret", kind="rsa")
    assert dial(replace(sshd.target, key_file=None)).is_alive


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no such file"),
        ("hello", "no private key of a known kind"),
        ("dir", "not a file"),
        ("pub", "no private"),
    ],
)
def test_a_file_that_is_no_key(
    sshd: Sshd, dial: Dial, tmp_path: Path, content: str | None, words: str
) -> None:
    path = tmp_path / "key"
    if content == "dir":
        path.mkdir()
    elif content is not None:
        path.write_text(Path(f"{sshd.key}.pub").read_text() if content == "pub" else content)
    with pytest.raises(Refused, match=f"key file {path} cannot be used: {words}.*correct ssh_key_file"):
        dial(replace(sshd.target, key_file=str(path)))


def test_a_certificate_beside_the_key(make_sshd: MakeSshd, dial: Dial, tmp_path: Path) -> None:
    authority = make_key(tmp_path / "authority")
    sshd = make_sshd(extra=f"TrustedUserCAKeys {authority}.pub\n")
    key = make_key(tmp_path / "key")
    sign: list[str | Path] = [
        "ssh-keygen",
        "-q",
        "-s",
        authority,
        "-I",
        "us",
        "-n",
        sshd.target.user,
        f"{key}.pub",
    ]
    subprocess.run(sign, check=True, timeout=30)
    assert dial(replace(sshd.target, key_file=str(key))).is_alive
