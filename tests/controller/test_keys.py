"""`iris-controller --keys-of`: what it makes, prints and refuses."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from iris_platform.identity import load_identity
from iris_platform.pki.authority import restore_backup
from iris_platform.pki.keyring import Keyring
from iris_platform.pki.names import SSH_KEY_FILE, Person, Role
from iris_platform.pki.ssh_key import ensure_ssh_key
from iris_platform.store_key import load_store_key


def call(*words: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    argv = [
        sys.executable,
        "-c",
        "import sys; from iris_controller.main import main; sys.exit(main())",
        *words,
    ]
    return subprocess.run(argv, input=given, capture_output=True, timeout=60)


def keys_of(pki_dir: Path, *words: str, given: bytes = b"") -> dict[str, Any]:
    done = call("--keys-of", "demo", "--pki-dir", str(pki_dir), *words, given=given)
    assert (done.returncode, done.stderr) == (0, b"")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_they_are_made_once(tmp_path: Path) -> None:
    pki = tmp_path / "pki"
    first = keys_of(pki)
    assert keys_of(pki) == first
    identity = load_identity("demo", pki)
    assert identity is not None and identity.cluster_id == first["cluster_id"]
    assert {path.name: path.stat().st_mode & 0o077 for path in pki.iterdir()} == {
        "ca.key": 0, "ca.pem": 0, "cluster.key": 0, SSH_KEY_FILE: 0, "store.key": 0,
    }  # fmt: skip


def test_an_operator_gets_a_certificate(tmp_path: Path) -> None:
    ring = Keyring(tmp_path / "operator")
    ring.make_key()
    found = keys_of(tmp_path / "pki", "--operator", "me@box", given=ring.make_csr())
    ring.prepare(found["ca"].encode())

    facts = ring.store(found["certificate"].encode(), time.time())
    assert facts.subject == Person(found["cluster_id"], Role.OPERATOR, "me@box")


def test_the_backup_makes_the_cluster_again(tmp_path: Path) -> None:
    found = keys_of(tmp_path / "pki")
    again = restore_backup("demo", tmp_path / "again", found["backup"].encode())
    assert again.identity.cluster_id == found["cluster_id"]
    assert load_store_key(tmp_path / "again") == load_store_key(tmp_path / "pki")


def test_a_host_that_never_had_them_gets_the_clusters(tmp_path: Path) -> None:
    ring = Keyring(tmp_path / "operator")
    ring.make_key()
    first = keys_of(tmp_path / "pki")
    given = ring.make_csr() + first["backup"].encode()
    again = keys_of(tmp_path / "again", "--operator", "me", given=given)
    assert (again["cluster_id"], again["ca"]) == (first["cluster_id"], first["ca"])
    assert load_store_key(tmp_path / "again") == load_store_key(tmp_path / "pki")
    # Where there are keys they stay.
    other = keys_of(tmp_path / "other")
    assert keys_of(tmp_path / "other", "--operator", "me", given=given)["ca"] == other["ca"]
    done = call(
        "--keys-of",
        "demo",
        "--pki-dir",
        str(tmp_path / "x"),
        "--operator",
        "me",
        given=ring.make_csr() + b"no backup",
    )
    assert done.returncode == 2 and b"expected a backup" in done.stderr and not (tmp_path / "x").exists()


def test_ssh_knows_the_key(tmp_path: Path) -> None:
    line = ensure_ssh_key(tmp_path)
    argv = ["ssh-keygen", "-y", "-f", str(tmp_path / SSH_KEY_FILE)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout.split()[:2]) == (0, line.split())


@pytest.mark.parametrize(
    ("words", "given", "said"),
    [
        (("--operator", "me box"), b"", "name: expected 1 to 63 letters"),
        (("--operator", "me"), b"no request", "expected a PKCS #10 signing request"),
        (("--operator", "me"), b"x" * 9000, "the signing request has"),
    ],
)
def test_what_is_refused(words: tuple[str, ...], given: bytes, said: str, tmp_path: Path) -> None:
    ring = Keyring(tmp_path / "operator")
    ring.make_key()
    done = call(
        "--keys-of", "demo", "--pki-dir", str(tmp_path / "pki"), *words, given=given or ring.make_csr()
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert said in done.stderr.decode() and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("name", ["ca.key", "cluster.key", SSH_KEY_FILE, "store.key"])
def test_keys_that_are_open_to_others_or_damaged(name: str, tmp_path: Path) -> None:
    keys_of(tmp_path)
    path = tmp_path / name
    path.chmod(0o644)
    done = call("--keys-of", "demo", "--pki-dir", str(tmp_path))
    assert done.returncode == 2 and f"{path}: " in done.stderr.decode()
    assert "chmod 600 it" in done.stderr.decode()
    path.chmod(0o600)
    path.write_text("short")
    done = call("--keys-of", "demo", "--pki-dir", str(tmp_path))
    assert done.returncode == 2 and "damaged" in done.stderr.decode()
    assert path.read_text() == "short"


def test_what_serving_needs(tmp_path: Path) -> None:
    done = call("--pki-dir", str(tmp_path))
    assert done.returncode == 2
    assert b"arguments are required: --config, --state-dir, --local-root" in done.stderr
