"""What is the local platform's own: states, messages, disk, and dying anywhere."""

import json
import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from iris_platform import processes
from iris_platform.base import (
    ContainerSpec,
    NotOurs,
    PlatformError,
    Refused,
    SliceCloudState,
    StartFailed,
    Unreachable,
    VmBootstrapSpec,
    VmState,
)
from iris_platform.env_probe import probe
from iris_platform.local.agents import NOT_YET_MS, read_keeper
from iris_platform.slice_json import CorruptSlice
from tests.platform.world import (
    DIED,
    LocalWorld,
    agent,
    dying_at,
    in_child,
    is_step,
    local_world,
    name,
    spec,
)

pytestmark = pytest.mark.contract


@pytest.fixture
def world(tmp_path: Path) -> Iterator[LocalWorld]:
    """A local cluster; nothing of it is left running."""
    with local_world(tmp_path) as made:
        yield made


def states(world: LocalWorld) -> tuple[SliceCloudState, list[VmState], str]:
    info = world.platform().get_slice(name())
    assert info is not None
    return info.state, [vm.state for vm in info.vms], info.detail


def test_what_a_host_is_told(world: LocalWorld) -> None:
    world.platform(zones=("shed",)).create_slice(spec(hosts=2))
    environment = probe(world.host_dir(index=1))
    assert (environment.cluster, environment.cluster_id) == ("demo", "abcdefghij")
    assert (environment.slice_name, environment.worker_index) == (name(), 1)
    assert (environment.group, environment.zone) == ("here", "shed")
    assert (environment.cpu_millis, environment.memory_bytes) == (1500, 2**30)
    assert environment.labels == spec().labels
    assert environment.controller_file == world.paths.controller_file


def test_a_running_slice(world: LocalWorld) -> None:
    world.platform().create_slice(spec())
    assert states(world) == (SliceCloudState.RUNNING, [VmState.RUNNING], "")
    (info,) = world.platform().list_slices({})
    assert info.vms[0].vm_id == f"{name()}/0"
    assert info.vms[0].address == "127.0.0.1"
    assert info.created_at_ms == world.now_ms


def test_agents_outlive_who_started_them(world: LocalWorld) -> None:
    assert in_child(partial(world.platform().create_slice, spec(hosts=2))) == 0
    assert states(world)[0] is SliceCloudState.RUNNING
    for pid in world.marked():
        # Nobody's child who could leave a zombie, on no terminal, in no session of ours.
        assert processes.parents()[pid] != os.getpid()
        assert os.getsid(pid) == pid


def test_a_dead_keeper_with_a_live_task_is_no_fence(world: LocalWorld) -> None:
    world.platform("task").create_slice(spec())
    keeper = read_keeper(world.host_dir())
    assert keeper is not None
    world.kill(keeper.process.pid)
    detail = "host 0: its agent has ended, but not all of its processes"
    assert states(world) == (SliceCloudState.FAILED, [VmState.FAILED], detail)
    world.kill(*world.marked())
    detail = "host 0: its agent has ended"
    assert states(world) == (SliceCloudState.FAILED, [VmState.TERMINATED], detail)


def test_keepers_of_another_boot_are_dead_and_never_signalled(world: LocalWorld) -> None:
    world.platform().create_slice(spec())
    keeper = read_keeper(world.host_dir())
    assert keeper is not None
    world.kill(keeper.process.pid)
    # Our own process, as if its pid and start time had come again after a reboot.
    pid = os.getpid()
    line = {"kind": "boot", "boot_id": "other", "pid": pid, "start_time": processes.start_time(pid)}
    (world.host_dir() / "keeper.jsonl").write_text(json.dumps(line) + "\n")
    assert states(world)[1] == [VmState.TERMINATED]
    world.platform().delete_slice(name())
    assert world.platform().list_slices({}) == []


def test_half_a_line_in_the_keepers_file(world: LocalWorld) -> None:
    world.platform().create_slice(spec())
    with (world.host_dir() / "keeper.jsonl").open("a") as file:
        file.write('{"kind":"boot","boot_id":"x"}\n{"kind":"boot","boo')
    assert states(world)[1] == [VmState.RUNNING]


def test_a_creation_that_died_before_its_agents(world: LocalWorld) -> None:
    assert in_child(partial(world.platform("kill-starter").create_slice, spec())) == -signal.SIGKILL
    # Its starter still runs.
    assert states(world) == (SliceCloudState.CREATING, [VmState.BOOTING], "")
    world.now_ms += 60_000
    detail = "host 0: its agent never started, but not all of its processes"
    assert states(world) == (SliceCloudState.FAILED, [VmState.FAILED], detail)
    # It is left to go on, by a second creation too.
    ran = world.marked()
    world.platform().create_slice(spec())
    assert world.marked() == ran
    assert states(world)[1] == [VmState.BOOTING]
    world.kill(*ran)
    world.now_ms += NOT_YET_MS
    detail = "host 0: its agent never started"
    assert states(world) == (SliceCloudState.FAILED, [VmState.TERMINATED], detail)
    world.platform().create_slice(spec())
    assert states(world)[0] is SliceCloudState.RUNNING


