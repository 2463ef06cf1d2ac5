"""The local controller from the outside: start, find, stop."""

import contextlib
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from iris_platform import ClusterPaths, processes
from iris_platform.base import Refused, StartFailed, Unreachable, VmState
from iris_platform.controller_file import (
    ControllerFileError,
    ControllerRecord,
    read_controller_file,
    write_controller_file,
)
from iris_platform.controller_vm import (
    ControllerState,
    ControllerStatus,
    LocalController,
    StateTaken,
    find_controller,
    find_controllers,
)
from iris_platform.launch import ProcessId, end_processes, start_detached
from iris_platform.state_lock import StateDirError, StateLock
from tests.platform.world import LocalWorld

pytestmark = pytest.mark.contract

STAND_IN = Path(__file__).parent.parent / "stand_in_controller.py"


def serves(record: ControllerRecord) -> bool:
    return True


def is_silent(record: ControllerRecord) -> bool:
    return False


class Home:
    """A cluster's places, and controllers on them."""

    def __init__(self, home: Path) -> None:
        self.world = LocalWorld(home)
        self.paths = self.world.paths

    def controller(
        self,
        fault: str = "",
        probe: Callable[[ControllerRecord], bool] = serves,
        *,
        start_s: float = 20.0,
        stop_s: float = 10.0,
    ) -> LocalController:
        command = [sys.executable, "-I", "-S", str(STAND_IN), *([fault] if fault else [])]
        return LocalController(self.paths, probe, command, start_s=start_s, stop_s=stop_s)

    def running(self) -> list[int]:
        """Every stand-in on these places, seen past the platform."""
        found = []
        for pid in processes.parents():
            with contextlib.suppress(OSError):
                arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if os.fsencode(self.paths.state_dir) in arguments:
                    found.append(pid)
        return found


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """Places without a controller; none is left running."""
    made = Home(tmp_path)
    yield made
    made.world.kill(*made.running())


def test_start_find_stop(home: Home) -> None:
    controller = home.controller()
    assert controller.discover() is None
    assert controller.status() == ControllerStatus(ControllerState.ABSENT)
    started = controller.start('{"name": "demo"}')
    record = read_controller_file(home.paths.controller_file)
    assert record is not None and controller.discover() == started
    status = ControllerStatus(ControllerState.SERVING, record.pid, record.address)
    assert controller.status() == status
    assert home.running() == [record.pid]
    assert home.paths.config_file.read_text() == '{"name": "demo"}'
    assert home.paths.config_file.stat().st_mode & 0o777 == 0o600
    assert controller.stop()
    assert home.running() == []
    assert controller.discover() is None
    assert not controller.stop()


def test_it_outlives_its_starter_and_leaves_no_zombie(home: Home) -> None:
    record = home.controller().start("{}")
    assert processes.parents()[record.pid] != os.getpid()
    assert os.getsid(record.pid) != os.getsid(0)
    assert Path(f"/proc/{record.pid}/cwd").readlink() == Path("/")
    assert Path(f"/proc/{record.pid}/fd/0").readlink() == Path("/dev/null")
    home.world.kill(record.pid)
    # Init collects it, in its own time.
    assert processes.wait_until(lambda: not Path(f"/proc/{record.pid}").exists(), timeout_s=10)


def test_started_twice_it_is_the_same(home: Home) -> None:
    record = home.controller().start("first")
    assert home.controller().start("second") == record
    assert home.paths.config_file.read_text() == "first"
    assert home.running() == [record.pid]


