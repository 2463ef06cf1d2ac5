"""Rehearsals: what they are made of, which command means one, and whose places they keep out of."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest

from iris_cli.configs import load, rehearse
from iris_cli.exits import CliError
from iris_cli.locate import find_cluster, find_config, means_rehearsal
from iris_cli.records import Record, remember
from iris_config import MachineFacts
from iris_config.units import format_duration
from iris_platform.identity import cluster_id_of
from tests.cli.bench import Bench

PRODUCTION = """\
name: demo
controller: { local: { port: 7777 } }
scale_groups:
  tpus:
    provider: { tpu: { project_id: p } }
    accelerator_type: v5litepod-16
    zones: [europe-west4-b, us-west4-a]
    max_slices: 4
    min_slices: 1
    buffer_slices: 2
    priority: 7
    slice_size: 4
  hosts:
    provider: { manual: { hosts: [10.0.0.1, 10.0.0.2, 10.0.0.3] } }
    zones: [rack]
    task_lease: 20m
    host_resources: { cpu: 3 }
  here: { provider: { local: {} }, host_resources: { cpu: 2, memory: 1GiB } }
timeouts: { stop_grace: 3s }
"""
DEMO = Path(__file__).parent.parent.parent / "examples" / "demo.yaml"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("IRIS_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo.yaml").write_text(PRODUCTION)
    return tmp_path


def options(config: str | None = None, cluster: str | None = None, *, local: bool = False) -> Namespace:
    return Namespace(config=config, cluster=cluster, verbose=0, local=local)


def test_every_group_is_local_and_of_the_same_shape(home: Path) -> None:
    real = load(home / "demo.yaml")
    before = real.to_json()
    proto = rehearse(real, MachineFacts(16, 1 << 30)).proto
    assert proto.name == "demo-local"
    assert proto.controller.WhichOneof("controller") == "local" and proto.controller.local.port == 0
    assert {group.provider.WhichOneof("provider") for group in proto.scale_groups.values()} == {"local"}
    tpus, hosts, here = (proto.scale_groups[name] for name in ("tpus", "hosts", "here"))
    assert (tpus.slice_size, tpus.min_slices, tpus.max_slices, tpus.buffer_slices) == (4, 1, 4, 2)
    assert (list(tpus.zones), tpus.priority, tpus.accelerator_type) == (["europe-west4-b"], 7, "v5litepod-16")
    # As the catalogue has it; accounted, not enforced.
    assert (tpus.host_resources.cpu, tpus.host_resources.memory) == (112, 192 << 30)
    assert not tpus.runtime_version and not tpus.capacity
    assert format_duration(tpus.task_lease.ToNanoseconds()) == "1h"
    assert (list(hosts.zones), hosts.max_slices, hosts.slice_size) == (["rack"], 3, 1)
    assert (hosts.host_resources.cpu, hosts.host_resources.memory) == (3, 0)
    assert format_duration(hosts.task_lease.ToNanoseconds()) == "20m"
    assert here == real.proto.scale_groups["here"]
    assert proto.timeouts == real.proto.timeouts
    assert real.to_json() == before


def test_a_rehearsal_of_a_rehearsal_is_itself(home: Path) -> None:
    once = rehearse(load(home / "demo.yaml"))
    assert rehearse(once) == once


def test_the_example_can_be_rehearsed() -> None:
    assert {group.slice_size for group in rehearse(load(DEMO)).scale_groups.values()} == {1, 2, 4}


def record(name: str, home: Path) -> Record:
    places = (str(home / "state" / "iris" / name), str(home / "state" / "iris-pki" / name))
    return Record(name, str(home / "demo.yaml"), *places, ("local",))


def test_which_cluster_is_meant(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rehearsal = options("demo.yaml", local=True)
    for meant in (rehearsal, options(cluster="demo", local=True), options(cluster="demo-local")):
        found = find_cluster(meant)
        assert (found.name, found.named) == ("demo-local", True)
        assert found.paths.state_dir == home / "state" / "iris" / "demo-local"
        assert found.command("x") == "iris --cluster demo-local x"
        assert means_rehearsal(meant)
        assert find_config(meant).absolute() == home / "demo.yaml"
    remember(record("demo", home))
    remember(record("demo-local", home))
    assert find_cluster(options("demo.yaml")).name == "demo" and not means_rehearsal(options("demo.yaml"))
    assert find_cluster(rehearsal).zones == ("local",)
    # The last one started: what a bare `cluster start` brings up again.
    assert find_cluster(options()).name == "demo-local" and means_rehearsal(options())
    assert find_cluster(options(local=True)).named is False
    monkeypatch.setenv("IRIS_CONFIG", "demo.yaml")
    assert find_cluster(options()).name == "demo" and not means_rehearsal(options())
    assert find_cluster(options(local=True)).name == "demo-local"


def test_a_file_that_broke_means_the_same_two_clusters(home: Path) -> None:
    remember(record("demo-local", home))
    (home / "demo.yaml").write_text("name: [")
    with pytest.raises(CliError, match="cannot be used"):
        find_cluster(options("demo.yaml"))
    assert find_cluster(options("demo.yaml", local=True)).name == "demo-local"
    remember(record("demo", home))
    remember(record("demo-local", home))
    assert find_cluster(options("demo.yaml")).name == "demo"
    assert find_cluster(options("demo.yaml", local=True)).name == "demo-local"


def test_a_file_of_the_rehearsals_name_is_not_its_own(home: Path) -> None:
    # Otherwise a stop of the rehearsal would be one of whatever cluster that file has.
    (home / "demo-local.yaml").write_text(PRODUCTION.replace("name: demo", "name: other"))
    assert find_cluster(options(cluster="demo-local")).name == "demo-local"


def test_start_and_stop(bench: Bench) -> None:
    assert bench.start().status == 0
    pid, name = bench.pid(), bench.add_slice(1)
    done = bench.start("--local")
    assert done.status == 0, done.err
    assert "a rehearsal of cluster demo" in done.err and "next: iris --cluster demo-local job run" in done.err
    bench.config.write_text(bench.config.read_text().replace("max_slices: 2", "max_slices: 3"))
    changed = bench.iris("cluster", "start")
    assert (changed.status, changed.text) == (6, "scale_groups.here.max_slices: 2 -> 3\n")
    assert "iris --cluster demo-local cluster restart" in changed.err
    stopped = bench.stop("--local", "-y")
    assert stopped.status == 0, stopped.err
    assert name not in stopped.text and "iris/demo-local, keys in" in stopped.text
    assert bench.pid() == pid and len(bench.agents()) == 1
    assert bench.stop("--local", "-y").status == 0


def test_a_rehearsal_has_no_place_of_the_real_one(bench: Bench) -> None:
    assert bench.start().status == 0
    pid = bench.pid()
    key = (bench.paths.pki_dir / "cluster.key").read_bytes()
    state, pki = str(bench.paths.state_dir), str(bench.paths.pki_dir)
    for words in (("--state-dir", state), ("--pki-dir", pki), ("--state-dir", f"{state}/../demo")):
        for done in (bench.start("--local", *words), bench.stop("--local", "-y", *words)):
            assert done.status == 2, done.err
            assert "is cluster demo's, not demo-local's; nothing was changed" in done.err
    assert bench.pid() == pid
    assert (bench.paths.pki_dir / "cluster.key").read_bytes() == key
    # And the other way round.
    assert bench.start("--local").status == 0
    theirs = str(bench.paths.state_dir.with_name("demo-local"))
    refused = bench.stop("-y", "--state-dir", theirs)
    assert refused.status == 2 and "is cluster demo-local's" in refused.err
    assert bench.stop("-y", "--local").status == 0


def test_a_controller_of_other_keys_is_another_cluster(bench: Bench) -> None:
    assert bench.start().status == 0
    key = bench.paths.pki_dir / "cluster.key"
    theirs = cluster_id_of(key.read_bytes())
    # As where --state-dir names the directory of a namesake.
    key.write_text("x" * 64)
    own = cluster_id_of(key.read_bytes())
    for done in (bench.start(), bench.stop("-y"), bench.stop("--dry-run")):
        assert done.status == 6
        assert f"is of cluster id {theirs}, but the keys in {bench.paths.pki_dir} are of {own}" in done.err
    assert bench.stop("-y", "--cluster-id", theirs).status == 0
