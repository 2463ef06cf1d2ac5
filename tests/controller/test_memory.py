"""What a controller must not forget: the epoch rises whatever is lost, and lost commits are noticed."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from iris_controller.shell.memory import COMMIT_BLOCK, Memory
from iris_controller.shell.store import Store
from iris_platform.identity import IdentityError, Mirror, read_mirror, write_mirror
from tests.controller.stores import opened

WALL_MS = 1_700_000_000_000


@contextmanager
def memory(home: Path) -> Iterator[Memory]:
    """The memory of one start, in `home/state` and `home/pki`."""
    (home / "state").mkdir(exist_ok=True)
    store = opened(home / "state" / "iris.db")
    yield Memory(store, home / "pki")
    store.close()


def start(home: Path, wall_ms: int = WALL_MS, highest_seen: int = 0) -> int:
    """One start of a controller; returns its epoch."""
    with memory(home) as it:
        return it.begin(wall_ms, highest_seen)


def test_the_first_epoch_is_later_than_the_wall_clock(tmp_path: Path) -> None:
    assert start(tmp_path) == WALL_MS + 1


@pytest.mark.parametrize("wall_ms", [WALL_MS, WALL_MS - 10**9, 0, WALL_MS + 10**9])
def test_it_rises_at_every_start_whatever_the_clock_says(tmp_path: Path, wall_ms: int) -> None:
    epochs = [start(tmp_path, ms) for ms in (WALL_MS, wall_ms, wall_ms, WALL_MS)]
    assert epochs == sorted(set(epochs))


def test_it_rises_although_the_store_was_lost(tmp_path: Path) -> None:
    first = start(tmp_path)
    shutil.rmtree(tmp_path / "state")
    assert start(tmp_path, wall_ms=0) == first + 1


def test_it_rises_although_the_mirror_was_lost(tmp_path: Path) -> None:
    first = start(tmp_path)
    shutil.rmtree(tmp_path / "pki")
    assert start(tmp_path, wall_ms=0) == first + 1


def test_a_mirror_that_is_ahead_wins(tmp_path: Path) -> None:
    start(tmp_path)
    write_mirror(tmp_path / "pki", Mirror(WALL_MS * 2, 7))
    assert start(tmp_path) == WALL_MS * 2 + 1


def test_a_slice_of_a_later_epoch_wins(tmp_path: Path) -> None:
    assert start(tmp_path, highest_seen=WALL_MS * 3) == WALL_MS * 3 + 1


def test_the_mirror_knows_the_epoch_before_anybody_is_told(tmp_path: Path) -> None:
    epoch = start(tmp_path)
    assert read_mirror(tmp_path / "pki") == Mirror(epoch, COMMIT_BLOCK)


def test_a_mirror_that_cannot_be_read_is_no_start(tmp_path: Path) -> None:
    start(tmp_path)
    (tmp_path / "pki" / "mirror.json").write_text("{")
    with pytest.raises(IdentityError, match="mirror"):
        start(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = opened(tmp_path / "iris.db")
    yield store
    store.close()


def test_the_mirror_is_never_behind_the_store(tmp_path: Path, store: Store) -> None:
    it = Memory(store, tmp_path / "pki")
    epoch = it.begin(WALL_MS, 0)
    mirrors: list[Mirror | None] = []
    for above in (COMMIT_BLOCK - 1, 0, 0):
        it.commit([], above)
        mirrors.append(read_mirror(tmp_path / "pki"))
    ahead = Mirror(epoch, 2 * COMMIT_BLOCK + 1)
    assert (it.commit_number, mirrors) == (COMMIT_BLOCK + 2, [Mirror(epoch, COMMIT_BLOCK), ahead, ahead])


def test_a_mirror_that_cannot_be_written_commits_nothing(tmp_path: Path, store: Store) -> None:
    it = Memory(store, tmp_path / "pki")
    it.begin(WALL_MS, 0)
    it.commit([], COMMIT_BLOCK - 1)
    shutil.rmtree(tmp_path / "pki")
    (tmp_path / "pki").write_text("a file where a directory should be")
    with pytest.raises(OSError, match="pki"):
        it.commit([])
    (tmp_path / "pki").unlink()
    assert it.commit([]) == COMMIT_BLOCK + 1


class TestIncomplete:
    """B45, B47: a store that is not the one that was written last."""

    def begin(self, tmp_path: Path) -> Memory:
        (tmp_path / "state").mkdir(exist_ok=True)
        store = opened(tmp_path / "state" / "iris.db")
        it = Memory(store, tmp_path / "pki")
        it.begin(WALL_MS, 0)
        return it

    def test_the_first_start_and_a_plain_restart_are_complete(self, tmp_path: Path) -> None:
        for _ in range(3):
            it = self.begin(tmp_path)
            it.commit([])
            assert it.incomplete == ""
            it.close()

    def test_b45_a_store_that_is_new_where_there_was_one(self, tmp_path: Path) -> None:
        self.begin(tmp_path).close()
        shutil.rmtree(tmp_path / "state")
        assert self.begin(tmp_path).incomplete == "the store is new, and this cluster is not"

    def test_b47_a_copy_from_before_the_last_start(self, tmp_path: Path) -> None:
        self.begin(tmp_path).close()
        shutil.copytree(tmp_path / "state", tmp_path / "copy")
        self.begin(tmp_path).close()
        shutil.rmtree(tmp_path / "state")
        (tmp_path / "copy").rename(tmp_path / "state")
        assert "of an earlier start" in self.begin(tmp_path).incomplete

    def test_b47_a_copy_from_a_commit_ago_in_the_same_start(self, tmp_path: Path) -> None:
        it = self.begin(tmp_path)
        it.commit([])
        it.close()
        shutil.copytree(tmp_path / "state", tmp_path / "copy")
        store = opened(tmp_path / "state" / "iris.db")
        (tmp_path / "pki" / "commit").write_bytes(b"%20d" % 2)
        store.close()
        assert self.begin(tmp_path).incomplete == "the store has 1 commits, and 2 were made"

    @pytest.mark.parametrize("text", [b"", b"torn\0\0", b"-1", b"1"])
    def test_a_number_that_says_nothing_is_no_loss(self, tmp_path: Path, text: bytes) -> None:
        it = self.begin(tmp_path)
        it.commit([])
        it.close()
        (tmp_path / "pki" / "commit").write_bytes(text)
        assert self.begin(tmp_path).incomplete == ""

    def test_b47_a_copy_from_long_ago_in_the_same_start(self, tmp_path: Path) -> None:
        it = self.begin(tmp_path)
        it.commit([])
        it.close()
        shutil.copytree(tmp_path / "state", tmp_path / "copy")
        store = opened(tmp_path / "state" / "iris.db")
        mirror = read_mirror(tmp_path / "pki")
        assert mirror is not None
        write_mirror(tmp_path / "pki", Mirror(mirror.epoch, 3 * COMMIT_BLOCK))
        store.close()
        assert "the store has 1 commits" in self.begin(tmp_path).incomplete

    def test_a_start_that_dies_before_it_is_on_record_leaves_it_to_the_next(self, tmp_path: Path) -> None:
        self.begin(tmp_path).close()
        shutil.rmtree(tmp_path / "state")
        self.begin(tmp_path).close()
        it = self.begin(tmp_path)
        assert "did not live to record it" in it.incomplete
        it.commit([])
        assert it.incomplete == ""
        it.close()
        assert self.begin(tmp_path).incomplete == ""


def test_a_store_that_was_lost_does_not_lower_the_mirror(tmp_path: Path) -> None:
    start(tmp_path)
    write_mirror(tmp_path / "pki", Mirror(WALL_MS, 5 * COMMIT_BLOCK))
    shutil.rmtree(tmp_path / "state")
    epoch = start(tmp_path)
    assert read_mirror(tmp_path / "pki") == Mirror(epoch, 5 * COMMIT_BLOCK)
