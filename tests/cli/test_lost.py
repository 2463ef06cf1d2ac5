"""Files, keys and state that were lost: no stop may then claim more than it can prove."""

from __future__ import annotations

import os
import shutil
import signal

import pytest

from iris_platform import processes
from tests.cli.bench import Bench
from tests.cli.terminal import Terminal


def kill(pid: int | None) -> None:
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert processes.wait_until(lambda: processes.start_time(pid) is None, 30)


def start_and_lose_the_keys(bench: Bench) -> tuple[str, str]:
    """A slice of an identity that nobody can prove any more: its name, and the id."""
    assert bench.start().status == 0
    name = bench.add_slice(1)
    kill(bench.pid())
    shutil.rmtree(bench.paths.pki_dir)
    return name, name.split("-")[1]


def test_a_start_mints_no_identity_beside_what_another_left(bench: Bench) -> None:
    name, cluster_id = start_and_lose_the_keys(bench)
    done = bench.start()
    assert done.status == 6 and "nothing was started" in done.err
    assert name in done.err and f"cluster stop --cluster-id {cluster_id}" in done.err
    assert not bench.paths.pki_dir.exists()
    shutil.rmtree(bench.paths.state_dir)
    assert bench.start().status == 6


def test_a_start_mints_no_identity_beside_another_ones_store(bench: Bench) -> None:
    assert bench.start().status == 0 and bench.stop("-y").status == 0
    shutil.rmtree(bench.paths.pki_dir)
    done = bench.start()
    assert done.status == 6 and "move that directory away to begin anew" in done.err
    assert not bench.paths.pki_dir.exists()
    shutil.rmtree(bench.paths.state_dir)
    assert bench.start().status == 0


def test_a_stop_counts_what_another_identity_left(bench: Bench) -> None:
    name, cluster_id = start_and_lose_the_keys(bench)
    lost = bench.stop("-y")
    assert lost.status == 6 and name in lost.err
    # As an earlier release left it: new keys beside the old slices.
    bench.add_slice(2)
    done = bench.stop("-y")
    assert done.status == 6
    assert f"slice {name} is left: it carries cluster id {cluster_id}" in done.text
    assert "zone local: 1 slice, 1 agent" in done.text
    assert f"to remove it: iris --config demo.yaml cluster stop -y --cluster-id {cluster_id}" in done.err
    assert len(bench.agents()) == 1
    done = bench.stop("-y", "--cluster-id", cluster_id)
    assert done.status == 0, done.err
    assert "zone local: 0 slices, 0 agents" in done.text and bench.agents() == []


def test_a_stop_without_keys_by_the_id(bench: Bench) -> None:
    _, cluster_id = start_and_lose_the_keys(bench)
    wrong = bench.stop("-y", "--cluster-id", "nope")
    assert wrong.status == 2 and "expected ten characters" in wrong.err
    with Terminal(bench.iris, "cluster", "stop", "--config", "demo.yaml") as terminal:
        terminal.wait_for("Stop these too? [y/N] ")
        assert cluster_id in terminal.shown
        terminal.type("y")
        terminal.wait_for("Delete 1 slice of cluster demo and stop it? [y/N] ")
        terminal.type("y")
        assert terminal.finish() == 0
    assert bench.agents() == []


def test_keys_that_are_lost_under_a_live_controller(bench: Bench) -> None:
    assert bench.start().status == 0
    pid = bench.pid()
    shutil.rmtree(bench.paths.pki_dir)
    done = bench.stop("-y")
    assert done.status == 0, done.err
    assert pid is not None and processes.start_time(pid) is None


def test_state_that_is_lost_under_a_live_controller(bench: Bench) -> None:
    assert bench.start().status == 0
    pid = bench.pid()
    bench.add_slice(1)
    shutil.rmtree(bench.paths.state_dir)
    status = bench.iris("--config", "demo.yaml", "cluster", "status")
    assert status.status == 5 and f"runs as process {pid}, but" in status.err
    rehearsed = bench.stop("--dry-run")
    assert f"stop the controller (process {pid})" in rehearsed.text
    assert "controller: not running" not in rehearsed.text
    done = bench.stop("-y")
    assert done.status == 0, done.err
    assert pid is not None and processes.start_time(pid) is None
    assert "controller: not running" in done.text and bench.agents() == []


@pytest.mark.parametrize("text", ["", "{}", "[]"])
def test_a_damaged_controller_file_does_not_hinder_the_stop(bench: Bench, text: str) -> None:
    assert bench.start().status == 0
    pid = bench.pid()
    bench.add_slice(1)
    bench.paths.controller_file.write_text(text)
    listed = bench.iris("--config", "demo.yaml", "job", "list")
    assert listed.status == 5 and f"process {pid}; remove {bench.paths.controller_file}" in listed.err
    done = bench.stop("-y")
    assert done.status == 0, done.err
    assert pid is not None and processes.start_time(pid) is None and bench.agents() == []
    # And the file of one that is gone is no hindrance to a start.
    bench.paths.controller_file.write_text(text)
    assert bench.start().status == 0


def test_a_bad_record_does_not_hinder_the_stop(bench: Bench) -> None:
    assert bench.start().status == 0
    names = [bench.add_slice(1), bench.add_slice(2), bench.add_slice(3, "there", "attic")]
    kill(bench.pid())
    (bench.paths.local_root / names[0] / "slice.json").write_text("{")
    rehearsed = bench.stop("--dry-run")
    assert rehearsed.status == 6 and "cannot be listed" in rehearsed.text
    # In a zone of its own, it is not known to be there.
    assert bench.stop("-y", "--zone", "attic").status == 6
    assert sorted(path.name for path in bench.paths.local_root.glob("iris-*")) == names[:2]
    done = bench.stop("-y")
    assert done.status == 0, done.err
    assert f"delete slice {names[0]} in zone attic (here, UNREADABLE, 1 host)" in done.text
    assert f"delete slice {names[1]} in zone local (here, UNLISTED, 1 host)" in done.text
    assert "zone local: 0 slices, 0 agents" in done.text and bench.agents() == []


def test_a_halted_controller(bench: Bench) -> None:
    assert bench.start().status == 0
    pid = bench.pid()
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    done = bench.stop("--dry-run")
    assert "did not answer in time" in done.err
    assert "kept for the next start: any jobs that have not ended (no controller said how many)" in done.text
    kill(pid)


def test_the_end_of_the_log_stands_below_its_heading(bench: Bench) -> None:
    bench.install("--fail")
    lines = bench.start().err.splitlines()
    heading = next(n for n, line in enumerate(lines) if "the controller ended; the end of" in line)
    assert lines[heading + 1] == "  port 7 is in use"


def test_a_cluster_without_groups_is_warned_of(bench: Bench) -> None:
    bench.config.write_text("name: demo\n")
    done = bench.start()
    assert done.status == 0, done.err
    assert "demo.yaml:1:1: warning: scale_groups: there are none; no job can run" in done.err
    assert "and at the end: iris --cluster demo cluster stop" in done.err
