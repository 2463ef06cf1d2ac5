"""The startup script on a bare host: start, again, another version, stop, remove, and every way to fail."""

import json
import os
import shutil
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from iris_platform import processes
from iris_platform.base import BeingDeleted, Refused, StartFailed, VmBootstrapSpec
from iris_platform.bootstrap import NO_CONTAINER, BundleSource, DeadMan, Startup, render
from iris_platform.bootstrap.host.layout import Layout
from iris_platform.bootstrap.host.start import undo
from iris_platform.bundle import Bundle
from tests.harness.metadata import serve_metadata, serve_tpu_api, tpu_vm
from tests.platform.bootstrap.hosts import LABELS, PYTHONS, SLICE, Host, eventually, find_python

NODE = "projects/p/locations/z/nodes/s"
NASTY = "$(touch pwned)`touch pwned`'\"; touch pwned #\n%s %n \\ \N{SNOWMAN}"


def test_from_nothing_to_a_running_agent_and_back_to_nothing(host: Host, bundle: Bundle) -> None:
    before = host.tree()
    outcome = host.run(host.startup(bundle)).check("h1")
    assert (outcome.status, outcome.facts["changed"]) == ("running", True)
    assert outcome.facts["pid"] in host.starts()
    assert host.run(host.startup(bundle), "status").facts["phase"] == "running"
    removed = host.run(host.startup(bundle), "remove", "--bundles").check("h1")
    assert (removed.status, removed.facts["left"]) == ("removed", [])
    assert not host.processes()
    assert {name for name in host.tree() if name != "startup.sh"} == set(before)


@pytest.mark.parametrize("version", PYTHONS)
def test_every_python_will_do(version: str, tmp_path: Path, bundle: Bundle) -> None:
    host = Host(tmp_path / "h", find_python(version))
    try:
        startup = host.startup(bundle, root=f"/tmp/iris-{os.getpid()}-{version}")
        outcome = host.run(startup).check("h1")
        root = Path(startup.root)
        installed = json.loads((root / "bundles" / bundle.sha256 / "installed.json").read_text())
        assert installed["python"].startswith(str(host.python.resolve()))
        assert installed["programs"] == ["iris-bootstrap", "iris-controller"]
        assert host.run(startup, "remove", "--bundles").check("h1").facts["left"] == []
        assert not root.exists()
        assert not processes.is_alive(outcome.facts["pid"], processes.start_time(outcome.facts["pid"]) or -1)
    finally:
        host.end()


def test_a_second_start_installs_and_touches_nothing(host: Host, bundle: Bundle) -> None:
    first = host.run(host.startup(bundle)).check("h1")
    installed = {name: facts for name, facts in host.tree().items() if name.startswith("r/bundles/")}
    second = host.run(host.startup(bundle)).check("h1")
    assert (second.facts["changed"], second.facts["pid"]) == (False, first.facts["pid"])
    assert {n: f for n, f in host.tree().items() if n.startswith("r/bundles/")} == installed
    assert len(host.starts()) == 1


def test_another_version_takes_its_place(host: Host, bundle: Bundle, newer: Bundle) -> None:
    first = host.run(host.startup(bundle)).check("h1")
    second = host.run(host.startup(newer)).check("h1")
    assert second.facts["bundle"] == newer.sha256
    assert host.starts() == [first.facts["pid"], second.facts["pid"]]
    assert [argv for argv in host.processes().values() if bundle.sha256 in " ".join(argv)] == []


def test_another_slice_finds_no_memory_of_the_last_one(host: Host, bundle: Bundle) -> None:
    host.run(host.startup(bundle, files={"host.json": "old", "old": "old"})).check("h1")
    labels = {**LABELS, "iris-slice": SLICE.replace("-1", "-2")}
    spec = VmBootstrapSpec("worker", NO_CONTAINER, labels)
    host.run(host.startup(bundle, spec=spec, files={"host.json": "new"})).check("h1")
    assert (host.work / "host.json").read_text() == "new"
    assert not (host.work / "old").exists()
    assert len(host.starts()) == 1


