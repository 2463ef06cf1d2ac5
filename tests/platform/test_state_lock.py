"""One owner for a state directory, on a local disk."""

import os
import signal
from pathlib import Path

import pytest

from iris_platform.file_lock import hold
from iris_platform.state_lock import (
    Holder,
    StateDirError,
    StateLock,
    StateLocked,
    file_system_type,
    read_holder,
    refuse_network_file_system,
)
from tests.platform.world import in_child

MOUNTS = r"""/dev/vda / ext4 rw 0 0
proc /proc proc rw 0 0
server:/users /users nfs4 rw 0 0
/dev/vdb /users/ada/disk ext4 rw 0 0
auto /data autofs rw 0 0
//server/data /data cifs rw 0 0
host:/x /mnt/with\040space fuse.sshfs rw 0 0
odd
"""


def test_a_second_owner_is_refused_by_name(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with StateLock(state):
        with pytest.raises(StateLocked) as caught:
            StateLock(state, role="cluster stop")
        assert caught.value.pid == os.getpid()
        assert str(caught.value) == f"{state}: in use by process {os.getpid()} (controller)"
        holder = read_holder(state)
        assert holder is not None
        assert (holder.pid, holder.role) == (os.getpid(), "controller")
    assert read_holder(state) is None
    assert state.stat().st_mode & 0o777 == 0o700


def test_released_it_can_be_taken_again(tmp_path: Path) -> None:
    lock = StateLock(tmp_path)
    lock.release()
    lock.release()
    with StateLock(tmp_path, role="cluster stop"):
        holder = read_holder(tmp_path)
    assert isinstance(holder, Holder)
    assert holder.role == "cluster stop"


def test_it_goes_with_its_process(tmp_path: Path) -> None:
    def die_with_it() -> None:
        StateLock(tmp_path)
        os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(die_with_it) == -signal.SIGKILL
    assert read_holder(tmp_path) is None
    StateLock(tmp_path).release()


def test_a_holder_that_does_not_say_who_it_is(tmp_path: Path) -> None:
    with StateLock(tmp_path):
        (tmp_path / "lock").write_text("{")
        with pytest.raises(StateLocked, match="in use by another process"):
            StateLock(tmp_path)


def test_directories_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateDirError, match="cannot use it: File exists"):
        StateLock(tmp_path / "file")
    with pytest.raises(StateDirError, match="cannot use it: "):
        StateLock(Path("/proc/iris"))


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/iris", "ext4"),
        ("/users/ada/state", "nfs4"),
        ("/users/ada/disk/state", "ext4"),
        ("/usersmith", "ext4"),
        ("/data/iris", "cifs"),
        ("/mnt/with space/iris", "fuse.sshfs"),
    ],
)
def test_which_file_system_holds_a_path(path: str, kind: str) -> None:
    assert file_system_type(Path(path), MOUNTS) == kind


@pytest.mark.parametrize("path", ["/users/ada/state", "/data/iris", "/mnt/with space/iris"])
def test_network_file_systems_are_refused(path: str) -> None:
    with pytest.raises(StateDirError, match=rf"^{path}: is on a network file system \("):
        refuse_network_file_system(Path(path), MOUNTS)


def test_a_local_disk_is_not(tmp_path: Path) -> None:
    refuse_network_file_system(tmp_path)


def test_a_lock_file_that_is_held(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with hold(path, 1), pytest.raises(TimeoutError, match="held by another"), hold(path, 0.05):
        pass
    with hold(path, 1):
        path.unlink()
        # Who waited for the old file does not share it with who made a new one.
        with hold(path, 1):
            pass
