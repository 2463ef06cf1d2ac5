"""Small files, paths, identity, and what is said when they are not right."""

import json
import os
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from iris_platform.base import ClusterIdentity
from iris_platform.controller_file import (
    ControllerFileError,
    ControllerRecord,
    read_controller_file,
    write_controller_file,
)
from iris_platform.files import last_lines, read_tail, write_atomic, write_new
from iris_platform.identity import (
    IdentityError,
    Mirror,
    cluster_id_of,
    ensure_identity,
    load_identity,
    read_mirror,
    write_mirror,
)
from iris_platform.names import MAX_NAME_LENGTH, is_ours, parse_slice_name, slice_labels, slice_name
from iris_platform.paths import ClusterPaths, default_paths, state_home
from tests.platform.world import DIED, dying_at, in_child, is_step


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_places_follow_xdg() -> None:
    paths = default_paths("demo", {"XDG_STATE_HOME": "/xdg", "HOME": "/users/ada"})
    assert paths == ClusterPaths(
        Path("/xdg/iris/demo"), Path("/xdg/iris-pki/demo"), Path("/xdg/iris-local/demo")
    )
    assert paths.controller_file == Path("/xdg/iris/demo/controller.json")
    assert paths.controller_log == Path("/xdg/iris/demo/controller.log")
    assert paths.config_file == Path("/xdg/iris/demo/cluster.json")


@pytest.mark.parametrize("value", ["", "relative/path"])
def test_without_a_usable_xdg_state_home(value: str) -> None:
    environ = {"XDG_STATE_HOME": value, "HOME": "/users/ada"}
    assert state_home(environ) == Path("/users/ada/.local/state")
    assert state_home({}) == Path.home() / ".local" / "state"


def test_the_id_comes_from_the_key() -> None:
    # RFC 4648 base32 of SHA-256("") begins 4OYMIQUY7Q.
    assert cluster_id_of(b"") == "4oymiquy7q"


def test_an_identity_is_made_once(tmp_path: Path) -> None:
    pki = tmp_path / "iris-pki" / "demo"
    assert load_identity("demo", pki) is None
    identity = ensure_identity("demo", pki)
    assert ensure_identity("demo", pki) == load_identity("demo", pki) == identity
    assert identity == ClusterIdentity("demo", cluster_id_of((pki / "cluster.key").read_bytes()))
    assert (mode(pki), mode(pki / "cluster.key")) == (0o700, 0o600)
    assert [path.name for path in pki.iterdir()] == ["cluster.key"]
    assert ensure_identity("demo", tmp_path / "other").cluster_id != identity.cluster_id


def test_starters_at_one_time_agree(tmp_path: Path) -> None:
    found: list[ClusterIdentity] = []
    gate = threading.Barrier(8)

    def start() -> None:
        gate.wait()
        found.append(ensure_identity("demo", tmp_path / "pki"))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_a_first_start_may_die_anywhere(tmp_path: Path) -> None:
    for nth in range(1, 20):
        pki = tmp_path / str(nth)
        start = partial(ensure_identity, "demo", pki)
        status = in_child(partial(dying_at, is_step, nth, start))
        assert ensure_identity("demo", pki) == load_identity("demo", pki)
        if status == 0:
            break
        assert status == DIED
    assert 3 < nth < 19


@pytest.mark.parametrize(
    ("content", "bits", "message"),
    [
        (b"x" * 64, 0o644, r"open to others \(mode 0644\); chmod 600 it"),
        (b"", 0o600, r"damaged \(0 bytes\); restore it from a backup"),
    ],
)
def test_keys_that_cannot_be_used(tmp_path: Path, content: bytes, bits: int, message: str) -> None:
    key = tmp_path / "cluster.key"
    key.write_bytes(content)
    key.chmod(bits)
    with pytest.raises(IdentityError, match=f"^{key}: the cluster's key is {message}"):
        ensure_identity("demo", tmp_path)


def test_a_pki_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(IdentityError, match="cannot read the cluster's key: Not a directory"):
        ensure_identity("demo", tmp_path / "file")
    with pytest.raises(IdentityError, match="cannot make the cluster's key"):
        ensure_identity("demo", Path("/proc/iris"))


def test_the_mirror_comes_back(tmp_path: Path) -> None:
    pki = tmp_path / "pki"
    assert read_mirror(pki) is None
    write_mirror(pki, Mirror(epoch=1_700_000_000_000, commit=4096))
    write_mirror(pki, Mirror(epoch=1_700_000_000_001, commit=8192))
    assert read_mirror(pki) == Mirror(1_700_000_000_001, 8192)
    assert mode(pki / "mirror.json") == 0o600


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"epoch": 1}', '{"epoch": -1, "commit": 0}', '{"epoch": true, "commit": 0}']
)
def test_a_mirror_that_cannot_be_understood(tmp_path: Path, text: str) -> None:
    (tmp_path / "mirror.json").write_text(text)
    with pytest.raises(IdentityError, match=str(tmp_path / "mirror.json")):
        read_mirror(tmp_path)