def test_a_deletion_ends_starters_too(world: LocalWorld) -> None:
    assert in_child(partial(world.platform("kill-starter").create_slice, spec())) == -signal.SIGKILL
    assert world.marked()
    world.platform().delete_slice(name())
    assert world.marked() == []
    assert world.left_on_disk() == []


def test_a_clock_that_was_set_back(world: LocalWorld) -> None:
    with pytest.raises(StartFailed):
        world.platform("mute").create_slice(spec())
    world.now_ms -= 3_600_000
    assert states(world)[1] == [VmState.TERMINATED]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("fail", "exit status 3; its last words:\nfirst line\nno such accelerator: café"),
        ("mute", "exit status 1; it said nothing"),
    ],
)
def test_an_agent_that_does_not_start(world: LocalWorld, fault: str, words: str) -> None:
    with pytest.raises(StartFailed) as caught:
        world.platform(fault).create_slice(spec(hosts=2))
    assert str(caught.value).startswith(f"{world.host_dir()}: ")
    assert str(caught.value).endswith(words)
    # What was made is seen, and can be deleted.
    assert len(states(world)[1]) == 2
    said = world.platform().host_log(name(), 0).text
    assert words.endswith(said.strip() or "it said nothing")
    world.platform().delete_slice(name())
    assert (world.marked(), world.left_on_disk()) == ([], [])


def test_an_agent_that_takes_too_long(world: LocalWorld) -> None:
    with pytest.raises(Unreachable, match=r"did not end within 0\.3 s; it said nothing"):
        world.platform("hang", start_s=0.3).create_slice(spec())
    assert world.marked() == []
    assert states(world)[1] == [VmState.BOOTING]


def test_an_agent_that_says_it_started_and_did_not(world: LocalWorld) -> None:
    world.platform("silent").create_slice(spec())
    world.now_ms += NOT_YET_MS
    assert states(world)[1] == [VmState.TERMINATED]


def test_no_agent_to_start(world: LocalWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = (str(world.home / "no-such-agent"),)
    with pytest.raises(StartFailed, match=r"cannot start .*/no-such-agent: .*No such file"):
        world.platform(command=missing).create_slice(spec())
    world.platform().delete_slice(name())
    monkeypatch.setattr("sys.executable", str(world.home / "python"))
    monkeypatch.setenv("PATH", "/nowhere")
    platform = world.platform()
    object.__setattr__(platform._settings, "agent_command", None)
    message = "iris-bootstrap is neither beside this Python nor on PATH; is iris-bootstrap installed"
    with pytest.raises(Refused, match=message):
        platform.create_slice(spec())
    assert world.left_on_disk() == []


def test_a_stubborn_agent_is_killed(world: LocalWorld) -> None:
    world.platform("stubborn").create_slice(spec(hosts=2))
    world.platform(stop_s=0.2).delete_slice(name())
    assert (world.marked(), world.left_on_disk()) == ([], [])


def test_tasks_in_sessions_of_their_own_are_killed(world: LocalWorld) -> None:
    world.platform("task").create_slice(spec())
    assert len(world.marked()) == 2
    world.platform().delete_slice(name())
    assert world.marked() == []


def test_what_was_halted_is_ended_like_the_rest(world: LocalWorld) -> None:
    """B41: an agent that was stopped (SIGSTOP) with its task hears of a deletion, and goes."""
    world.platform("task").create_slice(spec())
    for pid in world.marked():
        os.kill(pid, signal.SIGSTOP)
    # Longer than any test may take.
    world.platform(stop_s=3600).delete_slice(name())
    assert (world.marked(), world.left_on_disk()) == ([], [])


def test_whoever_deletes_dies_of_it(world: LocalWorld) -> None:
    world.platform("kill-stopper").create_slice(spec())
    delete = partial(world.platform().delete_slice, name())
    assert in_child(delete) == -signal.SIGKILL
    assert states(world)[0] is SliceCloudState.DELETING
    delete()
    assert (world.marked(), world.left_on_disk()) == ([], [])


def test_a_creation_may_die_before_any_step(world: LocalWorld) -> None:
    def create() -> None:
        world.platform().create_slice(spec(hosts=2))

    for nth in range(1, 60):
        status = in_child(partial(dying_at, is_step, nth, create))
        seen = world.platform().list_slices({})
        assert bool(world.marked()) <= bool(seen), f"invisible after step {nth}"
        if status == DIED and nth % 2:
            create()
            assert states(world)[0] is SliceCloudState.RUNNING, f"not completed after step {nth}"
        world.platform().delete_slice(name())
        assert (world.marked(), world.left_on_disk()) == ([], []), f"left after step {nth}"
        if status == 0:
            break
        assert status == DIED
    assert 15 < nth < 59


def test_a_deletion_may_die_before_any_step(world: LocalWorld) -> None:
    def delete() -> None:
        world.platform().delete_slice(name())

    for nth in range(1, 60):
        world.platform("task").create_slice(spec())
        status = in_child(partial(dying_at, is_step, nth, delete))
        assert bool(world.marked()) <= bool(world.platform().list_slices({}))
        delete()
        assert world.platform().get_slice(name()) is None
        assert (world.marked(), world.left_on_disk()) == ([], []), f"left after step {nth}"
        if status == 0:
            break
        assert status == DIED
    assert 10 < nth < 59


def test_a_directory_that_was_removed_under_its_agents(world: LocalWorld) -> None:
    platform = world.platform("task", zones=("local", "shed"))
    platform.create_slice(spec(hosts=2), zone="shed")
    world.paths.local_root.rename(world.home / "elsewhere")
    assert platform.list_slices({}, zone="shed") == []
    (info,) = platform.list_slices({"iris-group": "here"}, zone="local")
    assert platform.get_slice(name(), zone="local") == info
    assert (info.slice_id, info.state, len(info.vms)) == (name(), SliceCloudState.FAILED, 2)
    assert info.detail.endswith("is gone, but not all of its processes")
    platform.delete_slice(name(), zone="local")
    assert world.marked() == []
    assert platform.list_slices({}, zone="local") == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("", "not valid JSON"),
        ("[]", "expected an object"),
        ({"labels": [1]}, "labels: expected an object of strings"),
        ({"name": "other"}, f"name: expected {name()}, found other"),
        ({"zone": 5}, "zone: expected a string, found 5"),
        ({"hosts": -1}, "hosts: expected a whole number, found -1"),
        (None, "missing, although the slice's directory is there"),
    ],
)
def test_a_slice_file_that_cannot_be_understood(
    world: LocalWorld, change: str | dict[str, object] | None, message: str
) -> None:
    world.platform().create_slice(spec())
    ran = world.marked()
    path = world.paths.local_root / name() / "slice.json"
    if change is None:
        path.unlink()
    elif isinstance(change, str):
        path.write_text(change)
    else:
        path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    platform = world.platform()
    calls = (
        partial(platform.list_slices, {}),
        partial(platform.get_slice, name()),
        partial(platform.create_slice, spec()),
    )
    for call in calls:
        with pytest.raises(CorruptSlice, match=f"^{path}: {message}"):
            call()
    assert world.marked() == ran
    # By its place and its name it is ours: it can be deleted, in any zone.
    platform.delete_slice(name())
    assert (world.marked(), world.left_on_disk()) == ([], [])
    assert platform.get_slice(name()) is None


