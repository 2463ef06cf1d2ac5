"""A real keeper remembers: across sessions, its own death, and to the end."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from iris_bootstrap.keeper.clock import boot_s
from iris_bootstrap.keeper.frames import (
    Bye,
    Forget,
    Job,
    Known,
    KnownJob,
    Seen,
    Start,
    State,
)
from iris_platform import processes
from tests.bootstrap.conftest import StartKeeper
from tests.bootstrap.support import IGNORES_SIGTERM, KEY, KeeperUnderTest, eventually, host_processes, python


def test_session_that_dies_is_restarted_and_told_everything(keeper: KeeperUnderTest) -> None:
    session = keeper.accept()
    session.lease()
    session.send(Job("job", "the job", ["sh", "-c", "read x < fifo; echo $x"], {}, 5.0))
    session.send(Job("quick", "quick job", ["true"], {}, 5.0), Start("quick/0/7/1", "spec", {}))
    session.ended("quick/0/7/1")
    session.send(Start("quick/1/7/1", "spec 1", {}), Forget(["quick/0/7/1"], [], []))
    session.ended("quick/1/7/1")
    session.send(Job("long", "long job", ["sh", "-c", "mkfifo f; echo ready; read x < f; echo $x"], {}, 5.0))
    session.send(Start("long/0/7/1", "long spec", {}))
    session.running("long/0/7/1")
    eventually(lambda: keeper.log_of("long/0/7/1") == "ready\n", "the fifo")
    session.die()
    again = keeper.accept()
    known = {message.id: message for message in again.told if isinstance(message, Known)}
    assert known.keys() == {"quick/1/7/1", "long/0/7/1"}
    assert known["quick/1/7/1"].document == "spec 1"
    assert known["quick/1/7/1"].report == session.reports["quick/1/7/1"][-1]
    assert known["long/0/7/1"].report == session.reports["long/0/7/1"][0]
    assert KnownJob("long", "long job") in again.told
    seen = [
        (seen.job_id, seen.first, seen.last)
        for part in again.told
        if isinstance(part, Seen)
        for seen in part.ranges
    ]
    assert seen == [("quick", 0, 1), ("long", 0, 0)]
    (keeper.host_dir / "tasks/long-0-7-1/work/f").write_text("went on\n")
    assert again.ended("long/0/7/1").state == "SUCCEEDED"
    assert keeper.log_of("long/0/7/1") == "ready\nwent on\n"


def test_keeper_that_is_killed_is_cleaned_up_after_and_remembered(
    start_keeper: StartKeeper, host_dir: Path
) -> None:
    first = start_keeper()
    session = first.accept()
    session.run("done/0/7/1", "sh", "-c", "exit 4")
    session.run("lost/0/7/1", "sh", "-c", "echo started; setsid sleep 1000 & exec env -i sleep 1000")
    ended = session.ended("done/0/7/1")
    session.running("lost/0/7/1")
    eventually(lambda: first.log_of("lost/0/7/1") == "started\n", "a line")
    session.send(Forget(["done/0/7/1"], [], []))
    session.run("kept/0/7/1", "false")
    kept = session.ended("kept/0/7/1")
    first.kill()
    assert host_processes(host_dir) != []
    second = start_keeper()
    again = second.accept()
    # The relay of the first keeper was killed with all else before the boot line was written.
    assert set(host_processes(host_dir)) == {second.process.pid, second.session_pid()}
    known = {message.id: message.report for message in again.told if isinstance(message, Known)}
    assert known.keys() == {"lost/0/7/1", "kept/0/7/1"}
    lost = known["lost/0/7/1"]
    assert lost is not None
    assert (lost.state, lost.reason, lost.log_bytes) == ("KILLED", "keeper_lost", len("started\n"))
    assert known["kept/0/7/1"] == kept
    for key in ("done/0/7/1", "lost/0/7/1", "kept/0/7/1"):
        again.run(key, "true")
    again.run("new/0/7/1", "true")
    assert again.ended("new/0/7/1").state == "SUCCEEDED"
    assert again.reports.keys() == {"new/0/7/1"}
    assert ended.exit_code == 4
    assert second.leave() == 0


def test_processes_of_another_boot_are_none_of_ours(start_keeper: StartKeeper, host_dir: Path) -> None:
    innocent = os.getpid()
    line = {"kind": "start", "id": KEY, "document": ""}
    process = {"kind": "process", "id": KEY, "pid": innocent, "start_time": processes.start_time(innocent)}
    boot = {"kind": "boot", "boot_id": "before", "previous_boot_id": "", "pid": innocent}
    lines = [boot | {"start_time": processes.start_time(innocent)}, line, process | {"started_at_ms": 5}]
    (host_dir / processes.KEEPER_FILE).write_text(
        "".join(json.dumps(each) + "\n" for each in lines) + '{"kind": "en'
    )
    keeper = start_keeper()
    session = keeper.accept()
    state = session.told[-1]
    assert isinstance(state, State)
    assert (state.boot_id, state.previous_boot_id) == (processes.boot_id(), "before")
    known = [message.report for message in session.told if isinstance(message, Known)]
    assert [(report.reason, report.started_at_ms) for report in known if report] == [("keeper_lost", 5)]
    assert keeper.leave() == 0


def test_second_keeper_is_refused(keeper: KeeperUnderTest, start_keeper: StartKeeper) -> None:
    session = keeper.accept()
    second = start_keeper()
    assert second.process.wait(20) == 1
    assert "another agent" in (keeper.host_dir / "agent.log").read_text()
    session.run(KEY, "true")
    assert session.ended(KEY).state == "SUCCEEDED"


def test_sigterm_stops_the_tasks_and_says_goodbye(keeper: KeeperUnderTest) -> None:
    session = keeper.accept()
    session.run("a/0/7/1", "sh", "-c", "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.02; done")
    session.run("b/0/7/1", *python(IGNORES_SIGTERM + "time.sleep(1000)"), grace_s=0.2)
    eventually(lambda: keeper.log_of("a/0/7/1") + keeper.log_of("b/0/7/1") == "up\ndeaf\n", "both")
    keeper.process.send_signal(signal.SIGTERM)
    reports = [session.ended("a/0/7/1"), session.ended("b/0/7/1")]
    assert {(report.state, report.reason) for report in reports} == {("KILLED", "stopped")}
    assert keeper.log_of("a/0/7/1").endswith("\nbye\n")
    session.part()
    assert keeper.process.wait(20) == 0


def test_nothing_run_and_no_word_for_long_ends_the_keeper(start_keeper: StartKeeper, host_dir: Path) -> None:
    keeper = start_keeper()
    session = keeper.accept()
    session.lease(lease_s=600, orphan_timeout_s=0.4)
    session.send(Job("job", "", ["sleep", "0.8"], {}, 1.0), Start(KEY, "", {}))
    # What runs holds it back, however long ago the last beat was.
    assert session.ended(KEY).state == "SUCCEEDED"
    session.read_until(lambda: Bye("orphan_timeout") in session.messages, "goodbye")
    session.die()
    assert keeper.process.wait(20) == 0
    last = (host_dir / processes.KEEPER_FILE).read_text().splitlines()[-1]
    assert json.loads(last) == {"kind": "left", "reason": "orphan_timeout"}


@pytest.mark.parametrize("since", ["this keeper", "another boot", "it left"])
def test_a_keeper_that_takes_over_has_been_alone_as_long_as_the_one_before(
    start_keeper: StartKeeper, host_dir: Path, since: str
) -> None:
    """Or one that dies again and again would never go; a boot, and a start after it went, begin anew."""
    boot_id = "before" if since == "another boot" else processes.boot_id()
    boot = {"kind": "boot", "boot_id": boot_id, "previous_boot_id": "", "pid": 1, "start_time": 0}
    lines = [boot, {"kind": "contact", "until_s": boot_s() - 100}]
    if since == "it left":
        lines.append({"kind": "left", "reason": "orphan_timeout"})
    journal = host_dir / processes.KEEPER_FILE
    journal.write_text("".join(json.dumps(each) + "\n" for each in lines))
    keeper = start_keeper(orphan_timeout_s=90.0)
    session = keeper.accept()
    if since == "this keeper":
        session.die()
        assert keeper.process.wait(20) == 0
        assert json.loads(journal.read_text().splitlines()[-1]) == {
            "kind": "left",
            "reason": "orphan_timeout",
        }
        return
    eventually(lambda: '"contact"' in journal.read_text(), "a contact on record")
    assert keeper.leave() == 0


def test_a_contact_outlives_the_keeper_that_noted_it(start_keeper: StartKeeper, host_dir: Path) -> None:
    def contacts() -> list[float]:
        lines = map(json.loads, (host_dir / processes.KEEPER_FILE).read_text().splitlines())
        return [line["until_s"] for line in lines if line["kind"] == "contact"]

    first = start_keeper()
    first.accept()
    eventually(lambda: bool(contacts()), "a contact on record")
    noted = contacts()
    first.kill()
    second = start_keeper()
    second.accept()
    assert contacts() == noted
    assert second.leave() == 0


def test_many_short_tasks_leave_small_traces(keeper: KeeperUnderTest) -> None:
    session = keeper.accept()
    session.lease()
    session.send(Job("job", "", ["true"], {}, 5.0))
    keys = [f"job/{index}/7/1" for index in range(300)]
    session.send(*(Start(key, "", {}) for key in keys))
    for key in keys:
        assert session.ended(key).state == "SUCCEEDED"
    session.send(Forget(keys, ["job"], []))
    session.die()
    again = keeper.accept()
    assert [type(message) for message in again.told] == [Seen, State]
