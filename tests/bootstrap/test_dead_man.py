"""An orphan on a cloud's machine has its slice deleted, and is an agent for as long as that takes (B46)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from iris_platform import processes
from iris_platform.env_probe import FACTS_FILE
from tests.bootstrap.conftest import StartKeeper
from tests.bootstrap.support import KEY, PATIENCE_S, eventually, python
from tests.harness.metadata import serve_metadata, serve_tpu_api, tpu_vm

NODE = "projects/p/locations/z/nodes/s"
QUEUED = "projects/p/locations/z/queuedResources/s"
WAITS = "import pathlib, signal, sys; pathlib.Path(sys.argv[1]).write_text('here'); signal.pause()"


def test_an_orphan_leaves_when_its_slice_is_gone(
    start_keeper: StartKeeper, host_dir: Path, tmp_path: Path
) -> None:
    sign = tmp_path / "deleted"
    keeper = start_keeper(
        dead_man=python("import pathlib, sys; pathlib.Path(sys.argv[1]).touch()", str(sign))
    )
    session = keeper.accept()
    session.lease(lease_s=600, orphan_timeout_s=0.4)
    session.part()
    assert keeper.process.wait(PATIENCE_S) == 0
    assert sign.exists()
    last = (host_dir / processes.KEEPER_FILE).read_text().splitlines()[-1]
    assert json.loads(last) == {"kind": "left", "reason": "orphan_timeout"}


def test_a_controller_that_comes_back_calls_it_off(start_keeper: StartKeeper, tmp_path: Path) -> None:
    sign = tmp_path / "deleting"
    keeper = start_keeper(dead_man=python(WAITS, str(sign)))
    session = keeper.accept()
    session.lease(lease_s=600, orphan_timeout_s=0.4)
    eventually(lambda: bool(_pids(sign)) and sign.exists(), "the deletion")
    # Meanwhile it waits, and does not look all the time.
    before_s = _cpu_s(keeper.process.pid)
    assert not processes.wait_until(lambda: keeper.process.poll() is not None, 1.5)
    assert _cpu_s(keeper.process.pid) - before_s < 0.5
    session.run(KEY, "true")
    assert session.ended(KEY).state == "SUCCEEDED"
    eventually(lambda: not _pids(sign), "its end")
    assert keeper.leave() == 0


def test_an_orphan_that_is_told_to_leave_takes_it_along(start_keeper: StartKeeper, tmp_path: Path) -> None:
    sign = tmp_path / "deleting"
    keeper = start_keeper(orphan_timeout_s=0.4, dead_man=python(WAITS, str(sign)))
    keeper.accept()
    eventually(sign.exists, "the deletion")
    assert keeper.leave() == 0
    assert not _pids(sign)


def test_the_process_deletes_the_slice_of_the_facts(host_dir: Path) -> None:
    with serve_metadata(tpu_vm()) as told, serve_tpu_api(QUEUED) as api:
        facts = {"project": "p", "zone": "z", "slice_name": "s", "endpoint": api.url, "queued": True}
        (host_dir / FACTS_FILE).write_text(json.dumps(facts))
        with _deletion(host_dir, told.environ()) as running:
            eventually(lambda: len(api.asked) == 2, "both calls")
            # Accepted is not done.
            assert running.poll() is None
            running.kill()
        # And with nothing there:
        with _deletion(host_dir, told.environ()) as running:
            assert running.wait(PATIENCE_S) == 0
    assert api.paths() == [f"/v2/{QUEUED}?force=true", f"/v2/{NODE}"] * 2


def test_facts_that_cannot_be_used_end_it(host_dir: Path) -> None:
    with _deletion(host_dir, {}) as running:
        assert running.wait(PATIENCE_S) == 1


def _deletion(host_dir: Path, environ: dict[str, str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "iris_bootstrap", "delete-slice", "--host-dir", str(host_dir)]
    return subprocess.Popen(command, env={**os.environ, **environ}, stderr=subprocess.DEVNULL)


def _pids(sign: Path) -> list[int]:
    """The dead man's process, of which the keeper's own command line has every word as well."""
    lines = processes.command_lines().items()
    return [pid for pid, argv in lines if argv[-1:] == [str(sign)] and "keeper.py" not in " ".join(argv)]


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
