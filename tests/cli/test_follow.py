"""Following as pure functions: positions, lines, patience and words."""

from __future__ import annotations

import threading

import pytest

from iris_cli.client import RpcFailed
from iris_cli.exits import NOT_FOUND, STREAM_BROKEN, UNREACHABLE, CliError
from iris_cli.follow.lines import LONGEST_LINE, LinePrefixer
from iris_cli.follow.narrate import MOST_TROUBLES, Narrator, final_line
from iris_cli.follow.positions import HoleInLog, LogPositions
from iris_cli.follow.retry import QUIET_S, Retry, Stopped
from iris_proto.v1.controller_pb2 import StreamLogsRequest
from tests.cli.builders import attempt, data, end, finished, job, task, with_attempt

WHOLE = StreamLogsRequest(job_id="j", follow=True)
TAIL = StreamLogsRequest(job_id="j", follow=True, tail_lines=1)


def taken(positions: LogPositions, *messages: object) -> list[tuple[int, bytes, int]]:
    """Offset, bytes and loss of every piece of data that was new."""
    pieces = [positions.take(message) for message in messages]  # type: ignore[arg-type]
    return [
        (piece.message.data.offset, piece.message.data.data, piece.lost)
        for piece in pieces
        if piece is not None and piece.message.HasField("data")
    ]


def test_bytes_come_once() -> None:
    positions = LogPositions(WHOLE)
    assert taken(positions, data(0, b"abc"), data(0, b"abc"), data(1, b"bcde"), data(5, b"f")) == [
        (0, b"abc", 0),
        (3, b"de", 0),
        (5, b"f", 0),
    ]


def test_the_next_request_goes_on_where_the_last_one_was() -> None:
    positions = LogPositions(WHOLE)
    taken(positions, data(0, b"abc"), data(0, b"x", task=2), end(3), data(0, b"yz", number=2))
    request = positions.request()
    where = {(p.id.task_index, p.id.epoch, p.id.number): p.offset for p in getattr(request, "from")}
    assert where == {(0, 7, 1): 3, (2, 7, 1): 1, (0, 7, 2): 2}
    assert request.follow and not getattr(WHOLE, "from")


def test_a_hole_is_not_passed_over() -> None:
    positions = LogPositions(WHOLE)
    taken(positions, data(0, b"abc"))
    with pytest.raises(HoleInLog, match="bytes 3 to 5 are missing"):
        positions.take(data(5, b"f"))
    with pytest.raises(HoleInLog, match="bytes 3 to 9 are missing"):
        positions.take(end(9))
    assert taken(positions, data(3, b"de")) == [(3, b"de", 0)]


def test_a_declared_gap_is_counted_once() -> None:
    positions = LogPositions(WHOLE)
    assert taken(positions, data(10, b"kept", dropped_before=10)) == [(10, b"kept", 10)]
    assert taken(positions, data(10, b"kept more", dropped_before=10)) == [(14, b" more", 0)]


def test_a_tail_begins_anywhere_and_goes_on_without_holes() -> None:
    positions = LogPositions(TAIL)
    assert taken(positions, data(100, b"last"), data(104, b" line")) == [
        (100, b"last", 0),
        (104, b" line", 0),
    ]
    with pytest.raises(HoleInLog):
        positions.take(data(110, b"x"))


def test_ends_are_told_once_and_may_be_short_where_bytes_died() -> None:
    positions = LogPositions(WHOLE)
    taken(positions, data(0, b"abc"))
    assert positions.take(end(9, truncated=True)) is not None
    assert positions.take(end(9, truncated=True)) is None
    assert positions.take(finished()) is not None


def test_lines_stay_whole_among_others() -> None:
    prefixer = LinePrefixer()
    zero, one = (0, 7, 1), (1, 7, 1)
    assert prefixer.feed(zero, b"a\nb") == b"[0] a\n"
    assert prefixer.feed(one, b"x\n\ny\n") == b"[1] x\n[1] \n[1] y\n"
    assert prefixer.feed(zero, b"c\nd") == b"[0] bc\n"
    assert prefixer.end(zero) == b"[0] d\n"
    assert prefixer.end(zero) == prefixer.end_all() == b""


