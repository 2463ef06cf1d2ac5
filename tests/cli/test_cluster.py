"""Clusters come up once and go down whole; the controller is a stand-in process."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from iris_platform import processes
from iris_platform.state_lock import StateLock
from tests.cli.bench import CONFIG, Bench
from tests.cli.terminal import Terminal


def test_start_is_idempotent_and_the_cluster_is_found_again(bench: Bench) -> None:
    first = bench.start()
    assert (first.status, first.out) == (0, b"")
    assert "cluster demo is up: controller" in first.err
    assert "next: iris --cluster demo job run -- echo hello" in first.err
    pid = bench.pid()
    again = bench.start()
    assert again.status == 0 and "is running already" in again.err
    assert bench.pid() == pid
    for words in ([], ["--cluster", "demo"], ["--config", "demo.yaml"]):
        assert bench.iris("job", "list", *words).status == 0
    assert bench.iris("job", "list", env={"IRIS_CONFIG": "demo.yaml"}).status == 0
    config = json.loads(bench.paths.config_file.read_text())
    assert config["name"] == "demo" and bench.paths.config_file.stat().st_mode & 0o777 == 0o600
    status = bench.start("-o", "json")
    assert status.document["phase"] == "CLUSTER_PHASE_RUNNING"


def test_start_with_another_configuration_changes_nothing(bench: Bench) -> None:
    assert bench.start().status == 0
    pid = bench.pid()
    bench.config.write_text(CONFIG.replace("max_slices: 2", "max_slices: 3"))
    done = bench.start()
    assert (done.status, done.text) == (6, "scale_groups.here.max_slices: 2 -> 3\n")
    assert "runs with another configuration; nothing was changed" in done.err
    assert bench.pid() == pid
    assert '"max_slices": 2' in bench.paths.config_file.read_text()
    # A stop would delete every slice.
    words = done.err.partition("to take it over without a stop: iris ")[2].split()
    assert words == ["--config", "demo.yaml", "cluster", "restart"]
    assert bench.iris(*words).status == 0
    assert bench.start().status == 0


def test_start_with_a_state_directory_of_its_own_is_found_again(bench: Bench, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    assert bench.start("--state-dir", "elsewhere", "--pki-dir", str(tmp_path / "keys")).status == 0
    assert (elsewhere / "controller.json").exists() and (tmp_path / "keys" / "cluster.key").exists()
    assert bench.iris("job", "list").status == 0
    assert bench.start().status == 0
    other = bench.start("--state-dir", "third")
    assert other.status == 6 and f"another state directory: {elsewhere}" in other.err
    stopped = bench.stop("-y")
    assert stopped.status == 0, stopped.err
    assert f"kept: state in {elsewhere}" in stopped.text


def test_a_controller_that_does_not_come_up(bench: Bench) -> None:
    bench.install("--fail")
    done = bench.start()
    assert (done.status, done.out) == (1, b"")
    assert "the controller ended" in done.err and "port 7 is in use" in done.err
    assert "Traceback" not in done.err


def test_a_provider_of_another_release(bench: Bench) -> None:
    bench.config.write_text(CONFIG + "  tpus: { provider: { tpu: { project_id: p } }, zones: [z] }\n")
    done = bench.start()
    assert done.status == 2
    assert not bench.paths.state_dir.exists()


def test_stop_proves_that_nothing_is_left(bench: Bench) -> None:
    """B60, B64: what the rehearsal says is what is then deleted."""
    assert bench.start().status == 0
    names = [bench.add_slice(1), bench.add_slice(2), bench.add_slice(3, "there", "attic")]
    rehearsed = bench.stop("--dry-run", "-o", "json")
    assert rehearsed.status == 0 and rehearsed.document["dry_run"] is True
    assert len(bench.agents()) == 3
    assert "-y is needed" in (refused := bench.stop()).err and refused.status == 2
    done = bench.stop("-y", "-o", "json")
    assert done.status == 0, done.err
    assert sorted(entry["name"] for entry in done.document["slices"]) == sorted(names)
    assert done.document["slices"] == rehearsed.document["slices"]
    assert done.document["left"] == []
    assert [zone["slices"] for zone in done.document["zones"]] == [0, 0]
    assert bench.agents() == [] and bench.pid() is None


def test_stop_works_twice_and_without_a_controller(bench: Bench) -> None:
    """B63."""
    assert bench.start().status == 0
    name = bench.add_slice(1)
    pid = bench.pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert processes.wait_until(lambda: processes.start_time(pid) is None, 30)
    done = bench.stop("-y")
    assert done.status == 0, done.err
    assert f"delete slice {name} in zone local (here, RUNNING, 1 host)" in done.text
    assert "zone attic: 0 slices, 0 agents" in done.text and "zone local: 0 slices, 0 agents" in done.text
    assert "controller: not running" in done.text
    assert f"kept: state in {bench.paths.state_dir}, keys in {bench.paths.pki_dir}" in done.text
    assert bench.agents() == []
    twice = bench.stop("-y")
    assert twice.status == 0 and "nothing to delete" in twice.text


@pytest.mark.parametrize("fault", ["--deaf"])
def test_stop_goes_on_where_the_controller_does_not(bench: Bench, fault: str) -> None:
    bench.install(fault)
    assert bench.start().status == 0
    bench.add_slice(1)
    done = bench.stop("-y")
    assert done.status == 0, done.err
    assert "going on without it" in done.err
    assert bench.agents() == [] and bench.pid() is None


def test_a_zone_that_was_dropped_from_the_file_is_still_stopped(bench: Bench) -> None:
    """B66."""
    assert bench.start().status == 0
    name = bench.add_slice(3, "there", "attic")
    bench.config.write_text("\n".join(CONFIG.splitlines()[:-1]))
    done = bench.stop("-y")
    assert done.status == 0 and f"delete slice {name} in zone attic" in done.text
    assert bench.agents() == []


def test_a_broken_file_does_not_hinder_the_stop(bench: Bench) -> None:
    assert bench.start().status == 0
    bench.config.write_text("name: [")
    done = bench.stop("-y")
    assert done.status == 0, done.err
    assert bench.pid() is None


def test_zones(bench: Bench) -> None:
    assert bench.start().status == 0
    names = bench.add_slice(1), bench.add_slice(3, "there", "attic")
    unknown = bench.stop("--zone", "cellar", "-y")
    assert (
        unknown.status == 2 and "there is no zone cellar; zones of this cluster: attic, local" in unknown.err
    )
    pid = bench.pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert processes.wait_until(lambda: processes.start_time(pid) is None, 30)
    single = bench.stop("--zone", "attic", "-y")
    assert single.status == 0, single.err
    assert f"delete slice {names[1]}" in single.text and names[0] not in single.text
    assert "left as it was: zone local" in single.text
    assert len(bench.agents()) == 1
    assert bench.stop("--zone", "attic", "--zone", "local", "-y").status == 0
    assert bench.agents() == []


def test_the_last_cluster_is_not_stopped_by_accident(bench: Bench) -> None:
    assert bench.start().status == 0
    done = bench.iris("cluster", "stop", "-y")
    assert done.status == 2
    assert "only the last cluster that was started" in done.err
    assert "iris --cluster demo cluster stop -y" in done.err
    assert bench.iris("cluster", "stop", "--dry-run").status == 0
    assert bench.pid() is not None


def test_a_stop_waits_for_nobody_for_ever(bench: Bench) -> None:
    assert bench.start().status == 0
    assert bench.stop("-y").status == 0
    bench.add_slice(1)
    with StateLock(bench.paths.state_dir):
        os.truncate(bench.paths.state_dir / "lock", 0)
        done = bench.stop("-y")
    assert done.status == 6 and "is in use" in done.err
    assert len(bench.agents()) == 1


def test_a_cluster_that_never_was(bench: Bench) -> None:
    done = bench.stop("-y")
    assert done.status == 0 and "was never started from here" in done.err
    assert not bench.paths.state_dir.exists()


def test_a_lost_identity_is_not_an_empty_cluster(bench: Bench) -> None:
    assert bench.start().status == 0
    assert bench.stop("-y").status == 0
    (bench.paths.pki_dir / "cluster.key").unlink()
    done = bench.stop("-y")
    assert done.status == 6 and "the identity of cluster demo is not in" in done.err


def test_a_terminal_is_asked(bench: Bench) -> None:
    assert bench.start().status == 0
    name = bench.add_slice(1)
    with Terminal(bench.iris, "cluster", "stop", "--config", "demo.yaml") as terminal:
        terminal.wait_for("Delete 1 slice of cluster demo and stop it? [y/N] ")
        assert name in terminal.shown
        terminal.type("n")
        assert terminal.finish() == 1
    assert "nothing was changed" in terminal.shown and len(bench.agents()) == 1
    # Not even -y is enough for a cluster that nobody named.
    with Terminal(bench.iris, "cluster", "stop", "-y") as terminal:
        terminal.wait_for("Delete 1 slice of cluster demo and stop it? [y/N] ")
        terminal.type("y")
        assert terminal.finish() == 0
    assert "zone local: 0 slices, 0 agents" in terminal.shown and bench.agents() == []
