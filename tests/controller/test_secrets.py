"""What jobs are given to keep to themselves is in no file of the controller, and is there again after a start."""

import os
import signal
import sqlite3
import stat
import subprocess
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from iris_controller.core import events as e
from iris_platform.controller_file import ControllerRecord
from iris_proto.v1 import controller_pb2, controller_pb2_grpc, job_pb2
from tests.controller.agents import RUNNING, failed, spec
from tests.controller.running import PATIENCE_S, run, running
from tests.controller.whole import command, started

SECRET = "hunter2-correct-horse"
# No slice is ever made: none may be in a minute.
GROUP = {
    "name": "here",
    "provider": {"local": {}},
    "zones": ["local"],
    "max_slices": 1,
    "slice_size": 1,
    "host_resources": {"cpu": 4},
}
SECRETIVE = replace(spec(tasks=3), env={"TOKEN": SECRET, f"NAME_{SECRET}": "1"})


def telling(*places: Path) -> list[str]:
    """The files below these places in which the secret is, by name or by content."""
    files = [path for place in places for path in place.rglob("*") if path.is_file()]
    assert files
    return [path.name for path in files if SECRET.encode() in path.read_bytes() or SECRET in path.name]


def test_no_file_has_the_secret_while_the_controller_runs_and_after(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path) as it:
            job = await it.submit(SECRETIVE)
            assert (tmp_path / "iris.db-wal").stat().st_size > 0
            assert telling(tmp_path) == []
            it.store.db.execute("PRAGMA wal_checkpoint(FULL)")
            assert telling(tmp_path) == []
            # Events, attempts and their ends.
            session = await it.boots()
            await it.says(session, it.attempt(job), RUNNING, failed())
            await it.happens(e.JobStopRequested(job))
            assert telling(tmp_path) == []
        assert telling(tmp_path) == []

    run(test)


def test_a_job_is_itself_again_after_a_start_and_after_a_commit_that_failed(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path) as it:
            job = await it.submit(SECRETIVE)
        async with running(tmp_path) as it:
            assert it.controller.world.jobs[job].spec == SECRETIVE
            it.store.fill_the_disk()
            for number in range(50):
                it.controller.post(e.JobSubmitted(f"f{number}", f"f{number}", SECRETIVE))
            with pytest.raises(Exception, match="full"):
                await it.submit(replace(SECRETIVE, command=("echo", "x" * 100_000)), "too-large")
            it.store.free_the_disk()
            assert it.controller.view.jobs[job].spec == SECRETIVE
            assert await it.submit(SECRETIVE, "r1") == job
            assert telling(tmp_path) == []

    run(test)


def test_texts_made_of_a_job_do_not_have_it() -> None:
    assert SECRET not in f"{SECRETIVE} {e.JobSubmitted('r', 'j', SECRETIVE)!r}"


# -- a process of its own -------------------------------------------------------


def argv(home: Path) -> list[str]:
    return command(home, {"name": "demo", "scale_groups": {"here": GROUP}}, "--log-level", "debug")


def call(record: ControllerRecord, method: str, request: Any) -> Any:
    with grpc.insecure_channel(record.address) as channel:
        stub: Any = controller_pb2_grpc.ControllerServiceStub(channel)
        auth = (("authorization", f"Bearer {record.token}"),)
        return getattr(stub, method)(request, metadata=auth, timeout=PATIENCE_S)


def submit(record: ControllerRecord, env: Mapping[str, str], request_id: str = "r") -> str:
    wanted = job_pb2.JobSpec(command=["true"], env=env)
    answer = call(record, "SubmitJob", controller_pb2.SubmitJobRequest(spec=wanted, request_id=request_id))
    return str(answer.job.job_id)


def env_of(record: ControllerRecord, job_id: str) -> dict[str, str]:
    job = call(record, "GetJob", controller_pb2.GetJobRequest(job_id=job_id)).job
    return dict(job.spec.env)


def test_a_process_that_is_killed_leaves_no_secret_and_the_next_one_knows_it(tmp_path: Path) -> None:
    with started(tmp_path, argv(tmp_path), signal.SIGKILL) as record:
        job = submit(record, {"TOKEN": SECRET})
        with pytest.raises(grpc.RpcError, match="is not the name of a variable") as raised:
            submit(record, {f"TOKEN={SECRET}": ""}, "bad")
        assert SECRET not in str(raised.value)
    assert (tmp_path / "state" / "iris.db-wal").stat().st_size > 0
    assert telling(tmp_path) == []
    key = tmp_path / "pki" / "store.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    before = key.read_bytes()
    with started(tmp_path, argv(tmp_path)) as record:
        assert env_of(record, job) == {"TOKEN": SECRET}
        call(record, "StopJob", controller_pb2.StopJobRequest(job_id=job))
    assert (telling(tmp_path), key.read_bytes()) == ([], before)


def refused(home: Path) -> str:
    """What a start says that ends with status 2."""
    done = subprocess.run(argv(home), capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 2, done.stderr
    return done.stderr


def test_a_row_that_was_damaged_is_said_in_one_line_and_nothing_is_lost(tmp_path: Path) -> None:
    with started(tmp_path, argv(tmp_path)) as record:
        job = submit(record, {"TOKEN": SECRET})
    path = tmp_path / "state" / "iris.db"
    with closing(sqlite3.connect(path)) as db, db:
        (good,) = db.execute("SELECT spec FROM jobs").fetchone()
        db.execute("UPDATE jobs SET spec = ?", (good[:-1] + bytes([good[-1] ^ 1]),))
    said = refused(tmp_path)
    assert said == (
        f"iris-controller: {path}: the row of {job} in jobs is damaged or was moved: it cannot be decrypted;"
        " restore the state directory from a backup\n"
    )
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE jobs SET spec = ?", (good,))
    with started(tmp_path, argv(tmp_path)) as record:
        assert env_of(record, job) == {"TOKEN": SECRET}


def everything(home: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (home / "pki").iterdir() if path.name.endswith(".key")}


@pytest.mark.parametrize(
    ("trouble", "says"),
    [
        ("missing", "missing, and {db} is encrypted with it; restore it from a backup"),
        ("mode", "the store's key is open to others (mode 0640); chmod 600 it"),
        ("damaged", "the store's key is damaged; restore it from a backup"),
        ("another", "is not the key that {db} is encrypted with; restore that one from a backup"),
    ],
)
def test_a_key_that_cannot_be_used_is_said_in_one_line_and_nothing_is_lost(
    tmp_path: Path, trouble: str, says: str
) -> None:
    with started(tmp_path, argv(tmp_path)) as record:
        job = submit(record, {"TOKEN": SECRET})
    key = tmp_path / "pki" / "store.key"
    good = key.read_bytes()
    match trouble:
        case "missing":
            key.unlink()
        case "mode":
            key.chmod(0o640)
        case "damaged":
            key.write_bytes(good[:-3])
        case _:
            key.write_bytes(os.urandom(32).hex().encode() + b"\n")
    before = everything(tmp_path)
    said = refused(tmp_path)
    expected = says.format(db=tmp_path / "state" / "iris.db")
    assert said.startswith(f"iris-controller: {key}: {expected}") and said.count("\n") == 1
    assert everything(tmp_path) == before
    key.unlink(missing_ok=True)
    key.touch(0o600)
    key.write_bytes(good)
    with started(tmp_path, argv(tmp_path)) as record:
        assert env_of(record, job) == {"TOKEN": SECRET}
