"""What the controller must not forget: the store, and in `--pki-dir` its key and its mirror.

Opens the store. Makes the epoch of this start (DESIGN 3) and keeps the mirror of the commit
number ahead of the store, so that a store that was lost or restored is noticed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from iris_controller.codec.rows import RowWrite
from iris_controller.core.entities import Row
from iris_controller.shell.cipher import Cipher
from iris_controller.shell.history import History
from iris_controller.shell.store import Store, StoreError
from iris_platform.identity import Mirror, read_mirror, write_mirror
from iris_platform.store_key import STORE_KEY_FILE, load_store_key, make_store_key

# Commits between two writes of the mirror.
COMMIT_BLOCK = 10_000
# Beside the mirror: the number of the last commit. Not synced, so that it costs next
# to nothing; a copy that is restored while the machine stays up is noticed by it.
LAST_COMMIT_FILE = "commit"
LAST_COMMIT_WIDTH = 20


def open_store(path: Path, pki_dir: Path, cluster_id: str, randomness: Callable[[int], bytes]) -> Store:
    """The cluster's store, new or as it was, with its key; `randomness` gives so many bytes.

    The key is made for a store that has had none, and never in place of one that is lost.

    Raises:
        StoreError: it cannot be used with what is in `pki_dir`.
        IdentityError: the key cannot be used or made.
    """
    store = Store(path)
    store.open()
    try:
        store.claim(cluster_id)
        store.unlock(_cipher_for(store, pki_dir, randomness))
    except BaseException:
        store.close()
        raise
    return store


def _cipher_for(store: Store, pki_dir: Path, randomness: Callable[[int], bytes]) -> Cipher:
    path = pki_dir / STORE_KEY_FILE
    key = load_store_key(pki_dir)
    if key is None and store.key_id:
        raise StoreError(
            f"{path}: missing, and {store.path} is encrypted with it; restore it from a backup, "
            "or move the state directory away to start anew"
        )
    cipher = Cipher(key or make_store_key(pki_dir, randomness), randomness)
    if store.key_id not in ("", cipher.key_id):
        raise StoreError(
            f"{path}: is not the key that {store.path} is encrypted with; restore that one from a backup"
        )
    return cipher


class Memory:
    """The store with its mirror. Blocks; belongs to the store thread after `begin`."""

    block = COMMIT_BLOCK

    def __init__(self, store: Store, pki_dir: Path) -> None:
        self._store = store
        self._pki_dir = pki_dir
        self._mirror = Mirror(0, 0)
        self._last_commit_fd: int | None = None
        # Why the store is not the one that was written last; empty when it is, and
        # once a commit has put that on record.
        self.incomplete = ""

    def begin(self, wall_ms: int, highest_seen: int) -> int:
        """Commits the epoch of this start, larger than any before, and returns it.

        `highest_seen` is the highest in any slice's name.
        """
        mirrored = self._read_mirror() or Mirror(0, 0)
        self.incomplete = self._compare(mirrored)
        epoch = max(wall_ms, self._store.get_meta("epoch"), mirrored.epoch, highest_seen) + 1
        if self.incomplete:
            self._store.set_meta("behind", 1)
        # The store first: one that is behind its mirror is one that was lost or restored.
        self._store.set_meta("epoch", epoch)
        self._write_ahead(epoch, max(mirrored.commit, self._store.commit_number + self.block))
        self._note_commit(self._store.commit_number)
        return epoch

    def _compare(self, mirrored: Mirror) -> str:
        found, commits = self._store.get_meta("epoch"), self._store.commit_number
        if self._store.get_meta("behind"):
            return "an earlier start found that the store is not the last one, and did not live to record it"
        if found == 0 and mirrored.epoch > 0:
            return "the store is new, and this cluster is not"
        if found < mirrored.epoch:
            return f"the store is of an earlier start ({found}) than the last ({mirrored.epoch})"
        if commits < mirrored.commit - self.block:
            return f"the store has {commits} commits, and more than {mirrored.commit - self.block} were made"
        if commits < (last := self._last_commit()):
            return f"the store has {commits} commits, and {last} were made"
        return ""

    def _last_commit(self) -> int:
        """The number of the last commit, as far as it reached the disk; 0 where that is not known."""
        try:
            text = (self._pki_dir / LAST_COMMIT_FILE).read_bytes()[:LAST_COMMIT_WIDTH]
        except OSError:
            return 0
        return int(text) if text.strip().isdigit() else 0

    def _note_commit(self, number: int) -> None:
        if self._last_commit_fd is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
            self._last_commit_fd = os.open(self._pki_dir / LAST_COMMIT_FILE, flags, 0o600)
        # What it says too little is what agents' Hellos are for.
        with suppress(OSError):
            os.pwrite(self._last_commit_fd, b"%*d" % (LAST_COMMIT_WIDTH, number), 0)

    def _write_ahead(self, epoch: int, commit: int) -> None:
        self._write_mirror(Mirror(epoch, commit))
        self._mirror = Mirror(epoch, commit)

    def _read_mirror(self) -> Mirror | None:
        return read_mirror(self._pki_dir)

    def _write_mirror(self, mirror: Mirror) -> None:
        write_mirror(self._pki_dir, mirror)

    def load(self) -> list[Row]:
        """Every row of the store but history."""
        return self._store.load()

    def history(self) -> History:
        """What `load` leaves out."""
        return self._store.history()

    @property
    def commit_number(self) -> int:
        """The number of the last commit."""
        return self._store.commit_number

    def probe(self) -> None:
        """Writes durably what is there already.

        Raises:
            sqlite3.Error: the store cannot be written.
        """
        self._store.set_meta("epoch", self._mirror.epoch)

    def commit(self, writes: Iterable[RowWrite], above: int = 0) -> int:
        """Commits a batch durably; returns its commit number, which is more than `above`.

        Raises:
            sqlite3.Error: nothing of the batch is in the store.
            OSError: the mirror could not be written; likewise.
        """
        number = max(self._store.commit_number, above) + 1
        if number > self._mirror.commit:
            self._write_ahead(self._mirror.epoch, number + self.block)
        number = self._store.commit(writes, number)
        self._note_commit(number)
        if self.incomplete:
            # The first batch has it, so it is on record.
            self._store.set_meta("behind", 0)
            self.incomplete = ""
        return number

    def close(self) -> None:
        """Closes the store."""
        self._store.close()
        if self._last_commit_fd is not None:
            os.close(self._last_commit_fd)
            self._last_commit_fd = None
