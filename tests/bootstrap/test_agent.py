"""The whole agent, as a platform starts it, against a small controller: keeper, session, wire and disk."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from iris_bootstrap.attempt import AttemptKey
from iris_bootstrap.session.book import key_of
from iris_platform import processes
from iris_proto.v1.job_pb2 import AttemptState
from tests.bootstrap.agents import Agent
from tests.bootstrap.controller import TOKEN, PlayedController
from tests.bootstrap.support import PATIENCE_S, attempt_processes, eventually, host_processes
from tests.harness.ports import free_port

A = AttemptKey("job", 0, 7, 1)
B = AttemptKey("job", 1, 7, 1)


def test_agent_joins_with_its_token_and_says_where_it_is(agent: Agent, controller: PlayedController) -> None:
    hello = controller.connected()
    assert (hello.protocol_version, hello.cluster_id) == (1, "abcdefghij")
    assert (hello.place.slice_name, hello.place.worker_index) == ("iris-abcdefghij-here-1-1", 2)
    assert (hello.boot_id, hello.previous_boot_id, hello.highest_epoch) == (processes.boot_id(), "", 0)
    assert hello.zone == "local"
    assert (hello.resources.cpu_millis, dict(hello.labels)) == (4000, {"iris-group": "here"})
    assert not hello.observed
    controller.wait_for(lambda: len(controller.beats) >= 3, "beats")
    assert controller.refused == 0
    saved = json.loads((agent.host_dir / "session.json").read_text())
    assert saved == {"epoch": 7, "commit": 1}
    assert TOKEN not in agent.log()


def test_a_health_port_is_open_while_the_agent_is_well(host_dir: Path, controller: PlayedController) -> None:
    agent, port = Agent(host_dir, controller.file), free_port()
    assert agent.start(IRIS_HEALTH_PORT=str(port)).returncode == 0
    controller.connected()
    # More than wait in line: they are let in.
    for _ in range(40):
        with socket.create_connection(("127.0.0.1", port), 10) as peer:
            assert peer.recv(1) == b""
    controller.run(A, "sh", "-c", "env | grep -c HEALTH_PORT")
    assert (controller.ended(A).exit_code, controller.log(A)) == (1, b"0\n")
    agent.leave()
    with socket.create_server(("127.0.0.1", taken := free_port())):
        refused = agent.start(IRIS_HEALTH_PORT=str(taken))
    assert refused.returncode == 1 and f"health port {taken}" in refused.stderr


def test_task_runs_and_its_log_arrives(agent: Agent, controller: PlayedController) -> None:
    controller.run(A, "sh", "-c", "echo out; echo err >&2; exit 3")
    report = controller.ended(A)
    assert (report.state, report.reason, report.exit_code) == (AttemptState.ATTEMPT_STATE_FAILED, "exit", 3)
    assert report.HasField("exit_code")
    assert not report.HasField("signal")
    assert controller.log(A) == b"out\nerr\n"
    assert report.log_bytes == 8
    eventually(lambda: not any((agent.host_dir / "tasks").iterdir()), "the attempt's directory removed")
    assert controller.log_hellos[0].place.worker_index == 2


def test_environment_that_the_session_adds(agent: Agent, controller: PlayedController) -> None:
    controller.run(A, "sh", "-c", 'env | grep ^IRIS_ | sort; echo "$MINE"', env={"MINE": "é\nx"}, replicas=4)
    lines = controller.log(A).decode().splitlines()
    work = agent.host_dir / "tasks/job-0-7-1/work"
    address = json.loads(controller.file.read_text())["address"]
    assert lines == [
        "IRIS_ATTEMPT=1",
        "IRIS_ATTEMPT_ID=job/0/7/1",
        "IRIS_CLUSTER=demo",
        f"IRIS_CONTROLLER_ADDRESS={address}",
        f"IRIS_HOST_DIR={agent.host_dir}",
        "IRIS_JOB_ID=job",
        f"IRIS_PREEMPTION_FILE={work.parent}/notice.json",
        "IRIS_TASK_COUNT=4",
        "IRIS_TASK_INDEX=0",
        f"IRIS_WORKDIR={work}",
        "é",
        "x",
    ]


def test_log_is_seen_while_the_task_runs(agent: Agent, controller: PlayedController) -> None:
    controller.run(A, "sh", "-c", "echo first; mkfifo f; read x < f; echo second; sleep 1000")
    controller.wait_for(lambda: controller.has(A) == b"first\n", "the first line")
    fifo = agent.host_dir / "tasks/job-0-7-1/work/f"
    eventually(fifo.exists, "the fifo")
    fifo.write_text("x\n")
    controller.wait_for(lambda: controller.has(A) == b"first\nsecond\n", "the second line")
    controller.stop_attempt(A)
    assert controller.ended(A).signal == signal.SIGTERM
    assert controller.log(A) == b"first\nsecond\n"


def test_long_log_arrives_whole(agent: Agent, controller: PlayedController) -> None:
    controller.run(A, sys.executable, "-c", "for i in range(400_000): print(i)")
    wanted = b"".join(b"%d\n" % i for i in range(400_000))
    assert controller.log(A) == wanted
    assert controller.ended(A).log_bytes == len(wanted)


def test_what_a_task_leaves_in_its_directory_is_removed(agent: Agent, controller: PlayedController) -> None:
    controller.run(A, "sh", "-c", "mkdir -p deep/er; echo x > deep/er/file; ln -s / link; chmod 500 deep/er")
    controller.ended(A)
    eventually(lambda: not any((agent.host_dir / "tasks").iterdir()), "everything removed")
    controller.run(B, "true")
    assert controller.ended(B).state == AttemptState.ATTEMPT_STATE_SUCCEEDED


@pytest.mark.parametrize(
    "before",
    [
        "true",
        "echo something",
        "rm ../log; mkfifo ../log",
        "rm ../log; ln -s /etc/passwd ../log",
        "ln ../log ../../kept",
        "cd ..; rmdir work; ln -s / work",
        "chmod 777 . ..",
        "touch ../more",
    ],
)
def test_next_attempt_finds_everything_as_new(
    agent: Agent, controller: PlayedController, before: str
) -> None:
    """Directories are used again, where there was nothing in them."""
    controller.run(A, "sh", "-c", before)
    controller.ended(A)
    eventually(lambda: not (agent.host_dir / "tasks/job-0-7-1").exists(), "the first directory gone")
    controller.run(B, "sh", "-c", "ls -A . ..; stat -c %a . .. ../log; stat -c %F%h ../log")
    found = controller.log(B).decode().split("\n")
    assert found == [".:", "", "..:", "log", "work", "700", "700", "600", "regular file1", ""]


def test_directory_stays_until_the_end_is_acknowledged(agent: Agent, controller: PlayedController) -> None:
    controller.acknowledges_reports = False
    controller.run(A, "sh", "-c", "echo kept")
    controller.ended(A)
    assert controller.log(A) == b"kept\n"
    controller.run(B, "true")
    controller.ended(B)
    assert (agent.host_dir / "tasks/job-0-7-1/log").read_text() == "kept\n"
    controller.acknowledges_reports = True
    controller.stop()
    controller.start()
    eventually(lambda: not any((agent.host_dir / "tasks").iterdir()), "both removed")


def test_killed_session_is_replaced_and_the_task_does_not_notice(
    agent: Agent, controller: PlayedController
) -> None:
    """B41, the session's part of it."""
    controller.run(A, "sh", "-c", "echo before; mkfifo f; read x < f; echo $x")
    controller.wait_for(lambda: controller.has(A) == b"before\n", "the first line")
    keeper, session = agent.pids()
    os.kill(session, signal.SIGKILL)
    hello = controller.connected(2)
    (observed,) = hello.observed
    assert key_of(observed.spec.id) == A
    assert observed.report.state == AttemptState.ATTEMPT_STATE_RUNNING
    assert [context.spec.command[0] for context in hello.jobs] == ["sh"]
    assert (hello.highest_epoch, hello.boot_id) == (7, processes.boot_id())
    fifo = agent.host_dir / "tasks/job-0-7-1/work/f"
    eventually(fifo.exists, "the fifo")
    fifo.write_text("after\n")
    assert controller.ended(A).state == AttemptState.ATTEMPT_STATE_SUCCEEDED
    assert controller.log(A) == b"before\nafter\n"
    assert agent.pids()[0] == keeper
    assert agent.pids()[1] != session


