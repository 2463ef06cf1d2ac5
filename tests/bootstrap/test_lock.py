"""One agent to a host: who has the lock, and who waits for whom."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from iris_bootstrap.keeper.lock import AlreadyRunning, lock_as_cleaner, lock_as_keeper

HOLD = "import sys; from pathlib import Path; from iris_bootstrap.keeper import lock\n{take}; print(flush=True); input()"


class Holder:
    """Another process that has the lock."""

    def __init__(self, host_dir: Path, take: str) -> None:
        code = HOLD.format(take=take.format(f"Path({str(host_dir)!r})"))
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.process.stdout.readline()

    def close(self) -> None:
        self.process.communicate("\n", timeout=20)


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Holder]:
    holder = Holder(tmp_path, "lock.lock_as_keeper({})")
    yield holder
    holder.close()


def test_second_keeper_is_refused(keeper: Holder, tmp_path: Path) -> None:
    with pytest.raises(AlreadyRunning, match=str(tmp_path)):
        lock_as_keeper(tmp_path)


def test_cleaner_gives_way_to_a_new_keeper(keeper: Holder, tmp_path: Path) -> None:
    assert lock_as_cleaner(tmp_path, dead_keeper=1) is None


def test_cleaner_waits_for_the_keeper_that_is_dying(keeper: Holder, tmp_path: Path) -> None:
    found: list[int | None] = []
    waiter = threading.Thread(target=lambda: found.append(lock_as_cleaner(tmp_path, keeper.process.pid)))
    waiter.start()
    keeper.process.kill()
    waiter.join(20)
    assert found[0] is not None
    os.close(found[0])


def test_new_keeper_waits_for_the_cleaner(tmp_path: Path) -> None:
    cleaner = Holder(tmp_path, "lock.lock_as_cleaner({}, 1)")
    found: list[int] = []
    waiter = threading.Thread(target=lambda: found.append(lock_as_keeper(tmp_path)))
    waiter.start()
    cleaner.close()
    waiter.join(20)
    assert found
    os.close(found[0])


def test_keeper_after_one_that_was_killed(keeper: Holder, tmp_path: Path) -> None:
    keeper.process.kill()
    os.close(lock_as_keeper(tmp_path))
