"""One worker with all that is known of it, and its log from its host."""

from __future__ import annotations

import pytest
import yaml

from iris_cli.commands.worker_show import log_lines
from iris_cli.hostlog import HostWords, read_host_log
from iris_cli.locate import Cluster
from iris_config import load_config
from iris_platform.controller_vm.site import Site, write_site
from iris_proto.v1 import controller_pb2 as pb
from iris_proto.v1.config_pb2 import ScaleGroupConfig
from iris_proto.v1.job_pb2 import Place, Resources
from tests.cli.bench import CONFIG, Bench
from tests.cli.fake_service import FakeService
from tests.cli.runner import Runner

DEMO = ("--cluster", "demo", "worker", "show")
# Where the fake service's jobs run.
SLICE = "iris-abcdefghij-here-1-1"
READY, BOOTING = pb.SliceState.SLICE_STATE_READY, pb.SliceState.SLICE_STATE_BOOTING
# Beside the fields of the message, in every document.
MORE = {
    *("address", "accelerator_type", "slice_state", "since"),
    *("tasks", "events", "log_tail", "log_error"),
}


@pytest.fixture
def fleet(service: FakeService) -> FakeService:
    service.config.scale_groups["here"].CopyFrom(ScaleGroupConfig(accelerator_type="cpu"))
    service.slices = [
        pb.Slice(name=SLICE, scale_group="here", zone="local", state=READY, hosts=2),
        pb.Slice(
            name="s-1",
            scale_group="here",
            zone="local",
            state=BOOTING,
            hosts=1,
            reason="demand",
            message="1 task waits\nits start said this",
        ),
    ]
    service.workers = [
        pb.Worker(
            place=Place(slice_name=SLICE, worker_index=1),
            scale_group="here",
            zone="local",
            state=pb.WorkerState.WORKER_STATE_HEALTHY,
            boot_id="b-7",
            version="0.1.0",
            capacity=Resources(cpu_millis=4000, memory_bytes=8 << 30),
            used=Resources(cpu_millis=1000),
            live_attempts=1,
        )
    ]
    service.add_job("old").stop()
    job = service.add_job("train", replicas=2)
    job.run(0)
    job.run(1)
    for kind, subject in (("worker", f"{SLICE}/0"), ("slice", SLICE), ("worker", f"{SLICE}/1")):
        service.add_event("HEALTHY", kind, subject)
    return service


def test_a_worker(iris: Runner, fleet: FakeService) -> None:
    done = iris(*DEMO, f"{SLICE}/1")
    assert done.status == 0, done.err
    for line in (
        f"worker:       {SLICE}/1",
        "accelerator:  cpu",
        "state:        HEALTHY",
        "slice:        READY",
        "cpu:          1/4",
        "boot:         b-7",
    ):
        assert line in done.text.splitlines()
    assert "since:        2023-11-14T22:13:20Z" in done.text
    assert "job-2  1     RUNNING  1" in done.text
    # Nothing of this cluster was ever started from here.
    assert done.text.endswith("log: cannot be had: scale group here is not in the configuration any more\n")


def test_its_document(iris: Runner, fleet: FakeService) -> None:
    document = iris(*DEMO, SLICE, "1", "-o", "json").document
    (listed,) = iris("--cluster", "demo", "worker", "list", "-o", "json").document["workers"]
    assert set(document) == {*listed, *MORE} and listed.items() <= document.items()
    assert [(task["job_id"], task["task_index"]) for task in document["tasks"]] == [("job-2", 1)]
    assert [(e["kind"], e["subject"]) for e in document["events"]] == [
        ("slice", SLICE),
        ("worker", f"{SLICE}/1"),
    ]
    assert (document["log_tail"], document["since"]) == ("", "2023-11-14T22:13:20Z")
    assert "not in the configuration" in document["log_error"]
    assert yaml.safe_load(iris(*DEMO, f"{SLICE}/1", "-o", "yaml").out) == document


