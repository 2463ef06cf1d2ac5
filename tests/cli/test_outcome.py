"""Exit statuses: of jobs, of gRPC codes, of Iris itself."""

from __future__ import annotations

import grpc
import pytest

from iris_cli.exits import CliError, after_submission
from iris_cli.outcome import exit_code_text, exit_status, how_it_ended
from iris_cli.statuses import EXIT_STATUS, WORTH_ANOTHER_STREAM
from iris_proto.v1.job_pb2 import Attempt
from tests.cli.builders import attempt, job, task, with_attempt


@pytest.mark.parametrize(
    ("state", "latest", "status"),
    [
        ("SUCCEEDED", attempt("SUCCEEDED", exit_code=0), 0),
        ("FAILED", attempt("FAILED", reason="exit", exit_code=3), 3),
        ("FAILED", attempt("FAILED", reason="signal", signal=11), 139),
        ("FAILED", attempt("FAILED", reason="not_found"), 127),
        ("FAILED", attempt("FAILED", reason="not_executable"), 126),
        ("FAILED", attempt("WORKER_LOST", reason="lease_expired"), 1),
        ("FAILED", attempt("FAILED", reason="timeout", signal=9), 137),
        ("KILLED", attempt("KILLED", reason="job_stopped", signal=15), 143),
        # It ended well when it was told to stop; the job did not succeed.
        ("KILLED", attempt("KILLED", reason="job_stopped", exit_code=0), 1),
        ("UNSCHEDULABLE", None, 1),
    ],
)
def test_the_status_of_a_job_of_one(state: str, latest: Attempt | None, status: int) -> None:
    only = task(state)
    if latest is not None:
        with_attempt(only, latest)
    assert exit_status(job(state), only) == status


def test_the_status_of_a_job_of_many() -> None:
    assert exit_status(job("SUCCEEDED", replicas=2), None) == 0
    assert exit_status(job("FAILED", replicas=2), None) == 1


def test_how_an_attempt_ended() -> None:
    def words(latest: Attempt) -> str:
        return how_it_ended(with_attempt(task("FAILED"), latest))

    assert words(attempt("FAILED", reason="exit", exit_code=3)) == "exit code 3"
    assert words(attempt("FAILED", reason="timeout", signal=9)) == "ended by signal 9 (SIGKILL): timeout"
    assert words(attempt("FAILED", reason="signal", signal=250)) == "ended by signal 250"
    assert words(attempt("FAILED", reason="not_found")) == "not_found"


def test_a_signal_has_one_name() -> None:
    stopped = attempt("KILLED", reason="job_stopped", signal=15)
    assert how_it_ended(with_attempt(task("KILLED"), stopped)) == "ended by signal 15 (SIGTERM): job_stopped"
    assert exit_code_text(stopped) == "signal 15 (SIGTERM)"


def test_every_grpc_code_has_a_status() -> None:
    assert set(EXIT_STATUS) == set(grpc.StatusCode)
    assert all(1 <= status <= 8 for status in EXIT_STATUS.values())


def test_what_the_codes_mean() -> None:
    named = {code.name: status for code, status in EXIT_STATUS.items()}
    assert {name: named[name] for name in (
        "INVALID_ARGUMENT", "NOT_FOUND", "PERMISSION_DENIED", "UNAUTHENTICATED", "UNAVAILABLE",
        "FAILED_PRECONDITION", "DEADLINE_EXCEEDED", "CANCELLED", "INTERNAL",
    )} == {
        "INVALID_ARGUMENT": 2, "NOT_FOUND": 3, "PERMISSION_DENIED": 4, "UNAUTHENTICATED": 4,
        "UNAVAILABLE": 5, "FAILED_PRECONDITION": 1, "DEADLINE_EXCEEDED": 7, "CANCELLED": 8, "INTERNAL": 1,
    }  # fmt: skip


def test_a_refusal_is_not_asked_again() -> None:
    refusals = ("INVALID_ARGUMENT", "NOT_FOUND", "PERMISSION_DENIED", "FAILED_PRECONDITION", "UNIMPLEMENTED")
    assert not WORTH_ANOTHER_STREAM & {grpc.StatusCode[name] for name in refusals}


@pytest.mark.parametrize(
    ("before", "after"), [(5, 115), (7, 117), (8, 118), (3, 113), (115, 115), (130, 130)]
)
def test_iris_own_statuses_after_the_submission(before: int, after: int) -> None:
    error = after_submission(CliError(before, "why", hint="h", details=("d",)))
    assert (error.status, error.message, error.hint, error.details) == (after, "why", "h", ("d",))
