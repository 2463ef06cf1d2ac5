"""A machine that is to go tells its tasks: by SIGTERM those that catch it, and by a file all of them."""

from __future__ import annotations

import json
import signal
import time

import pytest

from iris_bootstrap.keeper.clock import boot_s
from iris_bootstrap.keeper.frames import Notice, Stop
from tests.bootstrap.support import KEY, KeeperUnderTest, eventually, python

CATCHES = """
import json, os, signal, sys

def told(*_):
    with open(os.environ["IRIS_PREEMPTION_FILE"]) as file:
        print(json.load(file), flush=True)
    sys.exit(int(sys.argv[1]))

signal.signal(signal.SIGTERM, told)
print("ready", flush=True)
while True:
    signal.pause()
"""
WAITS = "import time; print('ready', flush=True); time.sleep(1000)"
ASKS = """
import os, time
print("ready", flush=True)
while not os.path.exists(os.environ["IRIS_PREEMPTION_FILE"]):
    time.sleep(0.01)
print(open(os.environ["IRIS_PREEMPTION_FILE"]).read(), flush=True)
"""


def notice(left_s: float = 30.0, kind: str = "preempted") -> Notice:
    return Notice(kind, "Google takes it back", boot_s() + left_s)


def ready(keeper: KeeperUnderTest, key: str = KEY) -> None:
    eventually(lambda: "ready" in keeper.log_of(key), "a program that is ready")


def test_a_program_that_wants_to_hear_of_it_does(keeper: KeeperUnderTest) -> None:
    session = keeper.accept()
    # Under a shell, which does not.
    session.run(KEY, "sh", "-c", '"$@"; exit $?', "sh", *python(CATCHES, "3"))
    ready(keeper)
    before_ms = time.time_ns() // 1_000_000
    session.send(notice())
    report = session.ended(KEY)
    # The program failed, and it was not its fault.
    assert (report.state, report.reason, report.exit_code) == ("KILLED", "preempted", 3)
    assert report.message == "Google takes it back"
    said = json.loads(keeper.log_of(KEY).splitlines()[1].replace("'", '"'))
    assert (said["kind"], said["message"]) == ("preempted", "Google takes it back")
    assert 0 < said["deadline_ms"] - before_ms <= 30_000 + 60_000


def test_one_that_is_done_with_its_work_is_done(keeper: KeeperUnderTest) -> None:
    session = keeper.accept()
    session.run(KEY, *python(CATCHES, "0"))
    ready(keeper)
    session.send(notice())
    assert session.ended(KEY).state == "SUCCEEDED"


def test_one_that_does_not_ask_for_it_runs_on(keeper: KeeperUnderTest) -> None:
    session = keeper.accept()
    session.run(KEY, *python(WAITS))
    session.run("other/0/7/1", *python(ASKS))
    ready(keeper)
    ready(keeper, "other/0/7/1")
    session.send(notice())
    # Who asks the file hears of it as well.
    assert session.ended("other/0/7/1").state == "SUCCEEDED"
    assert "Google takes it back" in keeper.log_of("other/0/7/1")
    assert session.reports[KEY][-1].state == "RUNNING"
    # A stop is still a stop.
    session.send(Stop(KEY, "job_stopped"))
    report = session.ended(KEY)
    assert (report.state, report.reason, report.signal) == ("KILLED", "job_stopped", signal.SIGTERM)


COUNTS = """
import signal
def told(*_):
    print("told", flush=True)
signal.signal(signal.SIGTERM, told)
print("ready", flush=True)
while True:
    signal.pause()
"""


def test_the_same_notice_again_is_no_news_and_another_is(keeper: KeeperUnderTest) -> None:
    session = keeper.accept()
    session.run(KEY, *python(COUNTS), grace_s=0.2)
    ready(keeper)
    session.send(notice(), notice())
    eventually(lambda: keeper.log_of(KEY).count("told") == 1, "the first")
    session.send(notice(kind="maintenance"))
    eventually(lambda: keeper.log_of(KEY).count("told") == 2, "the second")
    assert keeper.log_of(KEY).count("told") == 2
    session.send(Stop(KEY, "job_stopped"))
    session.ended(KEY)


@pytest.mark.parametrize(("left_s", "state"), [(0.0, "KILLED"), (-61.0, "FAILED")])
def test_a_notice_long_past_excuses_nothing(keeper: KeeperUnderTest, left_s: float, state: str) -> None:
    session = keeper.accept()
    session.run(KEY, *python(CATCHES, "3"))
    ready(keeper)
    session.send(notice(left_s))
    assert session.ended(KEY).state == state