def test_a_line_without_end_is_cut() -> None:
    prefixer = LinePrefixer()
    key = (3, 7, 1)
    text = prefixer.feed(key, b"x" * (2 * LONGEST_LINE + 5)) + prefixer.end(key)
    assert [len(line) for line in text.splitlines()] == [LONGEST_LINE + 4, LONGEST_LINE + 4, 5 + 4]


class Clock:
    """Time that passes only in pauses."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now


class Pauses(threading.Event):
    """An event that is waited for in no time."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        self.clock.now += timeout or 0.0
        self.clock.pauses.append(timeout or 0.0)
        return self.is_set()


def retry(clock: Clock, said: list[str], *, patient: bool = True) -> Retry:
    return Retry(10.0, patient=patient, announce=said.append, stopped=Pauses(clock), clock=clock)


def exhaust(patience: Retry, error: RpcFailed) -> CliError:
    """The error with which patience ends."""
    for _ in range(100):
        try:
            patience.pause(error)
        except CliError as given_up:
            return given_up
    raise AssertionError("it goes on for ever")


LOST = RpcFailed(UNREACHABLE, "gone", again=True)


def test_patience_ends_after_its_limit_with_growing_pauses() -> None:
    clock, said = Clock(), list[str]()
    patience = retry(clock, said)
    given_up = exhaust(patience, LOST)
    assert (given_up.status, given_up.message) == (
        UNREACHABLE,
        "gone; gave up after 10.0s without contact",
    )
    assert clock.now == pytest.approx(10.0)
    assert clock.pauses[:4] == [0.05, 0.1, 0.2, 0.4] and max(clock.pauses) == 2.0
    assert said == ["connection lost (gone); trying again for up to 10.0s"]


def test_progress_restores_patience_and_is_announced_after_silence() -> None:
    clock, said = Clock(), list[str]()
    patience = retry(clock, said)
    for _ in range(3):
        while clock.pauses[-1:] != [2.0]:
            patience.pause(LOST)
        patience.progress()
        clock.pauses.clear()
        clock.now += 100
    assert said == ["connection lost (gone); trying again for up to 10.0s", "connected again"] * 3


def test_a_quiet_stream_that_stood_for_long_has_all_the_patience_again() -> None:
    clock = Clock()
    patience = retry(clock, [], patient=False)
    for _ in range(5):
        patience.opened()
        clock.now += 60
        patience.pause(LOST)
        patience.opened()
        patience.pause(LOST)


def test_a_short_break_is_not_worth_a_line() -> None:
    clock, said = Clock(), list[str]()
    patience = retry(clock, said)
    while clock.now + clock.pauses[-1:].count(0.2) < QUIET_S / 2:
        patience.pause(LOST)
    patience.progress()
    assert said == []


def test_pauses_stay_long_for_a_stream_that_keeps_breaking() -> None:
    clock = Clock()
    patience = retry(clock, [])
    for _ in range(20):
        patience.pause(LOST)
        patience.progress()
    assert clock.pauses[-1] == 2.0


def test_what_is_not_worth_trying_again() -> None:
    refused = RpcFailed(NOT_FOUND, "there is no job")
    with pytest.raises(CliError, match="there is no job"):
        retry(Clock(), []).pause(refused)
    with pytest.raises(RpcFailed, match="gone"):
        retry(Clock(), [], patient=False).pause(LOST)
    stopped = retry(Clock(), [])
    stopped._stopped.set()
    with pytest.raises(Stopped):
        stopped.pause(LOST)