def test_controller_that_comes_back_hears_everything(agent: Agent, controller: PlayedController) -> None:
    """B40 and B43, the agent's part of them."""
    controller.run(A, "sh", "-c", "mkfifo f; echo ready; read x < f; echo $x")
    controller.run(B, "sleep", "1000")
    controller.wait_for(lambda: controller.has(A) == b"ready\n", "the fifo")
    controller.running(B)
    controller.stop()
    (agent.host_dir / "tasks/job-0-7-1/work/f").write_text("alone\n")
    log = agent.host_dir / "tasks/job-0-7-1/log"
    eventually(lambda: log.read_text() == "ready\nalone\n", "its last line")
    eventually(lambda: not attempt_processes(agent.host_dir, A), "its end")
    controller.epoch = 8
    controller.reports.clear()
    controller.start()
    hello = controller.connected(2)
    states = {key_of(each.spec.id): each.report.state for each in hello.observed}
    assert states[B] == AttemptState.ATTEMPT_STATE_RUNNING
    assert hello.highest_epoch == 7
    assert controller.ended(A).state == AttemptState.ATTEMPT_STATE_SUCCEEDED
    assert controller.log(A) == b"ready\nalone\n"
    assert json.loads((agent.host_dir / "session.json").read_text())["epoch"] == 8
    controller.stop_attempt(B)
    controller.ended(B)


