"""The store's key: made once, whole or not at all, for its owner alone."""

import os
import threading
from functools import partial
from pathlib import Path

import pytest

from iris_platform.identity import IdentityError
from iris_platform.store_key import load_store_key, make_store_key
from tests.platform.world import DIED, dying_at, in_child, is_step


def test_a_key_is_made_once_of_the_randomness_that_is_given(tmp_path: Path) -> None:
    pki = tmp_path / "iris-pki" / "demo"
    assert load_store_key(pki) is None
    assert make_store_key(pki, lambda size: bytes(range(size))) == bytes(range(32))
    assert make_store_key(pki, os.urandom) == load_store_key(pki) == bytes(range(32))
    (path,) = pki.iterdir()
    assert (path.name, path.stat().st_mode & 0o777, pki.stat().st_mode & 0o777) == ("store.key", 0o600, 0o700)


def test_starters_at_one_time_agree(tmp_path: Path) -> None:
    found: list[bytes] = []
    gate = threading.Barrier(8)

    def start() -> None:
        gate.wait()
        found.append(make_store_key(tmp_path / "pki", os.urandom))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(found), len(set(found))) == (8, 1)


def test_making_it_may_die_anywhere(tmp_path: Path) -> None:
    for nth in range(1, 20):
        pki = tmp_path / str(nth)
        make = partial(make_store_key, pki, os.urandom)
        status = in_child(partial(dying_at, is_step, nth, make))
        assert make() == load_store_key(pki)
        if status == 0:
            break
        assert status == DIED
    assert 3 < nth < 19


@pytest.mark.parametrize(
    ("content", "bits", "message"),
    [
        (b"0" * 64, 0o644, r"open to others \(mode 0644\); chmod 600 it"),
        (b"0" * 64, 0o640, r"open to others \(mode 0640\); chmod 600 it"),
        (b"", 0o600, "damaged; restore it from a backup"),
        (b"0" * 62 + b"\n", 0o600, "damaged; restore it from a backup"),
        (b"0" * 66 + b"\n", 0o600, "damaged; restore it from a backup"),
        (b"x" * 64, 0o600, "damaged; restore it from a backup"),
        (b"\xff" * 64, 0o600, "damaged; restore it from a backup"),
    ],
)
def test_keys_that_cannot_be_used_are_left_as_they_are(
    tmp_path: Path, content: bytes, bits: int, message: str
) -> None:
    path = tmp_path / "store.key"
    path.write_bytes(content)
    path.chmod(bits)
    for use in (partial(load_store_key, tmp_path), partial(make_store_key, tmp_path, os.urandom)):
        with pytest.raises(IdentityError, match=f"^{path}: the store's key is {message}$"):
            use()
    assert path.read_bytes() == content


def test_a_directory_that_cannot_be_made() -> None:
    with pytest.raises(IdentityError, match="cannot make the store's key"):
        make_store_key(Path("/proc/iris"), os.urandom)
