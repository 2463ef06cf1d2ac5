"""B67: rehearsals and namesakes, side by side with the real cluster, which never notices."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from iris_platform.processes import KEEPER_FILE
from tests.end_to_end.conftest import MakeCluster
from tests.harness.cluster import COMMAND_S, LocalCluster, Result, wait_until

ROOT = Path(__file__).resolve().parent.parent.parent
# They change while a cluster lives, and what is in them is asked for over the API.
ALIVE = ("iris.db", "iris.db-wal", "iris.db-shm", "controller.log", "agent.log", "session.json")


def other(cluster: LocalCluster, *arguments: str, expect: int = 0) -> Result:
    """`iris` from the same home, but without naming the cluster's file."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "iris"), *arguments],
        env=cluster.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_S,
        check=False,
    )
    result = Result(done.returncode, done.stdout, done.stderr)
    assert result.code == expect, f"iris {arguments}: {result}"
    return result


def files_of(cluster: LocalCluster) -> dict[str, bytes]:
    """Everything that lies in the cluster's places, but for what changes by itself."""
    home = cluster.home / "state"
    found = {}
    for place in ("iris", "iris-pki", "iris-local"):
        for path in sorted((home / place / cluster.name).rglob("*")):
            if path.is_file() and path.name not in ALIVE and path.suffix != ".tmp":
                found[str(path.relative_to(home))] = _content(path)
    return found


def _content(path: Path) -> bytes:
    """What is in a file, but for until when an agent is in contact, which it notes now and then."""
    content = path.read_bytes()
    if path.name != KEEPER_FILE:
        return content
    lines = content.splitlines(keepends=True)
    return b"".join(line for line in lines if json.loads(line)["kind"] != "contact")


def own_processes(cluster: LocalCluster, rehearsal: bool) -> dict[int, str]:
    """The processes of the real cluster, or those of its rehearsal."""
    marked = cluster.processes()
    ours = {pid for pid, words in marked.items() if f"/{cluster.name}-local/" in f"{words}/"}
    ours |= {pid for pid in marked if f"/{cluster.name}-local/" in _mark_of(pid)}
    return {pid: words for pid, words in marked.items() if (pid in ours) == rehearsal}


def _mark_of(pid: int) -> str:
    """The host that a process belongs to; empty where it belongs to none."""
    environ = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    return next((f"{line}/" for line in environ if line.startswith("IRIS_HOST")), "")


def running_job(cluster: LocalCluster) -> str:
    """A job whose task is a process by now."""
    with cluster.events() as watch:
        job_id = cluster.submit("--", "sleep", "1000")
        watch.wait_for("job", "RUNNING")
        watch.wait_for("slice", "READY")
    wait_until(lambda: "sleep 1000" in cluster.processes().values())
    return job_id


def seen(cluster: LocalCluster, job_id: str) -> Any:
    """What the real cluster says of itself, but for how long it has been up."""
    job = cluster.json("job", "show", job_id)
    return cluster.controller_pid(), job, cluster.json("slice", "list")["slices"]


def assert_as_before(
    cluster: LocalCluster, job_id: str, before: tuple[dict[int, str], dict[str, bytes], Any]
) -> None:
    """Nothing of the real cluster is another than it was; where files are, only their names are shown."""
    processes, files, answers = before
    now = files_of(cluster)
    assert {name for name in files.keys() | now.keys() if files.get(name) != now.get(name)} == set()
    assert (cluster.processes(), seen(cluster, job_id)) == (processes, answers)