def test_controller_of_a_lower_epoch_is_not_served(agent: Agent, controller: PlayedController) -> None:
    controller.run(A, "sleep", "1000")
    controller.running(A)
    controller.stop()
    controller.epoch = 6
    controller.stop_at_welcome = {A}
    controller.start()
    controller.connected(3)
    assert attempt_processes(agent.host_dir, A) != []
    assert "stale epoch 6" in agent.log()
    controller.stop()
    controller.epoch = 7
    controller.start()
    assert controller.ended(A).reason == "superseded"


def test_lease_that_nobody_renews_ends_the_tasks(agent: Agent, controller: PlayedController) -> None:
    """B42, the agent's part of it."""
    controller.acknowledges_beats = False
    controller.stop()
    controller.timings.task_lease.FromMilliseconds(1200)
    controller.start()
    controller.connected(2)
    controller.run(A, "sleep", "1000")
    controller.running(A)
    report = controller.ended(A)
    assert (report.state, report.reason) == (AttemptState.ATTEMPT_STATE_KILLED, "lease_expired")


def test_wrong_token_is_refused_and_tried_again(agent: Agent, controller: PlayedController) -> None:
    record = json.loads(controller.file.read_text())
    controller.stop()
    controller.start()
    address = json.loads(controller.file.read_text())["address"]
    controller.connected(2)
    controller.file.write_text(json.dumps(record | {"address": address, "token": "wrong"}))
    _, session = agent.pids()
    os.kill(session, signal.SIGKILL)
    eventually(lambda: controller.refused > 0, "a refusal")
    eventually(lambda: "UNAUTHENTICATED: not the token" in agent.log(), "a line about it")
    controller.file.write_text(json.dumps(record | {"address": address}))
    controller.connected(3)


def test_told_to_leave_it_delivers_what_it_has_and_goes(agent: Agent, controller: PlayedController) -> None:
    controller.run(A, "sh", "-c", "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.02; done")
    controller.wait_for(lambda: controller.has(A) == b"up\n", "its line")
    agent.leave()
    report = controller.ended(A)
    assert (report.state, report.reason) == (AttemptState.ATTEMPT_STATE_KILLED, "stopped")
    assert controller.log(A).endswith(b"bye\n")
    assert "left" in agent.log()


