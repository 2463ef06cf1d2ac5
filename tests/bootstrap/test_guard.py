"""Keeper and session guard each other: whichever is dead or silent, nothing is left unattended (B41)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from iris_bootstrap.attempt import AttemptKey
from iris_bootstrap.keeper.silence import Silence
from iris_bootstrap.session.book import key_of
from iris_bootstrap.session.guard import find_keeper
from iris_bootstrap.session.pipe import KeeperPipe
from iris_platform import processes
from iris_proto.v1.job_pb2 import AttemptState
from tests.bootstrap.agents import Agent
from tests.bootstrap.controller import PlayedController
from tests.bootstrap.support import eventually, host_processes

A = AttemptKey("job", 0, 7, 1)
LIMIT_S = 3.0
# What has neither mark nor session nor log nor, after a moment, a parent of ours.
DAEMON = "env -i setsid sh -c 'cd /; sleep 1000 & echo $! >&2; exit' 2>pid >/dev/null </dev/null; "


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[PlayedController]:
    """A controller that is up, and suspects agents soon."""
    played = PlayedController(tmp_path / "controller.json")
    played.timings.suspect_after.FromSeconds(int(LIMIT_S))
    played.start()
    yield played
    played.stop()


def run_with_daemon(agent: Agent, controller: PlayedController) -> list[int]:
    """Start an attempt; the pids of its main process and of its daemon."""
    boot = (agent.host_dir / processes.KEEPER_FILE).read_text().splitlines()[0]
    if not json.loads(boot)["cgroup"]:
        pytest.skip("a daemon as thorough as this one is found again in its control group alone")
    controller.run(A, "sh", "-c", DAEMON + "echo $$; exec sleep 1000")
    controller.wait_for(lambda: controller.has(A).endswith(b"\n"), "its line")
    daemon = agent.host_dir / "tasks/job-0-7-1/work/pid"
    return [int(controller.has(A)), int(daemon.read_text())]


def are_dead(pids: list[int]) -> Callable[[], bool]:
    return lambda: all(processes.start_time(pid) is None for pid in pids)


def test_keeper_that_is_halted_is_ended_with_all_that_it_ran(
    agent: Agent, controller: PlayedController
) -> None:
    pids = run_with_daemon(agent, controller)
    keeper, session = agent.pids()
    os.kill(keeper, signal.SIGSTOP)
    eventually(are_dead([keeper, session, *pids]), "everything dead")
    assert "it has been silent for 3 s" in agent.log()
    assert "cleaned" in agent.log()
    assert agent.start().returncode == 0
    (observed,) = controller.connected(2).observed
    assert (observed.report.state, observed.report.reason) == (
        AttemptState.ATTEMPT_STATE_KILLED,
        "keeper_lost",
    )


def test_keeper_that_is_halted_while_there_is_no_controller(
    agent: Agent, controller: PlayedController
) -> None:
    pids = run_with_daemon(agent, controller)
    keeper, session = agent.pids()
    controller.stop()
    os.kill(keeper, signal.SIGSTOP)
    eventually(are_dead([keeper, session, *pids]), "everything dead")


def test_keeper_that_is_killed_leaves_nothing(agent: Agent, controller: PlayedController) -> None:
    pids = run_with_daemon(agent, controller)
    keeper, session = agent.pids()
    os.kill(keeper, signal.SIGKILL)
    eventually(are_dead([session, *pids]), "everything dead")


def test_session_that_is_halted_is_replaced_and_the_task_does_not_notice(
    agent: Agent, controller: PlayedController
) -> None:
    pids = run_with_daemon(agent, controller)
    keeper, session = agent.pids()
    os.kill(session, signal.SIGSTOP)
    (observed,) = controller.connected(2).observed
    assert key_of(observed.spec.id) == A
    assert observed.report.state == AttemptState.ATTEMPT_STATE_RUNNING
    assert processes.start_time(session) is None
    assert agent.pids()[0] == keeper
    assert "session_silent" in agent.log()
    assert not are_dead(pids)()
    controller.stop_attempt(A)
    controller.ended(A)


def test_both_halted_at_once_is_nobodys_silence(agent: Agent, controller: PlayedController) -> None:
    """A laptop that sleeps, a machine that is suspended: on waking, everything goes on."""
    pids = run_with_daemon(agent, controller)
    both = agent.pids()
    for pid in both:
        os.kill(pid, signal.SIGSTOP)
    # What is tested is that time passes.
    subprocess.run(["sleep", str(LIMIT_S + 1)], check=True)
    for pid in both:
        os.kill(pid, signal.SIGCONT)
    beats = len(controller.beats)
    controller.wait_for(lambda: len(controller.beats) > beats + 20, "two seconds of beats")
    assert agent.pids() == both
    assert not are_dead(pids)()
    assert "silent" not in agent.log()
    controller.stop_attempt(A)
    controller.ended(A)


def test_next_start_ends_what_both_left(agent: Agent, controller: PlayedController) -> None:
    """Also what was halted: it cannot be asked, but it can be killed."""
    pids = run_with_daemon(agent, controller)
    keeper, session = agent.pids()
    os.kill(pids[0], signal.SIGSTOP)
    os.kill(session, signal.SIGSTOP)
    os.kill(keeper, signal.SIGKILL)
    os.kill(session, signal.SIGKILL)
    eventually(are_dead([keeper, session]), "both dead")
    assert agent.start().returncode == 0
    assert are_dead(pids)()
    (observed,) = controller.connected(2).observed
    assert observed.report.reason == "keeper_lost"


def test_task_that_kills_its_parent_has_killed_itself(agent: Agent, controller: PlayedController) -> None:
    controller.run(A, "sh", "-c", "setsid sleep 1000 & kill -9 $PPID; sleep 1000")
    eventually(lambda: not host_processes(agent.host_dir), "everything dead")
    lines = (agent.host_dir / processes.KEEPER_FILE).read_text().splitlines()
    assert "end" not in [json.loads(line)["kind"] for line in lines]
    assert agent.start().returncode == 0
    assert controller.connected(2).observed[0].report.reason == "keeper_lost"


def test_stranger_at_the_other_end_is_not_taken_for_the_keeper() -> None:
    """A keeper that died before we looked: our parent is somebody else's by then."""
    with subprocess.Popen(["sleep", "1000"]) as other:
        assert find_keeper(_pipe(other.pid)) is None
        other.kill()
    found = find_keeper(_pipe(os.getppid()))
    assert found is not None
    assert found.pid == os.getppid()


def _pipe(peer_pid: int) -> KeeperPipe:
    return KeeperPipe(None, None, peer_pid)  # type: ignore[arg-type]  # nothing is read or written


def test_silence_is_counted_in_turns() -> None:
    silence = Silence(0.0)
    assert [silence.look(float(now_s), 30.0, heard=False) for now_s in range(1, 31)] == [False] * 29 + [True]


def test_silence_ends_with_a_word() -> None:
    silence = Silence(0.0)
    assert not any(silence.look(float(now_s), 30.0, heard=False) for now_s in range(1, 30))
    assert not silence.look(30.0, 30.0, heard=True)
    assert not any(silence.look(30.0 + now_s, 30.0, heard=False) for now_s in range(1, 30))
    assert silence.look(60.0, 30.0, heard=False)


def test_one_jump_of_the_clock_is_no_silence() -> None:
    silence = Silence(0.0)
    assert not silence.look(1e6, 30.0, heard=False)
    assert not silence.look(1e6 + 1, 30.0, heard=False)
    assert not silence.look(1e6 + 2, 30.0, heard=True)


def test_busy_machine_is_given_a_moment() -> None:
    silence = Silence(0.0)
    assert not silence.look(0.5, 0.5, heard=False)