def test_a_host_whose_agent_never_came(iris: Runner, fleet: FakeService) -> None:
    done = iris(*DEMO, "s-1")
    assert done.status == 0
    for words in ("worker:       s-1/0", "state:        BOOTING", "demand — 1 task waits", "never"):
        assert words in done.text
    document = iris(*DEMO, "s-1/0", "-o", "json").document
    assert document["state"] == "WORKER_STATE_UNSPECIFIED"
    assert document["slice_state"] == "SLICE_STATE_BOOTING"
    assert (document["tasks"], document["capacity"]["cpu_millis"]) == ([], "0")
    assert set(document) > MORE


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["s-9/0"], 3, f"there is no slice s-9\n      there are: {SLICE}/0, {SLICE}/1, s-1/0"),
        ([f"{SLICE}/2"], 3, f"there is no worker {SLICE}/2: slice {SLICE} has 2 hosts"),
        ([SLICE], 3, f"slice {SLICE} has 2 hosts; which one?\n      there are: {SLICE}/0, {SLICE}/1"),
        (["s-1/x"], 2, "'s-1/x': expected SLICE/INDEX"),
        (["s-1/0", "0"], 2, "expected SLICE/INDEX"),
        ([], 2, "SLICE/INDEX"),
    ],
)
def test_what_is_not_there(
    iris: Runner, fleet: FakeService, words: list[str], status: int, says: str
) -> None:
    done = iris(*DEMO, *words)
    assert (done.status, done.out) == (status, b"")
    assert says in done.err


def test_the_log_comes_from_the_host(bench: Bench) -> None:
    assert bench.start().status == 0
    name = bench.add_slice(1, group="there", zone="attic")
    log = bench.paths.local_root / name / "0" / "agent.log"
    log.write_bytes(b"up\n\x1b[2Jdown\n")
    done = bench.iris("--config", "demo.yaml", "worker", "show", f"{name}/0")
    assert done.text.endswith("\nlog:\nup\n\\x1b[2Jdown\n")
    assert "address:      127.0.0.1" in done.text
    document = bench.iris("worker", "show", name, "-o", "json").document
    assert (document["log_tail"], document["log_error"]) == ("up\n\x1b[2Jdown\n", "")
    log.unlink()
    log.mkdir()
    unreadable = bench.iris("worker", "show", name)
    assert unreadable.status == 0 and "state:        READY" in unreadable.text
    assert f"log: cannot be had: {log}: cannot read" in unreadable.text


def ask(bench: Bench, entry: pb.Slice) -> HostWords:
    cluster = Cluster("demo", bench.paths, bench.config)
    return read_host_log(cluster, "abcdefghij", entry, Place(slice_name=entry.name, worker_index=0))


def test_a_start_that_failed_is_told_when_its_host_is_gone(bench: Bench) -> None:
    name = "iris-abcdefghij-here-1-1"
    entry = pb.Slice(name=name, scale_group="here", zone="local", message="why:\nlast\nwords")
    found = ask(bench, entry)
    assert found == HostWords("last\nwords", f"there is no slice {name} in zone local")
    assert log_lines(found)[1:] == ["what the start of the slice said:", "last", "words"]


def test_of_a_zone_or_a_group_that_was_dropped(bench: Bench) -> None:
    assert "no zone moon" in ask(bench, pb.Slice(name="s", scale_group="here", zone="moon")).error
    assert "not in the configuration" in ask(bench, pb.Slice(name="s", scale_group="gone")).error


def test_local_hosts_of_a_controller_elsewhere_are_there(bench: Bench) -> None:
    far = CONFIG.replace("name: demo", "name: demo\ncontroller: { manual: { host: 10.0.0.9 } }")
    bench.config.write_text(far.replace("local: {} }", "local: {} }, host_resources: { cpu: 2 }"))
    bench.paths.state_dir.mkdir(parents=True)
    bench.paths.config_file.write_text(load_config(bench.config).to_json())
    write_site(bench.paths, Site("10.0.0.9", 10400))
    found = ask(bench, pb.Slice(name="s-1", scale_group="here", zone="local"))
    assert found.address == "10.0.0.9" and found.text == ""
    # Its start was begun here, and never had keys.
    done = bench.iris("--config", str(bench.config), "job", "list")
    assert done.status == 5 and "is not started yet" in done.err
    assert "start it: iris" in done.err and "cluster start" in done.err and "login" not in done.err
    for words in ("the controller's host, 10.0.0.9", "controller/state/local/s-1/0/agent.log"):
        assert words in found.error
