"""Jobs from the command line to a controller on a real socket and back."""

from __future__ import annotations

import json

import pytest

from tests.cli.fake_controller import FakeController
from tests.cli.fake_service import FakeService
from tests.cli.runner import Runner
from tests.cli.terminal import Terminal

DEMO = ("--cluster", "demo")


def test_run_prints_output_and_ends_as_the_job(iris: Runner, service: FakeService) -> None:
    done = iris(*DEMO, "job", "run", "--", "echo", "hello", "world")
    assert (done.status, done.out) == (0, b"hello world\n")
    assert "submitted job job-1 (1 task)" in done.err
    assert "job job-1 SUCCEEDED after 5.0s (waited 2.0s, ran 3.0s)" in done.err


@pytest.mark.parametrize(
    ("command", "status"),
    [(["fail", "3"], 3), (["killed"], 137), (["missing"], 127)],
    ids=["code", "signal", "not found"],
)
def test_run_exits_with_the_programs_own_status(
    iris: Runner, service: FakeService, command: list[str], status: int
) -> None:
    assert iris(*DEMO, "job", "run", "--", *command).status == status
    assert iris(*DEMO, "job", "wait", "job-1").status == status


def test_run_says_why_it_waits(iris: Runner, service: FakeService) -> None:
    with iris.start(*DEMO, "job", "run", "--", "hold") as running:
        job = service.wait_for_job()
        job.wait("starting", "slice iris-x-here-1-1 is booting")
        first = running.read_error_line()
        # A bare `waiting` may come before the reason does.
        while "booting" not in (waiting := running.read_error_line()):
            assert "waiting" in waiting
        job.run()
        job.end()
        done = running.finish()
    assert done.status == 0
    assert first == "iris: submitted job job-1 (1 task)\n"
    assert waiting.endswith("s  waiting: starting — slice iris-x-here-1-1 is booting\n")


def test_run_detached_prints_the_id_only(iris: Runner, service: FakeService) -> None:
    done = iris(*DEMO, "job", "run", "--detach", "--name", "n", "--", "hold")
    assert (done.status, done.out, done.err) == (0, b"job-1\n", "")
    assert service.jobs["job-1"].job.name == "n"


def test_run_sends_what_was_typed_byte_for_byte(iris: Runner, service: FakeService) -> None:
    words = ["hold", "a b", "'\"", "$(x) ${HOME}", "é\n", "-v", "--"]
    env = {"FROM_HERE": "v=\n é"}
    done = iris(
        *DEMO, "job", "run", "--detach", "--replicas", "2", "--gang", "--cpu", "0.5", "--memory", "2GiB",
        "-e", "FROM_HERE", "-e", "EMPTY=", "--env", "EQ=a=b", "--max-failures", "3", "--max-losses", "0",
        "--timeout", "1h30m", "--accelerator", "v5e-8", "--", *words, env=env,
    )  # fmt: skip
    assert done.status == 0, done.err
    spec = service.jobs["job-1"].job.spec
    assert list(spec.command) == words
    assert dict(spec.env) == {"FROM_HERE": "v=\n é", "EMPTY": "", "EQ": "a=b"}
    assert (spec.replicas, spec.gang, spec.max_failures) == (2, True, 3)
    assert spec.accelerator == "v5litepod-8"
    assert spec.HasField("max_losses") and spec.max_losses == 0
    assert (spec.resources.cpu_millis, spec.resources.memory_bytes) == (500, 2 << 30)
    assert spec.timeout.ToSeconds() == 5400
    shown = iris(*DEMO, "job", "show", "job-1").text
    assert "in a gang" in shown and "1h30m an attempt" in shown and "v5litepod-8" in shown
    header, row = iris(*DEMO, "job", "list", "-o", "wide").text.splitlines()
    assert "GANG" in header and " yes " in row
    assert "ACCELERATOR" in header and " v5litepod-8 " in row


def test_words_that_cannot_travel_are_refused(iris: Runner, service: FakeService) -> None:
    done = iris(*DEMO, "job", "run", "--", b"hold", b"\xff\xfe")
    assert done.status == 2 and "argument 1 is not UTF-8" in done.err and r"\xff\xfe" in done.err
    done = iris(*DEMO, "job", "run", "--name", b"\xff", "--", "hold")
    assert done.status == 2 and "--name is not UTF-8" in done.err
    # Each fits in what the kernel hands to us, but not with what the agent adds.
    done = iris(*DEMO, "job", "run", "--", "hold", *["x" * 120_000] * 16)
    assert done.status == 2 and "too long together: 1,920,1" in done.err
    done = iris(*DEMO, "job", "run", "-e", "NOT_SET_ANYWHERE", "--", "hold")
    assert done.status == 2 and "NOT_SET_ANYWHERE is not set here" in done.err
    assert not service.jobs


def test_a_lost_answer_makes_no_second_job(iris: Runner, service: FakeService) -> None:
    service.lost_answers = 2
    done = iris(*DEMO, "job", "run", "--", "echo", "once")
    assert (done.status, done.out) == (0, b"once\n")
    assert (service.submits, len(service.jobs)) == (3, 1)


def test_json_is_the_job_alone_on_stdout(iris: Runner, service: FakeService) -> None:
    done = iris(*DEMO, "-o", "json", "job", "run", "--", "echo", "hello")
    assert done.status == 0 and "hello\n" in done.err
    assert done.document["job"]["job_id"] == "job-1"
    assert done.document["job"]["state"] == "JOB_STATE_SUCCEEDED"