def test_the_secret_comes_on_standard_input_and_nowhere_else(host: Host, bundle: Bundle) -> None:
    startup = host.startup(bundle, secret="join-token")
    missing = host.run(startup)
    assert (missing.exit_status, missing.step) == (2, "secret")
    host.run(startup, stdin=b"s3cret\n").check("h1")
    token = host.work / "join-token"
    assert (token.read_bytes(), token.stat().st_mode & 0o777) == (b"s3cret\n", 0o600)
    holders = [path for path in host.folder.rglob("*") if path.is_file() and b"s3cret" in path.read_bytes()]
    assert holders == [token]
    for pid in host.processes():
        assert b"s3cret" not in Path(f"/proc/{pid}/environ").read_bytes()
        assert b"s3cret" not in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_values_are_never_shell_text(host: Host, bundle: Bundle) -> None:
    spec = VmBootstrapSpec("worker", NO_CONTAINER, {**LABELS, "note": NASTY})
    startup = host.startup(
        bundle,
        spec=spec,
        arguments=("serve", "@work@", NASTY),
        env={"NASTY": NASTY},
        files={"host.json": {"path": "@work@/x", "text": NASTY}, "plain": NASTY},
    )
    outcome = host.run(startup).check("h1")
    pid = outcome.facts["pid"]
    assert Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[-2] == NASTY.encode()
    assert b"\0NASTY=" + NASTY.encode() + b"\0" in b"\0" + Path(f"/proc/{pid}/environ").read_bytes()
    assert json.loads((host.work / "host.json").read_text()) == {"path": f"{host.work}/x", "text": NASTY}
    assert (host.work / "plain").read_text() == NASTY
    assert host.run(startup, "status").facts["labels"]["note"] == NASTY
    assert not [
        path for path in [*host.folder.rglob("*"), Path("/pwned")] if path.name == "pwned" and path.exists()
    ]


def test_another_clusters_host_is_refused_and_left_alone(host: Host, bundle: Bundle, newer: Bundle) -> None:
    first = host.run(host.startup(bundle)).check("h1")
    other = VmBootstrapSpec("worker", NO_CONTAINER, {**LABELS, "iris-cluster-id": "zzzzzzzzzz"})
    outcome = host.run(host.startup(newer, spec=other))
    assert (outcome.exit_status, outcome.step) == (2, "owner")
    assert "cluster demo (id abcdefghij), not of zzzzzzzzzz" in outcome.reason
    with pytest.raises(Refused, match="h1: owner: this host is a worker of cluster demo"):
        outcome.check("h1")
    assert host.run(host.startup(bundle), "remove", "--cluster-id", "zzzzzzzzzz").exit_status == 2
    assert host.starts() == [first.facts["pid"]]
    assert host.state()["phase"] == "running"


def test_a_program_that_crashes_fails_the_start_with_its_last_words(host: Host, bundle: Bundle) -> None:
    outcome = host.run(host.startup(bundle, "crash", health_s=60.0))
    assert (outcome.exit_status, outcome.step) == (1, "health")
    assert "crashed again and again: exit status 1" in outcome.reason
    assert "boom: no such thing" in outcome.log_tail
    with pytest.raises(StartFailed, match="boom: no such thing"):
        outcome.check("h1")
    assert len(host.starts()) == 6


def test_a_program_that_is_not_let_in_ends_the_start_at_once(host: Host, bundle: Bundle) -> None:
    outcome = host.run(host.startup(bundle, "unwanted", health_s=60.0))
    assert (outcome.exit_status, outcome.log_tail) == (5, "")
    with pytest.raises(BeingDeleted, match=r"^h1: health: it was not let in: its slice is being deleted$"):
        outcome.check("h1")
    assert len(host.starts()) == 1


def test_a_program_that_is_never_well_is_stopped(host: Host, bundle: Bundle) -> None:
    outcome = host.run(host.startup(bundle, "silent", health_s=1.0))
    assert "it was not well within 1 s (it is running; looked at: keeper)" in outcome.reason
    assert "hello from silent" in outcome.log_tail
    eventually(lambda: not any("iris-bootstrap" in " ".join(argv) for argv in host.processes().values()))


def test_a_failed_upgrade_leaves_the_running_one_alone(host: Host, bundle: Bundle) -> None:
    first = host.run(host.startup(bundle)).check("h1")
    wrong = BundleSource("0" * 64, path=str(bundle.path))
    outcome = host.run(replace(host.startup(bundle), bundle=wrong))
    assert (outcome.exit_status, outcome.step) == (2, "bundle")
    assert host.run(host.startup(bundle), "status").facts["pid"] == first.facts["pid"]
    # And nothing lies in wait for it.
    assert len(host.processes()) == 2


def test_the_dead_man_undoes_a_start_that_failed(host: Host, bundle: Bundle) -> None:
    host.run(host.startup(bundle, "silent", health_s=0.5, dead_man=DeadMan(1.5)))
    eventually(lambda: not host.worker.exists() and not host.processes())


