"""`cluster stop --forget` of some zones: the keys stay as long as they may be needed elsewhere."""

from __future__ import annotations

import shutil

import pytest

from tests.cli.bench import Bench
from tests.cli.test_lost import kill

ONE_ZONE = ("--zone", "local", "--controller", "--forget")


@pytest.mark.parametrize("more", [("-y",), ("--dry-run",)])
@pytest.mark.parametrize("alive", [True, False])
def test_a_cluster_is_not_forgotten_while_it_has_slices_elsewhere(
    bench: Bench, alive: bool, more: tuple[str, ...]
) -> None:
    assert bench.start().status == 0
    pid, name = bench.pid(), bench.add_slice(1, "there", "attic")
    if not alive:
        kill(pid)
    done = bench.stop(*ONE_ZONE, *more)
    assert done.status == 6 and "nothing was changed" in done.err
    # Whose it is, and what it is, is said; and how it goes as a whole.
    assert f"cluster demo (id {name.split('-')[1]})" in done.err
    assert f"left in zone attic: slice {name}" in done.err
    assert "to remove it: iris --config demo.yaml cluster stop --forget" in done.err
    assert "and what it knows" not in done.text
    assert bench.paths.pki_dir.exists() and bench.pid() == pid
    assert bench.stop("--forget", "-y").status == 0
    assert bench.agents() == [] and not bench.paths.pki_dir.exists()


def test_it_is_forgotten_where_the_other_zones_are_empty(bench: Bench) -> None:
    assert bench.start().status == 0
    bench.add_slice(1)
    done = bench.stop(*ONE_ZONE, "-y")
    assert done.status == 0, done.err
    assert not bench.paths.pki_dir.exists() and not bench.paths.state_dir.exists()
    assert not bench.paths.local_root.exists()


def test_a_stop_leaves_no_state_where_there_was_none(bench: Bench) -> None:
    assert bench.start().status == 0
    cluster_id = bench.add_slice(1).split("-")[1]
    kill(bench.pid())
    shutil.rmtree(bench.paths.state_dir)
    shutil.rmtree(bench.paths.pki_dir)
    done = bench.stop("-y", "--cluster-id", cluster_id)
    assert done.status == 0 and "kept" not in done.text, done.err
    assert not bench.paths.state_dir.exists() and bench.agents() == []


def test_what_does_not_happen_is_not_said(bench: Bench) -> None:
    assert bench.start().status == 0
    planned = bench.stop("--zone", "local", "--dry-run")
    assert "zone attic is left as it is" in planned.text and "left as it was" not in planned.text
    done = bench.stop("-y")
    assert done.status == 0 and "deletes the slices" not in done.text + done.err


def test_a_zone_that_cannot_be_looked_at_is_not_empty(bench: Bench) -> None:
    assert bench.start().status == 0
    name = bench.add_slice(1, "there", "attic")
    record = bench.paths.local_root / name / "slice.json"
    text = record.read_text()
    record.write_text("{")
    done = bench.stop(*ONE_ZONE, "-y")
    assert done.status == 6 and bench.paths.pki_dir.exists()
    record.write_text(text)
    assert bench.stop("--forget", "-y").status == 0
    shutil.rmtree(bench.paths.local_root, ignore_errors=True)