def test_lines_of_several_tasks_have_their_index(iris: Runner, service: FakeService) -> None:
    job = service.add_job("hold", replicas=2)
    for index in (0, 1):
        job.run(index)
    job.write(b"one\ntw", 0)
    job.write(b"other\n", 1)
    job.write(b"o\nno newline", 0)
    job.end(0)
    job.end(1)
    done = iris(*DEMO, "job", "logs", "job-1")
    assert done.status == 0
    assert sorted(done.out.splitlines()) == [b"[0] no newline", b"[0] one", b"[0] two", b"[1] other"]
    assert iris(*DEMO, "job", "logs", "--task", "0", "job-1").out == b"one\ntwo\nno newline"


def test_logs_are_bytes_and_can_be_cut_to_a_tail(iris: Runner, service: FakeService) -> None:
    job = service.add_job("hold")
    data = bytes(range(256)) * 20 + b"\nlast\n"
    job.run()
    job.write(data)
    job.end()
    assert iris(*DEMO, "job", "logs", "job-1").out == data
    assert iris(*DEMO, "job", "logs", "--tail", "1", "job-1").out == b"last\n"
    assert iris(*DEMO, "job", "logs", "--tail", "0", "job-1").out == b""


def test_logs_as_json_are_an_object_a_line(iris: Runner, service: FakeService) -> None:
    job = service.add_job("hold")
    job.run()
    job.write(b"hello\n")
    job.end()
    done = iris(*DEMO, "job", "logs", "job-1", "-o", "json")
    kinds = [next(iter(json.loads(line))) for line in done.text.splitlines()]
    assert kinds == ["data", "end", "finished"]


def test_a_gap_in_the_log_is_told(iris: Runner, service: FakeService) -> None:
    job = service.add_job("hold")
    job.run()
    job.write(b"x" * 10 + b"kept\n")
    job.logs[0].dropped_before = 10
    job.end()
    done = iris(*DEMO, "job", "logs", "job-1")
    assert (done.status, done.out) == (0, b"kept\n")
    assert "10 bytes of task 0 were dropped" in done.err


def test_unknown_jobs(iris: Runner, service: FakeService) -> None:
    for verb in ("show", "logs", "stop"):
        done = iris(*DEMO, "job", verb, "nope")
        assert (done.status, done.out) == (3, b"")
        assert "there is no job nope" in done.err
    done = iris(*DEMO, "job", "wait", "nope")
    assert done.status == 113 and "wait again" not in done.err
    done = iris(*DEMO, "job", "show", b"\xff")
    assert done.status == 2 and "is not UTF-8 text" in done.err and "unexpected" not in done.err


def test_what_is_for_programs_is_not_cut(iris: Runner, service: FakeService) -> None:
    message = "no slice has room " * 20
    job = service.add_job("hold", "a b", "$x")
    job.wait("no_capacity", message.strip())
    assert message.strip() in iris(*DEMO, "job", "list").text
    assert "hold 'a b' '$x'" in iris(*DEMO, "job", "list", "-o", "wide").text
    with Terminal(iris, *DEMO, "job", "list") as terminal:
        assert terminal.finish() == 0
    assert max(map(len, terminal.shown.splitlines())) <= 80 and "…" in terminal.shown


def test_a_task_that_did_well_needs_no_reason(iris: Runner, service: FakeService) -> None:
    iris(*DEMO, "job", "run", "--", "echo")
    row = iris(*DEMO, "job", "show", "job-1").text.splitlines()[-1]
    assert "SUCCEEDED" in row and not row.endswith("exit")


def test_an_empty_list_of_active_jobs(iris: Runner, service: FakeService) -> None:
    done = iris(*DEMO, "job", "list", "--active")
    assert (done.status, done.out) == (0, b"") and "no job is active" in done.err


def test_list_and_show(iris: Runner, service: FakeService) -> None:
    for number in range(7):
        service.add_job(f"program{number}")
    job = service.add_job("hold", replicas=4)
    job.wait("no_capacity", "no slice has room")
    listed = iris(*DEMO, "job", "list", "-o", "json").document
    assert [entry["job_id"] for entry in listed["jobs"]] == [f"job-{n}" for n in range(8, 0, -1)]
    assert listed["next_page_token"] == ""
    table = iris(*DEMO, "job", "list").text.splitlines()
    assert table[0].split() == ["JOB", "ID", "NAME", "STATE", "TASKS", "AGE", "RAN", "REASON"]
    assert "PENDING" in table[1] and "no_capacity — no slice has room" in table[1]
    shown = iris(*DEMO, "job", "show", "job-8", "-o", "json").document
    assert shown["job"]["reason"] == "no_capacity"
    assert [task["task_index"] for task in shown["tasks"]] == [0, 1, 2, 3]
    assert "4: 4 pending" in iris(*DEMO, "job", "show", "job-8").text


def test_stop(iris: Runner, service: FakeService) -> None:
    job = service.add_job("hold")
    done = iris(*DEMO, "job", "stop", job.job.job_id)
    assert done.status == 0 and "job job-1 is KILLED" in done.err
    assert iris(*DEMO, "job", "wait", "job-1").status == 1


def test_wait_has_a_limit(iris: Runner, service: FakeService) -> None:
    service.add_job("hold")
    done = iris(*DEMO, "job", "wait", "--timeout", "200ms", "job-1")
    assert done.status == 117
    assert "had not ended after 0.2s" in done.err


def test_an_old_token_is_not_allowed(iris: Runner, controller: FakeController) -> None:
    path = iris.state_dir / "controller.json"
    record = json.loads(path.read_text())
    controller.write_file(record["address"], "wrong")
    done = iris(*DEMO, "job", "list")
    assert done.status == 4 and "token" in done.err
