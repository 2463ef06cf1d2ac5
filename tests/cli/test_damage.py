"""What a stop and a start make of damaged or missing files, and how a stop is repeated."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
from argparse import Namespace

import pytest

from iris_cli.teardown.again import stop_words
from iris_platform import processes
from tests.cli.bench import Bench


def damage(bench: Bench, text: str = "x") -> None:
    bench.paths.config_file.write_text(text)


def kill(bench: Bench) -> None:
    pid = bench.pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert processes.wait_until(lambda: processes.start_time(pid) is None, 30)


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("by_id", [True, False])
def test_a_damaged_record_of_the_start_does_not_hinder_the_stop(
    bench: Bench, *, live: bool, by_id: bool
) -> None:
    assert bench.start().status == 0
    name = bench.add_slice(1)
    if not live:
        kill(bench)
    damage(bench)
    words = ("--cluster-id", name.split("-")[1]) if by_id else ()
    done = bench.stop("-y", *words)
    assert done.status == 0, done.err
    told = [line for line in done.err.splitlines() if "cannot read" in line]
    assert len(told) == 1 and told[0].count(str(bench.paths.config_file)) == 1
    assert told[0].endswith("; going by the configuration that was given")
    assert bench.agents() == [] and "controller: not running" in done.text


def test_a_damaged_record_of_the_start_does_not_hinder_the_next(bench: Bench) -> None:
    assert bench.start().status == 0 and bench.stop("-y").status == 0
    damage(bench)
    done = bench.start()
    assert done.status == 0, done.err
    assert f"iris: {bench.paths.config_file}: cannot read: " in done.err
    assert "cannot read" not in bench.start().err


def test_a_stop_that_no_configuration_explains_is_refused(bench: Bench) -> None:
    assert bench.start().status == 0
    damage(bench)
    bench.config.write_text("name: [")
    done = bench.stop("-y")
    assert done.status != 0 and bench.pid() is not None


def test_what_is_gone_is_not_kept(bench: Bench) -> None:
    assert bench.start().status == 0 and bench.stop("-y").status == 0
    shutil.rmtree(bench.paths.state_dir)
    assert f"\nkept: keys in {bench.paths.pki_dir}\n" in bench.stop("-y").text
    kept = bench.stop("-y", "-o", "json").document["kept"]
    assert kept == {"state_dir": "", "pki_dir": str(bench.paths.pki_dir)}


def test_a_stop_is_repeated_with_its_options(bench: Bench) -> None:
    assert bench.start().status == 0
    name = bench.add_slice(1)
    kill(bench)
    shutil.rmtree(bench.paths.pki_dir)
    words = ["--zone", "local", "--cluster-id", name.split("-")[1]]
    words += ["--state-dir", str(bench.paths.state_dir), "--pki-dir", str(bench.paths.pki_dir)]
    refused = bench.stop(*words)
    assert refused.status == 2 and "-y is needed" in refused.err
    hint = refused.err.splitlines()[-1].strip()
    assert hint == f"iris --config demo.yaml cluster stop -y {shlex.join(words)}"
    done = bench.iris(*shlex.split(hint)[1:])
    assert done.status == 0, done.err
    assert bench.agents() == []


def test_words_of_a_stop() -> None:
    options = Namespace(
        zones=["a b"], cluster_ids=["x"], state_dir=None, pki_dir="", forget=False, controller=False
    )
    assert stop_words(options, yes=False, also_ids=["y", "x"]) == (
        "cluster stop --zone 'a b' --cluster-id x --cluster-id y"
    )
    options = Namespace(zones=[], cluster_ids=[], state_dir=None, pki_dir="", forget=True, controller=True)
    assert stop_words(options, yes=True) == "cluster stop -y --controller --forget"


def test_a_start_tells_what_is_wrong(bench: Bench) -> None:
    for _ in range(2):
        done = bench.start()
        assert done.status == 0
        assert "\niris: note: the moon is full\n" in done.err
