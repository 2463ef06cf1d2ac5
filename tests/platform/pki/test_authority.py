"""The authority: its files, the cluster's id, its backup."""

import os
import stat
from pathlib import Path

import pytest

from iris_platform.identity import IdentityError, cluster_id_of, ensure_identity, load_identity
from iris_platform.pki.authority import (
    Authority,
    ensure_authority,
    load_authority,
    make_backup,
    restore_backup,
    seed_of,
)
from iris_platform.store_key import load_store_key, make_store_key

NOW_S = 1_800_000_000.0


def made(pki: Path) -> Authority:
    return ensure_authority("demo", pki, NOW_S)


def files(pki: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in pki.iterdir()}


def test_the_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    pki = tmp_path / "a" / "pki"
    made(pki)
    assert {path.name for path in pki.iterdir()} == {"ca.key", "ca.pem", "cluster.key"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in pki.iterdir()} == {0o600}
    assert stat.S_IMODE(pki.stat().st_mode) == 0o700


def test_the_id_is_made_of_the_authority_s_key_and_everybody_finds_it(tmp_path: Path) -> None:
    authority = made(tmp_path)
    assert authority.identity.cluster_id == cluster_id_of(seed_of(authority.key))
    assert load_identity("demo", tmp_path) == authority.identity == ensure_identity("demo", tmp_path)


def test_a_second_start_makes_nothing(tmp_path: Path) -> None:
    made(tmp_path)
    before = files(tmp_path)
    made(tmp_path)
    assert files(tmp_path) == before


def test_a_local_cluster_that_grows_keeps_its_id(tmp_path: Path) -> None:
    identity = ensure_identity("demo", tmp_path)
    authority = made(tmp_path)
    assert authority.identity == identity
    assert authority.identity.cluster_id != cluster_id_of(seed_of(authority.key))
    assert load_authority("demo", tmp_path) is not None


@pytest.mark.parametrize("lost", [{"ca.pem"}, {"ca.pem", "cluster.key"}])
def test_a_crash_while_it_is_made_is_completed(tmp_path: Path, lost: set[str]) -> None:
    identity = made(tmp_path).identity
    for name in lost:
        (tmp_path / name).unlink()
    assert load_authority("demo", tmp_path) is None
    assert made(tmp_path).identity == identity


def test_no_other_identity_is_made_beside_an_authority(tmp_path: Path) -> None:
    made(tmp_path)
    (tmp_path / "cluster.key").unlink()
    with pytest.raises(IdentityError, match=r"cluster\.key: missing, but ca\.key is there"):
        ensure_identity("demo", tmp_path)
    with pytest.raises(IdentityError, match=r"cluster\.key: missing, but the authority is of cluster"):
        made(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("ca.key", b"-----BEGIN PRIVATE KEY-----\n", "is damaged"),
        ("ca.pem", b"x", "expected a certificate"),
        ("cluster.key", b"y" * 65, "but the authority is of cluster"),
    ],
)
def test_damage_is_said_and_nothing_is_replaced(tmp_path: Path, name: str, text: bytes, says: str) -> None:
    made(tmp_path)
    (tmp_path / name).write_bytes(text)
    with pytest.raises(IdentityError, match=f"{name}: .*{says}"):
        made(tmp_path)
    assert (tmp_path / name).read_bytes() == text


def test_a_certificate_of_another_key_is_noticed(tmp_path: Path) -> None:
    made(tmp_path / "a")
    made(tmp_path / "b")
    (tmp_path / "a" / "ca.pem").write_bytes((tmp_path / "b" / "ca.pem").read_bytes())
    with pytest.raises(IdentityError, match=r"ca\.pem: is not of ca\.key"):
        made(tmp_path / "a")


def test_a_key_that_is_open_to_others_is_not_used(tmp_path: Path) -> None:
    made(tmp_path)
    (tmp_path / "ca.key").chmod(0o640)
    with pytest.raises(IdentityError, match=r"open to others \(mode 0640\); chmod 600"):
        made(tmp_path)


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "pki").write_text("")
    with pytest.raises(IdentityError, match="cannot make the cluster's authority: File exists"):
        made(tmp_path / "pki")