@pytest.mark.parametrize("python", PYTHONS)
def test_the_dead_man_of_a_cloud_machine_acts_even_where_nothing_could_be_written(
    python: str, host: Host, bundle: Bundle
) -> None:
    (host.tools / "python3").unlink()
    (host.tools / "python3").symlink_to(find_python(python))
    host.root.write_text("in the way")
    with serve_metadata(tpu_vm()) as told, serve_tpu_api(NODE) as api:
        host.environ |= told.environ()
        outcome = host.run(cloud_startup(host, bundle, api.url, after_s=0.5))
        assert outcome.exit_status == 3
        eventually(lambda: api.paths() == [f"/v2/{NODE}"])


def test_a_cloud_machine_whose_agent_is_gone_deletes_its_slice(host: Host, bundle: Bundle) -> None:
    with serve_metadata(tpu_vm()) as told, serve_tpu_api(NODE) as api:
        host.environ |= told.environ()
        startup = cloud_startup(host, bundle, api.url, after_s=4.0)
        host.run(startup).check("h1")
        dead_man = json.loads((host.worker / "dead-man.json").read_text())["pid"]
        # The second start has another, and what it looks after is well for longer than that.
        host.run(startup).check("h1")
        eventually(lambda: dead_man not in host.processes())
        assert not processes.wait_until(lambda: bool(api.asked), 5.0)
        host.run(startup, "stop").check("h1")
        eventually(lambda: api.paths() == [f"/v2/{NODE}"])


LOG = "instance/guest-attributes/iris/bootstrap-log"


def test_a_cloud_machine_leaves_word_of_why_its_start_failed(host: Host, bundle: Bundle) -> None:
    with serve_metadata(tpu_vm()) as told, serve_tpu_api(NODE) as api:
        host.environ |= told.environ()
        startup = replace(cloud_startup(host, bundle, api.url, after_s=600.0), arguments=("crash", "@work@"))
        outcome = host.run(replace(startup, health_s=60.0))
        assert outcome.exit_status == 1
        reason, _, tail = told.written[LOG].partition("\n")
        assert reason == "health: it crashed again and again: exit status 1"
        assert "boom: no such thing" in tail
        assert len(told.written[LOG].encode()) <= 4096
        # Where they are not enabled the start fails in the same way.
        told.allows_writing = False
        assert host.run(replace(startup, health_s=60.0)).exit_status == 1


def test_an_agent_on_a_cloud_machine_that_is_not_well_yet_goes_on(host: Host, bundle: Bundle) -> None:
    """Its controller may not be there yet; what bounds it is the dead man."""
    with serve_metadata(tpu_vm()) as told, serve_tpu_api(NODE) as api:
        host.environ |= told.environ()
        startup = replace(cloud_startup(host, bundle, api.url, after_s=600.0), arguments=("silent", "@work@"))
        outcome = host.run(replace(startup, health_s=1.0))
        assert (outcome.exit_status, outcome.step) == (1, "health")
        assert "hello from silent" in told.written[LOG]
        assert host.run(startup, "status").facts["phase"] == "running"


def test_what_becomes_of_a_deletion_is_told_as_well(host: Host, bundle: Bundle) -> None:
    host.root.write_text("in the way")
    with serve_metadata(tpu_vm()) as told, serve_tpu_api(NODE) as api:
        host.environ |= told.environ()
        api.plan = [403]
        host.run(cloud_startup(host, bundle, api.url, after_s=0.5))
        key = "instance/guest-attributes/iris/dead-man"
        eventually(lambda: "give the slice's service account tpu.nodes.delete" in told.written.get(key, ""))


def cloud_startup(host: Host, bundle: Bundle, endpoint: str, after_s: float) -> Startup:
    facts = {"project": "p", "zone": "z", "slice_name": "s", "endpoint": endpoint, "queued": False}
    files = {"slice-facts.json": facts}
    return host.startup(bundle, files=files, dead_man=DeadMan(after_s, deletes_slice=True))


def test_a_start_that_succeeds_disarms_the_dead_man(host: Host, bundle: Bundle) -> None:
    host.run(host.startup(bundle, dead_man=DeadMan(300))).check("h1")
    # The supervisor and the agent, and nobody else.
    assert len(host.processes()) == 2
    assert not (host.worker / "dead-man.json").exists()


def test_two_starts_at_once_are_one_start(host: Host, bundle: Bundle) -> None:
    script = host.folder / "s.sh"
    script.write_text(render(host.startup(bundle)))
    both = [
        subprocess.Popen(
            ["/bin/sh", script], env=host.environment(), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
        )
        for _ in range(2)
    ]
    answers = [json.loads(one.communicate(timeout=60)[0]) for one in both]
    assert sorted(answer["changed"] for answer in answers) == [False, True]
    assert len(host.starts()) == 1


