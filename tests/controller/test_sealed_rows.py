"""Sealed columns: only with the key, only in their own row, and never in the clear."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from iris_controller.codec.rows import TABLES, RowWrite, writes
from iris_controller.codec.wire import job_spec_to_proto
from iris_controller.core.entities import Job, Task
from iris_controller.core.values import TaskId
from iris_controller.core.world import Changes
from iris_controller.shell.cipher import Cipher, NotSealed
from iris_controller.shell.memory import open_store
from iris_controller.shell.store import Store, StoreError
from iris_platform.identity import IdentityError
from tests.controller.agents import spec
from tests.controller.stores import CIPHER, KEY, counting, go_back, opened
from tests.controller.worlds import CLUSTER_ID

SECRET = b"hunter2-correct-horse"
SPEC = replace(spec(), env={"TOKEN": SECRET.decode()})


def jobs(*names: str) -> list[RowWrite]:
    return writes({("job", name): Job(name, f"r-{name}", SPEC, 1, 1) for name in names})


def bytes_of(store: Store) -> dict[str, bytes]:
    return dict(store.db.execute("SELECT job_id, spec FROM jobs").fetchall())


def files(home: Path) -> bytes:
    return b"".join(path.read_bytes() for path in home.iterdir() if path.is_file())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "iris.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    made = opened(path)
    made.commit(jobs("j1", "j2"))
    yield made
    made.close()


def test_what_is_sealed_is_a_column_of_bytes_and_no_key() -> None:
    assert {table.name: table.sealed for table in TABLES.values() if table.sealed} == {"jobs": "spec"}


def test_it_is_aes_gcm_about_one_row(store: Store) -> None:
    for name, sealed in bytes_of(store).items():
        about = f'["jobs", "spec", "{name}"]'.encode()
        plain = AESGCM(KEY).decrypt(sealed[:12], sealed[12:], about)
        assert plain == job_spec_to_proto(SPEC).SerializeToString(deterministic=True)


def test_the_same_twice_is_not_the_same_on_the_disk(store: Store) -> None:
    first = bytes_of(store)["j1"]
    store.commit(jobs("j1"))
    again = bytes_of(store)["j1"]
    assert first[:12] != again[:12] and first[12:] != again[12:]


def test_randomness_that_is_known_gives_bytes_that_are_known() -> None:
    sealed = [Cipher(KEY, counting()).seal(b"value", b"about") for _ in range(2)]
    assert sealed[0] == sealed[1]
    assert sealed[0].hex() == "00000000000000000000000163b7d3892113da6eebfc460b1ae4bc76b6c5c3105e"


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE jobs SET spec = (SELECT spec FROM jobs WHERE job_id = 'j1') WHERE job_id = 'j2'",
        "UPDATE jobs SET spec = substr(spec, 1, length(spec) - 1) WHERE job_id = 'j2'",
        "UPDATE jobs SET spec = substr(spec, 1, 11) WHERE job_id = 'j2'",
        "UPDATE jobs SET spec = substr(spec, 1, 12) WHERE job_id = 'j2'",
        "UPDATE jobs SET spec = x'' WHERE job_id = 'j2'",
        "UPDATE jobs SET spec = 'text' WHERE job_id = 'j2'",
        "UPDATE jobs SET spec = 7 WHERE job_id = 'j2'",
        "UPDATE jobs SET spec = zeroblob(200) WHERE job_id = 'j2'",
        "DELETE FROM jobs WHERE job_id = 'j1'; UPDATE jobs SET job_id = 'j1'",
    ],
)
def test_a_row_that_is_not_what_was_written_is_named_and_left_alone(
    store: Store, path: Path, damage: str
) -> None:
    store.db.executescript(damage)
    there = bytes_of(store)
    name = "j2" if "j2" in there else "j1"
    with pytest.raises(StoreError) as raised:
        store.load()
    assert str(raised.value) == (
        f"{path}: the row of {name} in jobs is damaged or was moved: it cannot be decrypted;"
        " restore the state directory from a backup"
    )
    assert bytes_of(store) == there


def test_a_bit_that_flips_anywhere_is_noticed() -> None:
    sealed = CIPHER.seal(b"value", b"about")
    assert CIPHER.unseal(sealed, b"about") == b"value"
    for at in range(len(sealed)):
        wrong = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        with pytest.raises(NotSealed):
            CIPHER.unseal(wrong, b"about")


def test_without_its_key_a_store_takes_and_gives_no_secret(store: Store, path: Path) -> None:
    locked = Store(path)
    locked.open()
    for attempt in (locked.load, lambda: locked.commit(jobs("j3"))):
        with pytest.raises(StoreError, match="has not been given its key"):
            attempt()
    assert bytes_of(locked).keys() == {"j1", "j2"}
    locked.close()


def test_tasks_are_not_sealed(path: Path) -> None:
    store = Store(path)
    store.open()
    tasks: Changes = {("task", TaskId("j", index)): Task(TaskId("j", index)) for index in range(3)}
    store.commit(writes(tasks))
    store.close()


class TestOpening:
    """`open_store`: which key, and when one is made."""

    def open(self, home: Path) -> Store:
        (home / "state").mkdir(exist_ok=True)
        return open_store(home / "state" / "iris.db", home / "pki", CLUSTER_ID, counting())

    def test_the_first_start_makes_the_key_and_the_next_ones_use_it(self, tmp_path: Path) -> None:
        first = self.open(tmp_path)
        first.commit(jobs("j1"))
        first.close()
        key = (tmp_path / "pki" / "store.key").read_bytes()
        again = self.open(tmp_path)
        assert [row.spec for row in again.load() if isinstance(row, Job)] == [SPEC]
        assert (tmp_path / "pki" / "store.key").read_bytes() == key
        again.close()

    def test_a_start_that_dies_between_key_and_store_is_completed(self, tmp_path: Path) -> None:
        self.open(tmp_path).close()
        key = (tmp_path / "pki" / "store.key").read_bytes()
        for path in (tmp_path / "state").iterdir():
            path.unlink()
        store = self.open(tmp_path)
        assert (tmp_path / "pki" / "store.key").read_bytes() == key and store.key_id
        store.close()

    def test_no_key_is_made_where_one_is_missing_although_no_job_is_there(self, tmp_path: Path) -> None:
        self.open(tmp_path).close()
        (tmp_path / "pki" / "store.key").unlink()
        with pytest.raises(StoreError, match=r"store\.key: missing, and .*iris\.db is encrypted with it"):
            self.open(tmp_path)
        assert not (tmp_path / "pki" / "store.key").exists()

    def test_a_store_of_another_cluster_makes_no_key(self, tmp_path: Path) -> None:
        (tmp_path / "state").mkdir()
        store = opened(tmp_path / "state" / "iris.db")
        store.claim("zzzzzzzzzz")
        store.close()
        with pytest.raises(StoreError, match="belongs to cluster zzzzzzzzzz"):
            self.open(tmp_path)
        assert not (tmp_path / "pki").exists()

    def test_a_pki_directory_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "pki").write_text("")
        with pytest.raises(IdentityError, match="cannot read the store's key: Not a directory"):
            self.open(tmp_path)


class TestMigration:
    """A store that was written before there was a key."""

    def before(self, path: Path) -> None:
        store = opened(path)
        store.commit(jobs(*(f"j{number}" for number in range(100))))
        store.close()
        go_back(path)
        assert SECRET in files(path.parent)

    def test_it_is_sealed_at_the_next_start_with_nothing_left_behind(self, path: Path) -> None:
        self.before(path)
        store = opened(path)
        assert SECRET not in files(path.parent)
        assert [row.spec for row in store.load() if isinstance(row, Job)] == [SPEC] * 100
        store.close()
        assert SECRET not in files(path.parent)

    def test_a_start_that_dies_before_it_has_tidied_leaves_it_to_the_next(self, path: Path) -> None:
        class Dying(Store):
            def _tidy(self) -> None:
                raise sqlite3.OperationalError("killed")

        self.before(path)
        dying = Dying(path)
        dying.open()
        with pytest.raises(StoreError, match="killed"):
            dying.unlock(CIPHER)
        dying.close()
        store = opened(path)
        assert SECRET not in files(path.parent)
        assert len(store.load()) == 100
        store.close()