@pytest.mark.parametrize("grown", [False, True])
def test_a_backup_brings_the_same_cluster_back(tmp_path: Path, grown: bool) -> None:
    pki = tmp_path / "pki"
    if grown:
        ensure_identity("demo", pki)
    authority = made(pki)
    backup = make_backup("demo", pki)
    restored = restore_backup("demo", tmp_path / "new", backup)
    assert files(tmp_path / "new") == files(pki)
    assert restored.identity == authority.identity
    assert restore_backup("demo", pki, backup).identity == authority.identity


def test_a_backup_has_the_store_s_key_where_there_is_one(tmp_path: Path) -> None:
    pki, new = tmp_path / "pki", tmp_path / "new"
    made(pki)
    before = make_backup("demo", pki)
    key = make_store_key(pki, os.urandom)
    backup = make_backup("demo", pki)
    restore_backup("demo", new, backup)
    assert (files(new), load_store_key(new)) == (files(pki), key)
    assert {stat.S_IMODE(path.stat().st_mode) for path in new.iterdir()} == {0o600}
    # One from before the key was made takes nothing away.
    restore_backup("demo", pki, before)
    assert files(new) == files(pki)


def test_a_backup_never_replaces_another_store_s_key(tmp_path: Path) -> None:
    made(tmp_path)
    make_store_key(tmp_path, os.urandom)
    backup = make_backup("demo", tmp_path)
    (tmp_path / "store.key").unlink()
    make_store_key(tmp_path, os.urandom)
    (tmp_path / "ca.pem").unlink()
    before = files(tmp_path)
    with pytest.raises(IdentityError, match=r"store\.key: is not the backup's; .* nothing was changed"):
        restore_backup("demo", tmp_path, backup)
    assert files(tmp_path) == before


@pytest.mark.parametrize(("text", "mode"), [(b"0" * 60, 0o600), (b"0" * 64, 0o644)])
def test_no_backup_is_made_of_a_store_s_key_that_cannot_be_used(
    tmp_path: Path, text: bytes, mode: int
) -> None:
    made(tmp_path)
    (tmp_path / "store.key").write_bytes(text)
    (tmp_path / "store.key").chmod(mode)
    with pytest.raises(IdentityError, match=r"store\.key: the store's key is"):
        make_backup("demo", tmp_path)


def test_a_backup_never_replaces_another_cluster(tmp_path: Path) -> None:
    made(tmp_path / "a")
    ensure_identity("demo", tmp_path / "b")
    before = files(tmp_path / "b")
    with pytest.raises(IdentityError, match=r"cluster\.key: is not the backup's"):
        restore_backup("demo", tmp_path / "b", make_backup("demo", tmp_path / "a"))
    assert files(tmp_path / "b") == before


def test_what_is_no_backup(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="has no authority to back up"):
        make_backup("demo", tmp_path)
    made(tmp_path / "a")
    made(tmp_path / "b")
    one, other = make_backup("demo", tmp_path / "a"), make_backup("demo", tmp_path / "b")
    start = one.index(b"-----BEGIN CERTIFICATE")
    mixed = one[:start] + other[other.index(b"-----BEGIN CERTIFICATE") :]
    short = one + b"-----BEGIN IRIS STORE KEY-----\nMDAK\n-----END IRIS STORE KEY-----\n"
    for text in (b"", one[:start], one + b"x" * 70_000, mixed, short):
        with pytest.raises(IdentityError, match="expected a backup"):
            restore_backup("demo", tmp_path / "new", text)
    assert not (tmp_path / "new").exists()


def test_the_key_is_in_no_text_of_an_authority(tmp_path: Path) -> None:
    authority = made(tmp_path)
    assert repr(authority) == f"Authority({authority.identity})"