def test_the_controllers_state_stays_until_it_is_forgotten(host: Host, bundle: Bundle) -> None:
    startup = host.controller(bundle)
    assert host.run(startup).check("h1").facts["phase"] == "ready"
    store = host.root / "controller/state/iris.db"
    store.write_text("all of it")
    left = host.run(startup, "remove", "--bundles").check("h1").facts["left"]
    assert left == [str(host.root / "controller/labels.json"), str(store.parent)]
    assert store.read_text() == "all of it"
    assert host.run(startup).check("h1").status == "running"
    assert host.run(startup, "remove", "--bundles", "--forget").check("h1").facts["left"] == []
    assert not host.root.exists()


def test_both_roles_share_a_host(host: Host, bundle: Bundle) -> None:
    host.run(host.controller(bundle)).check("h1")
    worker = host.run(host.startup(bundle)).check("h1")
    assert host.run(host.startup(bundle), "remove", "--bundles").check("h1").facts["left"] == []
    assert host.state("controller")["phase"] == "ready"
    assert worker.facts["pid"] not in host.processes()
    assert (host.root / "bundles" / bundle.sha256).is_dir()


def test_it_works_after_its_own_files_were_lost(host: Host, bundle: Bundle) -> None:
    host.run(host.startup(bundle)).check("h1")
    supervisor = host.state()["supervisor"]["pid"]
    os.kill(supervisor, signal.SIGKILL)
    eventually(lambda: supervisor not in host.processes())
    second = host.run(host.startup(bundle)).check("h1")
    assert host.starts()[-1] == second.facts["pid"]
    assert len(host.processes()) == 2
    shutil.rmtree(host.root / "bundles")
    assert host.run(host.startup(bundle), "remove").check("h1").status == "removed"


def test_an_upload_goes_where_prepare_says_and_is_gone_afterwards(host: Host, bundle: Bundle) -> None:
    startup = host.startup(bundle, root=str(host.home / "deep/er/iris-host"))
    incoming = Path(host.run(startup, "prepare").check("h1").facts["incoming"])
    shutil.copy(bundle.path, incoming / bundle.sha256)
    source = BundleSource(bundle.sha256, path=str(incoming / bundle.sha256))
    host.run(replace(startup, bundle=source)).check("h1")
    assert list(incoming.iterdir()) == []
    assert host.run(startup, "remove", "--bundles").check("h1").facts["left"] == []
    # With the directories above it, which were not there either.
    assert list(host.home.iterdir()) == []


def test_a_bundle_that_is_not_whole_or_of_another_python_is_asked_for_again(
    host: Host, bundle: Bundle
) -> None:
    startup = host.startup(bundle)
    host.run(startup).check("h1")
    assert host.run(startup, "prepare").check("h1").facts["bundles"] == [bundle.sha256]
    note = host.root / "bundles" / bundle.sha256 / "installed.json"
    note.write_text(note.read_text().replace('"python": "', '"python": "/old'))
    assert host.run(startup, "prepare").check("h1").facts["bundles"] == []
    note.unlink()
    assert host.run(startup, "prepare").check("h1").facts["bundles"] == []


def test_a_bundle_that_cannot_be_installed_says_so_once(host: Host, bundle: Bundle) -> None:
    host.root.mkdir(parents=True)
    (host.root / "bundles").write_text("a file, not a directory")
    outcome = host.run(host.startup(bundle))
    assert outcome.step == "install" and "bundles" in outcome.reason
    assert '"failed"' not in outcome.log_tail


def test_a_dead_man_that_nobody_knows_of_undoes_no_other_slice(host: Host, bundle: Bundle) -> None:
    startup = host.startup(bundle)
    host.run(startup).check("h1")
    layout = Layout(host.root, "worker")
    undo(layout, {"labels": {**LABELS, "iris-slice": f"{SLICE}9"}})
    assert len(host.processes()) == 2 and layout.labels_file.exists()


def test_a_probe_changes_nothing(host: Host, bundle: Bundle) -> None:
    host.run(host.startup(bundle), "probe")
    before = host.tree()
    facts = host.run(host.startup(bundle), "probe").check("h1").facts
    assert facts["root"] == str(host.root)
    assert facts["python"].startswith("3.11.")
    assert facts["free_bytes"] > 0
    assert host.tree().keys() == before.keys() and not host.root.exists()