def test_started_by_several_at_once_it_is_one(home: Home) -> None:
    found: list[ControllerStatus] = []
    threads = [threading.Thread(target=lambda: found.append(home.controller().start("{}"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert len(set(found)) == 1
    assert len(home.running()) == 1


def test_started_again_after_it_was_killed(home: Home) -> None:
    first = home.controller().start("{}")
    home.world.kill(first.pid)
    assert home.controller().status() == ControllerStatus(ControllerState.ABSENT)
    second = home.controller().start("{}")
    assert second.pid != first.pid
    assert home.running() == [second.pid]


@pytest.mark.parametrize("probe", [is_silent, serves])
def test_a_start_that_is_interrupted(home: Home, probe: Callable[[ControllerRecord], bool]) -> None:
    """It leaves one that serves, or none."""
    asked: list[ControllerRecord] = []

    def interrupts_once(record: ControllerRecord) -> bool:
        if not asked:
            asked.append(record)
            raise KeyboardInterrupt
        return probe(record)

    with pytest.raises(KeyboardInterrupt):
        home.controller(probe=interrupts_once).start("{}")
    assert len(home.running()) == (probe is serves)


def test_an_interrupt_while_it_is_made_comes_when_it_is_known(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def interrupted(*arguments: Any) -> ProcessId | None:
        signal.raise_signal(signal.SIGINT)
        made.append(start_detached(*arguments))
        return made[0]

    monkeypatch.setattr("iris_platform.controller_vm.local.start_detached", interrupted)
    with pytest.raises(KeyboardInterrupt):
        home.controller(probe=is_silent).start("{}")
    assert made[0] is not None and home.running() == []


def test_who_starts_it_is_told_once(home: Home) -> None:
    told: list[str] = []
    for name in ("first", "second"):
        home.controller().start("{}", lambda name=name: told.append(name))  # type: ignore[misc]
    assert told == ["first"]


def test_one_that_ends_at_once(home: Home) -> None:
    home.paths.state_dir.mkdir()
    home.paths.controller_log.write_text("of an earlier start\n")
    log = home.paths.controller_log
    with pytest.raises(StartFailed) as caught:
        home.controller("fail").start("{}")
    assert str(caught.value) == (
        f"the controller ended; the end of {log}:\nconfig: {{}}\nno space left on device"
    )
    assert home.running() == []


def test_one_that_never_serves(home: Home) -> None:
    with pytest.raises(StartFailed, match=r"did not answer within 0\.3 s; the end of .*:\nconfig"):
        home.controller(probe=is_silent, start_s=0.3).start("{}")
    assert home.running() == []


def test_one_that_never_says_where_it_is(home: Home) -> None:
    with pytest.raises(StartFailed, match=r"did not answer within 0\.3 s"):
        home.controller("lost", start_s=0.3).start("{}")
    assert home.running() == []


def test_one_that_runs_but_does_not_answer_is_left_alone(home: Home) -> None:
    record = home.controller().start("{}")
    hung = home.controller(probe=is_silent, start_s=0.2)
    with pytest.raises(StartFailed, match=rf"runs already \(process {record.pid}\) but did not answer"):
        hung.start("{}")
    assert home.running() == [record.pid]
    assert hung.status() == ControllerStatus(ControllerState.UNRESPONSIVE, record.pid, record.address)


def test_a_state_directory_that_somebody_holds(home: Home) -> None:
    with StateLock(home.paths.state_dir, role="cluster stop"):
        with pytest.raises(StateTaken, match=r"in use by process \d+ \(cluster stop\)"):
            home.controller().start("{}")
        assert not home.paths.config_file.exists()
        # One that does not say what it is was only seen by the controller itself.
        os.truncate(home.paths.state_dir / "lock", 0)
        with pytest.raises(StartFailed, match=r"the controller ended; (.|\n)*in use by another process"):
            home.controller().start("{}")
        # Whoever holds it is no controller, and is not to be stopped as one.
        assert find_controller(home.paths) is None
        assert not home.controller().stop()


def test_a_network_file_system(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iris_platform.state_lock.read_mounts", lambda: "server:/x / nfs4 rw 0 0\n")
    with pytest.raises(StateDirError, match=r"is on a network file system \(nfs4\)"):
        home.controller().start("{}")
    assert os.listdir(home.paths.state_dir) == []


def test_no_executable(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", str(home.world.home / "python"))
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Refused, match="iris-controller is neither beside this Python nor on PATH"):
        LocalController(home.paths, serves).start("{}")


def test_an_executable_that_is_not_there(home: Home) -> None:
    controller = LocalController(home.paths, serves, [str(home.world.home / "missing")], start_s=5)
    with pytest.raises(StartFailed, match=r"the controller ended; (.|\n)*No such file"):
        controller.start("{}")


def test_a_stubborn_one_is_killed(home: Home) -> None:
    record = home.controller("stubborn").start("{}")
    assert home.controller(stop_s=0.2).stop()
    assert home.running() == []
    assert not home.paths.controller_file.exists()
    assert processes.start_time(record.pid) is None


def test_one_whose_file_was_lost_is_found_by_its_lock(home: Home) -> None:
    record = home.controller().start("{}")
    home.paths.controller_file.unlink()
    assert home.controller().status() == ControllerStatus(ControllerState.UNRESPONSIVE, record.pid)
    assert home.controller().stop()
    assert home.running() == []


def test_one_whose_state_directory_was_removed_is_found_in_the_process_table(home: Home) -> None:
    record = home.controller().start("{}")
    shutil.rmtree(home.paths.state_dir)
    status = ControllerStatus(ControllerState.UNRESPONSIVE, record.pid)
    assert home.controller().status() == status
    # Another cluster's places are not its.
    other = ClusterPaths(home.world.home / "s", home.world.home / "p", home.world.home / "l")
    assert find_controllers(other) == []
    assert [process.pid for process in find_controllers(home.paths)] == [record.pid]
    assert home.controller().stop()
    assert home.running() == []


def test_of_two_on_one_root_both_are_found_and_stopped(home: Home) -> None:
    record = home.controller().start("{}")
    shutil.rmtree(home.paths.state_dir)
    home.paths.state_dir.mkdir()
    elsewhere = ClusterPaths(home.world.home / "other", home.world.home / "keys", home.paths.local_root)
    argv = [sys.executable, "-I", "-S", str(STAND_IN)]
    # As if it had been started past us: a start of ours would find the first one.
    elsewhere.state_dir.mkdir()
    elsewhere.config_file.write_text("{}")
    words = ["--state-dir", str(elsewhere.state_dir), "--pki-dir", str(elsewhere.pki_dir)]
    words += ["--config", str(elsewhere.config_file), "--local-root", str(elsewhere.local_root), "--resume"]
    second = start_detached([*argv, *words], home.world.home / "log", os.environ)
    assert second is not None
    assert processes.wait_until(elsewhere.controller_file.exists, 30)
    assert {process.pid for process in find_controllers(home.paths)} == {record.pid, second.pid}
    assert home.controller().stop()
    assert not second.is_alive() and home.running() == []


def test_why_one_that_runs_does_not_answer(home: Home) -> None:
    record = home.controller().start("{}")
    text = home.paths.controller_file.read_text()
    hurried = home.controller(probe=is_silent, start_s=0.2)
    home.paths.controller_file.write_text("{}")
    with pytest.raises(StartFailed, match=r"address: expected a string; remove that file, and the contr"):
        hurried.start("{}")
    home.paths.controller_file.unlink()
    with pytest.raises(StartFailed, match=r"controller\.json is gone; `iris cluster stop` ends it"):
        hurried.start("{}")
    home.paths.controller_file.write_text(text)
    os.kill(record.pid, signal.SIGSTOP)
    with pytest.raises(StartFailed, match=rf"it was halted; let it go on: kill -CONT {record.pid}"):
        hurried.start("{}")


def test_one_whose_file_is_damaged(home: Home) -> None:
    home.controller().start("{}")
    home.paths.controller_file.write_text("{")
    with pytest.raises(ControllerFileError, match="not valid JSON"):
        read_controller_file(home.paths.controller_file)
    found = home.controller().discover()
    assert found is not None and found.state is ControllerState.UNRESPONSIVE
    assert home.controller().stop()
    assert home.running() == []


def test_a_pid_that_was_given_to_another_is_not_stopped(home: Home) -> None:
    """The record names our own pid, but a process that started earlier."""
    started = processes.start_time(os.getpid())
    assert started is not None
    record = ControllerRecord("127.0.0.1:1", "t", os.getpid(), started - 1)
    write_controller_file(home.paths.controller_file, record)
    assert home.controller().discover() is None
    assert not home.controller().stop()


def test_the_platform_shows_it_and_stops_it(home: Home) -> None:
    platform = home.world.platform(zones=("local", "shed"))
    assert platform.list_vms({}, "local") == []
    record = home.controller().start("{}")
    (vm,) = platform.list_vms({"iris-role": "controller"}, "local")
    assert (vm.vm_id, vm.address) == ("iris-abcdefghij-controller", record.address)
    assert (vm.state, vm.labels["iris-cluster-id"]) == (VmState.RUNNING, "abcdefghij")
    assert platform.list_vms({"iris-role": "worker"}, "local") == []
    # One process, one zone.
    assert platform.list_vms({}, "shed") == []
    platform.stop_vms([vm.vm_id], "shed")
    platform.stop_vms(["other"], "local")
    assert home.running() == [record.pid]
    platform.stop_vms([vm.vm_id], "local")
    platform.stop_vms([vm.vm_id], "local")
    assert home.running() == []


def test_one_that_is_still_starting_is_shown_too(home: Home) -> None:
    home.controller().start("{}")
    home.paths.controller_file.unlink()
    (vm,) = home.world.platform().list_vms({})
    assert (vm.state, vm.address) == (VmState.BOOTING, "")


def test_ending_what_has_ended(tmp_path: Path) -> None:
    process = start_detached(["sleep", "60"], tmp_path / "log", os.environ)
    assert process is not None
    end_processes([process], grace_s=5)
    assert not process.is_alive()
    end_processes([process], grace_s=5)
    assert not processes.send_signal(*process, signal.SIGKILL)


def test_a_log_that_cannot_be_written(home: Home) -> None:
    home.paths.state_dir.mkdir()
    home.paths.controller_log.mkdir()
    with pytest.raises(StartFailed, match=r"cannot start .*Is a directory"):
        home.controller().start("{}")


def test_another_that_came_up_meanwhile(home: Home) -> None:
    first = home.controller("respawn").start("{}")
    words = rf"process {first.pid} was stopped but \d+ has taken its place"
    with pytest.raises(Unreachable, match=words):
        home.controller().stop()
    assert home.controller().discover() is not None