def test_b67_a_rehearsal_runs_and_stops_beside_the_real_cluster(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(idle_timeout="10m")
    job_id = running_job(cluster)
    before = cluster.processes(), files_of(cluster), seen(cluster, job_id)

    started = cluster.iris("cluster", "start", "--local")
    assert "a rehearsal of cluster test" in started.err and "iris --cluster test-local ..." in started.err
    assert "already" in cluster.iris("cluster", "start", "--local").err
    # The last one that was started, so nothing has to be named.
    assert other(cluster, "job", "run", "--", "echo", "hello").out == "hello\n"
    named = json.loads(other(cluster, "--cluster", "test-local", "cluster", "status", "-o", "json").out)
    assert named["name"] == "test-local"
    assert named["cluster_id"] != cluster.json("cluster", "status")["cluster_id"]
    assert other(cluster, "--cluster", "test-local", "job", "list", "-o", "json").out.count('"job_id"') == 1
    assert own_processes(cluster, rehearsal=True)
    assert own_processes(cluster, rehearsal=False) == before[0]

    stopped = other(cluster, "--cluster", "test-local", "cluster", "stop", "-y")
    assert "zone local: 0 slices, 0 agents" in stopped.out
    assert_as_before(cluster, job_id, before)


def test_b67_stopping_the_real_cluster_leaves_its_rehearsal(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(idle_timeout="10m")
    running_job(cluster)
    cluster.iris("cluster", "start", "--local")
    rehearsed = other(cluster, "--cluster", "test-local", "job", "run", "--detach", "--", "sleep", "1000")
    cluster.iris("cluster", "stop", "-y")
    assert own_processes(cluster, rehearsal=False) == {}
    with_job = other(cluster, "--cluster", "test-local", "job", "show", rehearsed.out.strip()).out
    assert "PENDING" in with_job or "RUNNING" in with_job
    # Its own file stops it too, where it is said that the rehearsal is meant.
    planned = cluster.iris("cluster", "stop", "--local", "--dry-run")
    assert "iris/test-local, keys in" in planned.out
    cluster.iris("cluster", "stop", "--local", "-y")
    assert cluster.processes() == {}


def test_b67_the_example_with_three_providers_is_rehearsed(make_cluster: MakeCluster) -> None:
    # Never started itself: it would dial hosts and a cloud. The fixture's own is production here.
    cluster = make_cluster(name="test")
    demo = ("--config", str(ROOT / "examples" / "demo.yaml"))
    other(cluster, *demo, "cluster", "start", "--local")
    try:
        groups = json.loads(other(cluster, "group", "list", "-o", "json").out)["scale_groups"]
        assert {group["name"]: group["provider"] for group in groups} == dict.fromkeys(
            ("tpu_v5e_16", "manual_workers", "here"), "local"
        )
        assert other(cluster, "job", "run", "--", "echo", "hello").out == "hello\n"
        gang = other(cluster, "job", "run", "--accelerator", "v5litepod-16", "--", "echo", "hello").out
        assert sorted(gang.splitlines()) == [f"[{index}] hello" for index in range(4)]
    finally:
        other(cluster, "--cluster", "demo-local", "cluster", "stop", "-y")


def test_b67_two_clusters_of_one_name_and_two_identities(make_cluster: MakeCluster, tmp_path: Path) -> None:
    cluster = make_cluster(idle_timeout="10m")
    job_id = running_job(cluster)
    cluster_id = cluster.json("cluster", "status")["cluster_id"]
    before = cluster.processes(), files_of(cluster), seen(cluster, job_id)
    namesake = LocalCluster(_made(tmp_path / "namesake"), idle_timeout="10m")
    try:
        namesake.iris("cluster", "start")
        running_job(namesake)
        # The keys of one and the state of the other are neither.
        foreign = ("--state-dir", str(cluster.state_dir))
        for words in (("start",), ("stop", "-y"), ("stop", "--dry-run")):
            refused = namesake.iris("cluster", *words, *foreign, expect=6)
            assert cluster_id in refused.err or "another state directory" in refused.err
        namesake.iris("cluster", "stop", "-y", "--cluster-id", cluster_id)
        assert namesake.processes() == {}
        refused = namesake.iris("cluster", "start", *foreign, expect=6)
        assert cluster_id in refused.err
    finally:
        namesake.destroy()
    assert_as_before(cluster, job_id, before)


def _made(home: Path) -> Path:
    home.mkdir()
    return home