RECORD = ControllerRecord("127.0.0.1:4711", "secret", 42, 1234)


def test_the_controller_file_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "state" / "controller.json"
    assert read_controller_file(path) is None
    write_controller_file(path, RECORD)
    assert read_controller_file(path) == RECORD
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)
    assert set(json.loads(path.read_text())) == {"address", "token", "pid", "start_time"}
    assert "secret" not in repr(RECORD)
    for_others = replace(RECORD, tls_address="0.0.0.0:10400", join_address="0.0.0.0:10401")
    write_controller_file(path, for_others)
    assert read_controller_file(path) == for_others


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"address": None}, "address: expected a string"),
        ({"token": 5}, "token: expected a string"),
        ({"tls_address": 5}, "tls_address, join_address: expected strings"),
        ({"pid": "42"}, "pid: expected a whole number"),
        ({"pid": True}, "pid: expected a whole number"),
        ({"pid": 0}, "pid: expected a process id, found 0"),
        ({"start_time": 1.5}, "start_time: expected a whole number"),
    ],
)
def test_fields_of_the_controller_file(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = tmp_path / "controller.json"
    write_atomic(path, json.dumps({**vars(RECORD), **change}).encode())
    with pytest.raises(ControllerFileError, match=f"^{path}: {message}$"):
        read_controller_file(path)


def test_controller_files_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "controller.json"
    write_atomic(path, b"{")
    with pytest.raises(ControllerFileError, match="not valid JSON"):
        read_controller_file(path)
    write_atomic(path, b"[]")
    with pytest.raises(ControllerFileError, match="expected an object"):
        read_controller_file(path)
    write_controller_file(path, RECORD)
    path.chmod(0o640)
    with pytest.raises(ControllerFileError, match=r"open to others \(mode 0640\).*chmod 600"):
        read_controller_file(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(ControllerFileError, match="cannot read: Is a directory"):
        read_controller_file(path)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")
    for nth in range(1, 10):
        write = partial(write_atomic, path, b"new")
        status = in_child(partial(dying_at, is_step, nth, write))
        assert path.read_bytes() == (b"new" if status == 0 else b"old")
        if status == 0:
            break
    assert 1 < nth < 9


def test_a_new_file_keeps_the_one_that_is_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert write_new(path, b"first")
    assert not write_new(path, b"second")
    assert path.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["file"]


def test_writing_where_one_cannot(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_atomic(tmp_path / "file", b"x")
    assert os.listdir(tmp_path) == ["file"]


def test_the_end_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "log"
    assert read_tail(path, 10) == ""
    path.write_bytes(b"0123456789\xff")
    assert read_tail(path, 4) == "789\ufffd"
    assert read_tail(path, 100, start=8) == "89\ufffd"


def test_names_come_apart_again() -> None:
    name = slice_name("abcdefghij", "tpu_v5e", 1_700_000_000_000, 7)
    assert name == "iris-abcdefghij-tpu-v5e-1700000000000-7"
    assert parse_slice_name(name) == ("abcdefghij", "tpu-v5e", 1_700_000_000_000, 7)
    labels = slice_labels("demo", "abcdefghij", "tpu_v5e", name)
    assert is_ours(name, labels, "abcdefghij")
    assert not is_ours(name, labels, "zzzzzzzzzz")
    assert not is_ours(name, {**labels, "iris-cluster-id": "zzzzzzzzzz"}, "abcdefghij")
    assert not is_ours("other", labels, "abcdefghij")


def test_the_longest_name_fits() -> None:
    longest = slice_name("abcdefghij", "g" * 24, 9_999_999_999_999, 99_999)
    assert len(longest) < MAX_NAME_LENGTH
    with pytest.raises(ValueError, match="has 67 characters; at most 61 fit"):
        slice_name("abcdefghij", "g" * 30, 9_999_999_999_999, 999_999)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("", ""),
        ("123456", "123456"),
        ("a\n12345\n", "12345\n"),
        ("a\n1234\n", "1234\n"),
        ("123\n456\n", "456\n"),
        ("1234567", "234567"),
        ("1234567\n", "34567\n"),
        ("xéééé", "ééé"),
        ("éééx", "ééx"),
    ],
)
def test_the_last_lines_of_a_text(text: str, kept: str) -> None:
    assert last_lines(text, 6) == kept