def test_our_name_with_the_labels_of_another(world: LocalWorld) -> None:
    world.platform().create_slice(spec())
    path = world.paths.local_root / name() / "slice.json"
    path.write_text(path.read_text().replace('"abcdefghij"', '"zzzzzzzzzz"'))
    ran = world.marked()
    platform = world.platform()
    assert platform.list_slices({}) == []
    for call in (platform.get_slice, platform.delete_slice):
        with pytest.raises(NotOurs, match="carries cluster id zzzzzzzzzz, not abcdefghij"):
            call(name())
    with pytest.raises(NotOurs, match="exists with other labels"):
        platform.create_slice(spec())
    assert world.marked() == ran


def test_other_things_under_the_root_are_left_alone(world: LocalWorld) -> None:
    root = world.paths.local_root
    (root / "notes").mkdir(parents=True)
    (root / "notes" / "slice.json").write_text("{")
    (root / name(7)).write_text("a file named like a slice")
    assert world.platform().list_slices({}) == []
    world.platform().create_slice(spec())
    world.platform().delete_slice(name())
    assert world.left_on_disk() == [name(7), "notes"]


def test_a_root_that_is_no_directory(world: LocalWorld) -> None:
    world.paths.local_root.write_text("")
    with pytest.raises(Unreachable, match="cannot list: Not a directory"):
        world.platform().list_slices({})
    for call in (
        partial(world.platform().create_slice, spec()),
        partial(world.platform().delete_slice, name()),
    ):
        with pytest.raises(PlatformError):
            call()


def test_a_name_that_exists_in_another_zone(world: LocalWorld) -> None:
    platform = world.platform(zones=("local", "shed"))
    platform.create_slice(spec(), zone="local")
    with pytest.raises(Refused, match="exists in zone local, not shed"):
        platform.create_slice(spec(), zone="shed")


def test_a_slice_needs_a_host(world: LocalWorld) -> None:
    with pytest.raises(Refused, match="name, labels or number of hosts"):
        world.platform().create_slice(spec(hosts=0))


def test_machines_outside_slices_are_not_made(world: LocalWorld) -> None:
    wanted = VmBootstrapSpec("controller", ContainerSpec("", [], {}, {}), {})
    with pytest.raises(Refused, match="no machines outside slices but its controller"):
        world.platform().start_vms(wanted)


def test_the_agent_is_run_by_argv_alone(world: LocalWorld) -> None:
    """Paths with blanks, quotes and what a shell would run arrive as they are (B56)."""
    odd = LocalWorld(world.home / "a b'\"$(touch x);é")
    odd.platform(command=agent()).create_slice(spec())
    assert odd.platform().list_slices({})[0].state is SliceCloudState.RUNNING
    odd.platform().delete_slice(name())
    assert odd.marked() == []