def test_a_broken_stream_is_not_an_unreachable_controller() -> None:
    clock = Clock()
    patience = retry(clock, [])
    broken = RpcFailed(STREAM_BROKEN, "ended early", again=True)
    assert exhaust(patience, broken).status == STREAM_BROKEN


def test_one_task_is_told_in_detail() -> None:
    narrator = Narrator()
    running = with_attempt(task("RUNNING"), attempt("RUNNING"))
    retried = with_attempt(task("PENDING"), attempt("FAILED", reason="exit", exit_code=3))
    again = with_attempt(task("RUNNING", attempts=2), attempt("RUNNING", number=2))
    told = [
        *narrator.lines(job("PENDING"), [task("PENDING", "starting", "slice s-1 is booting")], 0.1),
        *narrator.lines(job("PENDING"), [], 0.2),
        *narrator.lines(job("RUNNING"), [running], 2.0),
        *narrator.lines(job("RUNNING"), [retried], 3.0),
        *narrator.lines(job("RUNNING"), [again], 65.0),
        *narrator.lines(job("SUCCEEDED"), [task("SUCCEEDED")], 66.0),
    ]
    assert told == [
        "    0.1s  waiting: starting — slice s-1 is booting",
        "    2.0s  running on s-1 worker 0",
        "    3.0s  attempt 1: exit code 3; waiting",
        "   1m05s  running on s-1 worker 0 (attempt 2)",
    ]


def test_the_reason_may_change_while_the_task_does_not() -> None:
    narrator = Narrator()
    waiting = task("PENDING")
    told = [
        *narrator.lines(job("PENDING", "demand", "asked for a slice"), [waiting], 0.0),
        *narrator.lines(job("PENDING", "starting", "slice s-1 is booting"), [], 1.0),
    ]
    assert [line.split("  ")[-1] for line in told] == [
        "waiting: demand — asked for a slice",
        "waiting: starting — slice s-1 is booting",
    ]


def test_a_countdown_is_told_once() -> None:
    narrator, waiting = Narrator(), task("PENDING")
    told = []
    for step, wait in enumerate(("5s", "4s", "1.5s", "9s")):
        why = f"boxes waits {wait} after {1 + step // 3} failed: no space"
        told += narrator.lines(job("PENDING", "start_failed", why), [waiting], float(step))
        told += narrator.lines(job("PENDING", "start_failed", why), [], float(step))
    assert [line.split("  ")[-1] for line in told] == [
        "waiting: start_failed — boxes waits 5s after 1 failed: no space",
        "waiting: start_failed — boxes waits 9s after 2 failed: no space",
    ]


def test_many_tasks_are_counted_and_their_troubles_told() -> None:
    narrator = Narrator()
    failed = with_attempt(task("PENDING", index=1), attempt("FAILED", index=1, reason="exit", exit_code=2))
    told = [
        *narrator.lines(job("PENDING", "demand", replicas=3, PENDING=3), [], 0.0),
        *narrator.lines(job("RUNNING", replicas=3, RUNNING=1, PENDING=2), [], 1.0),
        *narrator.lines(job("RUNNING", replicas=3, RUNNING=2, PENDING=1), [], 1.5),
        *narrator.lines(job("RUNNING", replicas=3, RUNNING=2, PENDING=1), [failed], 4.0),
        *narrator.lines(job("RUNNING", replicas=3, RUNNING=2, PENDING=1), [failed], 9.0),
    ]
    assert told == [
        "    0.0s  waiting: demand (3 pending)",
        "    1.0s  running (1 running, 2 pending)",
        "    4.0s  task 1: exit code 2; will run again",
        "    4.0s  running (2 running, 1 pending)",
    ]


def test_a_running_job_says_for_whom_its_reason_is() -> None:
    told = Narrator().lines(
        job("RUNNING", "starting", "slice s-1", replicas=3, RUNNING=1, PENDING=2), [], 0.0
    )
    assert told == ["    0.0s  running; 2 wait: starting — slice s-1 (1 running, 2 pending)"]
    done = Narrator().lines(job("RUNNING", "starting", "slice s-1", replicas=2, RUNNING=2), [], 0.0)
    assert done == ["    0.0s  running (2 running)"]


