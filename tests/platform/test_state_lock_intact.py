"""Whoever holds a state directory's lock can tell that the directory is not its own any more."""

import shutil
from pathlib import Path

from iris_platform.state_lock import StateLock


def test_a_lock_is_intact_until_its_directory_is_removed(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    with StateLock(state_dir) as lock:
        assert lock.is_intact()
        shutil.rmtree(state_dir)
        assert not lock.is_intact()
        with StateLock(state_dir):
            assert not lock.is_intact()