def test_session_cleans_up_after_a_keeper_that_was_killed(agent: Agent, controller: PlayedController) -> None:
    controller.run(A, "sh", "-c", "setsid sleep 1000 & echo up; exec env -i sleep 1000")
    controller.wait_for(lambda: controller.has(A) == b"up\n", "its line")
    lines = (agent.host_dir / processes.KEEPER_FILE).read_text().splitlines()
    (task,) = [line["pid"] for line in map(json.loads, lines) if line["kind"] == "process"]
    keeper, _ = agent.pids()
    os.kill(keeper, signal.SIGKILL)
    eventually(agent.is_gone, "nothing carries the mark")
    assert processes.start_time(task) is None
    assert "cleaned" in agent.log()
    assert agent.start().returncode == 0
    hello = controller.connected(2)
    (observed,) = hello.observed
    assert (observed.report.state, observed.report.reason) == (
        AttemptState.ATTEMPT_STATE_KILLED,
        "keeper_lost",
    )
    # It is known still, so it is not run again.
    controller.run(A, "sh", "-c", "echo again")
    assert controller.ended(A).reason == "keeper_lost"
    assert controller.log(A) == b"up\n"


def test_second_agent_is_refused_and_says_why(agent: Agent) -> None:
    second = agent.start()
    assert second.returncode == 1
    assert "another agent has this directory" in second.stderr
    assert agent.pids()[0] in host_processes(agent.host_dir)


def test_agent_without_a_controller_leaves_in_the_end(host_dir: Path, tmp_path: Path) -> None:
    agent = Agent(host_dir, tmp_path / "nobody.json")
    assert agent.start("--orphan-timeout", "0.5").returncode == 0
    eventually(agent.is_gone, "it has left")
    last = json.loads((host_dir / processes.KEEPER_FILE).read_text().splitlines()[-1])
    assert last == {"kind": "left", "reason": "orphan_timeout"}


def test_flood_of_short_tasks(agent: Agent, controller: PlayedController) -> None:
    keys = [AttemptKey("flood", index, 7, 1) for index in range(200)]
    for key in keys:
        controller.run(key, "true")
    controller.wait_for(lambda: len(ends(controller)) == 200, "all ends", timeout_s=2 * PATIENCE_S)
    assert set(ends(controller)) == set(keys)
    eventually(lambda: not any((agent.host_dir / "tasks").iterdir()), "all directories removed")


def ends(controller: PlayedController) -> list[AttemptKey]:
    succeeded = AttemptState.ATTEMPT_STATE_SUCCEEDED
    return [key_of(report.id) for report in controller.reports if report.state == succeeded]


def test_gang_meets_and_runs(agent: Agent, controller: PlayedController) -> None:
    """B12 and B55, the agent's part of them: two members, each of which knows both."""
    told = "echo $IRIS_TASK_INDEX $IRIS_COORDINATOR_ADDRESS $IRIS_TASK_ADDRESSES"
    for key in (A, B):
        controller.run(key, "sh", "-c", told, replicas=2, gang=True)
    addresses = [controller.prepared(key) for key in (A, B)]
    assert len({*addresses}) == 2
    assert all(address.startswith("127.0.0.1:") for address in addresses)
    _, session = agent.pids()
    os.kill(session, signal.SIGKILL)
    observed = {key_of(each.spec.id): each.report for each in controller.connected(2).observed}
    preparing = AttemptState.ATTEMPT_STATE_PREPARING
    assert [(observed[key].state, observed[key].address) for key in (A, B)] == [
        (preparing, address) for address in addresses
    ]
    for key in (A, B):
        controller.release(key, *addresses)
        controller.release(key, *addresses)
    for key, address in zip((A, B), addresses, strict=True):
        report = controller.ended(key)
        assert (report.state, report.address) == (AttemptState.ATTEMPT_STATE_SUCCEEDED, address)
        assert controller.log(key).decode() == f"{key.task_index} {addresses[0]} {','.join(addresses)}\n"


def test_replica_of_no_gang_does_not_wait(agent: Agent, controller: PlayedController) -> None:
    controller.run(A, "true", replicas=2)
    controller.run(B, "true", replicas=1, gang=True)
    for key in (A, B):
        assert controller.ended(key).address == ""
        assert AttemptState.ATTEMPT_STATE_PREPARING not in [r.state for r in controller.reports_of(key)]


def test_timeout_of_a_job(agent: Agent, controller: PlayedController) -> None:
    """B53, the agent's part of it."""
    controller.run(A, "sleep", "1000", timeout_s=0.2)
    report = controller.ended(A)
    assert (report.state, report.reason) == (AttemptState.ATTEMPT_STATE_FAILED, "timeout")
    assert report.message == "ran longer than its timeout of 0.2s"
    assert report.signal == signal.SIGTERM