def test_an_attempt_whose_end_nobody_saw_is_told() -> None:
    narrator = Narrator()
    again = with_attempt(task("RUNNING", index=1, attempts=2), attempt("RUNNING", number=2, index=1))
    again.failures = 1
    told = narrator.lines(job("RUNNING", replicas=2, RUNNING=2), [again], 1.0)
    assert told[0] == "    1.0s  task 1: attempt 1 has ended; attempt 2 follows (1 failed so far)"
    ended = with_attempt(task("RUNNING", index=0), attempt("FAILED", reason="exit", exit_code=2))
    assert narrator.lines(job("RUNNING", replicas=2, RUNNING=2), [ended], 2.0) == [
        "    2.0s  task 0: exit code 2; will run again"
    ]
    # It was told when it ended; that the next one runs is no news of it.
    after = with_attempt(task("RUNNING", index=0, attempts=2), attempt("RUNNING", number=2))
    assert narrator.lines(job("RUNNING", replicas=2, RUNNING=2), [after], 3.0) == []


def test_a_gangs_member_that_failed_is_not_said_to_run_again() -> None:
    """It stays RUNNING until its gang is out; whether the gang runs again is not decided."""
    failed = with_attempt(
        task("RUNNING", "gang", "exit code 3; waits for the rest of its gang"), attempt("FAILED", exit_code=3)
    )
    lines = Narrator().lines(job("RUNNING", replicas=2, RUNNING=2), [failed], 1.0)
    assert lines[0].endswith("task 0: exit code 3")


def test_troubles_have_a_bound() -> None:
    narrator = Narrator()
    tasks = [
        with_attempt(task("FAILED", index=index), attempt("FAILED", index=index, reason="exit", exit_code=1))
        for index in range(100)
    ]
    told = narrator.lines(job("FAILED", replicas=100, FAILED=100), tasks, 1.0)
    assert len(told) == MOST_TROUBLES + 1
    assert told[-1].endswith("more tasks had troubles: iris job show j")


def test_how_it_ended() -> None:
    over = job("FAILED")
    over.submitted_at.FromMilliseconds(1_000)
    over.started_at.FromMilliseconds(3_500)
    over.finished_at.FromMilliseconds(10_000)
    ended = with_attempt(task("FAILED"), attempt("FAILED", reason="signal", signal=9))
    assert final_line(over, [ended]) == (
        "job j FAILED after 9.0s: ended by signal 9 (SIGKILL) (waited 2.5s, ran 6.5s)"
    )
    assert final_line(job("KILLED", "job_stopped")) == "job j KILLED: job_stopped"
    assert final_line(job("FAILED", replicas=3, SUCCEEDED=2, FAILED=1)) == (
        "job j FAILED: 2 succeeded, 1 failed"
    )


def test_what_a_job_waited_between_its_runs_is_not_said_to_have_been_run() -> None:
    over = job("SUCCEEDED")
    over.submitted_at.FromMilliseconds(1_000)
    over.started_at.FromMilliseconds(3_500)
    over.finished_at.FromMilliseconds(103_500)
    latest = attempt("SUCCEEDED", number=2)
    latest.started_at.FromMilliseconds(93_500)
    latest.finished_at.FromMilliseconds(103_500)
    ended = with_attempt(task("SUCCEEDED", attempts=2), latest)
    assert final_line(over, [ended]) == (
        "job j SUCCEEDED after 1m42s (first waited 2.5s, attempt 2 ran 10.0s)"
    )


def test_control_characters_stay_out_of_the_terminal() -> None:
    lines = Narrator().lines(job("PENDING", "x", "a\x1b[2Jb\nc"), [], 0.0)
    assert lines == ["    0.0s  waiting: x — a\\x1b[2Jb\\nc"]
