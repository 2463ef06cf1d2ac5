"""What the cluster has and what happened in it, as tables and as documents."""

from __future__ import annotations

import json

import pytest
import yaml

from iris_cli.commands.cluster_status import status_fields
from iris_cli.commands.job_list import job_row
from iris_cli.commands.job_show import task_row
from iris_proto.v1 import controller_pb2 as pb
from iris_proto.v1.job_pb2 import Place, Resources
from tests.cli.builders import attempt, job, task, with_attempt
from tests.cli.fake_controller import FakeController
from tests.cli.fake_service import FakeService
from tests.cli.runner import Runner

DEMO = ("--cluster", "demo")


@pytest.fixture
def fleet(service: FakeService) -> FakeService:
    service.groups = [
        pb.ScaleGroup(
            name="here",
            provider="local",
            availability=pb.GroupAvailability.GROUP_AVAILABILITY_AT_MAX_SLICES,
            reason="at_max_slices",
            message="4 of 4 slices",
            max_slices=4,
            slice_size=2,
            accelerator_type="v5litepod-16",
            slices=4,
            ready_slices=3,
            wanted_slices=6,
        )
    ]
    service.slices = [
        pb.Slice(
            name=f"s-{number}",
            scale_group="here",
            zone="local",
            state=pb.SliceState.SLICE_STATE_BOOTING,
            reason="demand",
            hosts=2,
            hosts_registered=1,
        )
        for number in range(4)
    ]
    service.workers = [
        pb.Worker(
            place=Place(slice_name="s-0", worker_index=1),
            scale_group="here",
            state=pb.WorkerState.WORKER_STATE_HEALTHY,
            capacity=Resources(cpu_millis=4000, memory_bytes=8 << 30),
            used=Resources(cpu_millis=500),
        )
    ]
    return service


def test_status(iris: Runner, fleet: FakeService) -> None:
    done = iris(*DEMO, "cluster", "status")
    assert done.status == 0
    for line in ("cluster:     demo", "id:          abcdefghij", "phase:       RUNNING", "problems:    1"):
        assert line in done.text
    assert "AT_MAX_SLICES  4 of 4 slices" in done.text
    assert "problem: the moon is full" in done.err
    document = iris(*DEMO, "cluster", "status", "-o", "json").document
    assert document["name"] == "demo" and document["jobs_running"] == 0
    assert document["epoch"] == "1700000000000"


def test_status_names_zones_that_are_stopped() -> None:
    def stopped(*zones: str) -> list[str]:
        fields = status_fields(pb.GetClusterStatusResponse(paused_zones=zones), 0.0)
        return [value for name, value in fields if name == "stopped"]

    assert stopped() == []
    assert stopped("a") == ["zone a, until the next cluster start"]
    assert stopped("a", "b") == ["zones a, b, until the next cluster start"]


def test_groups(iris: Runner, fleet: FakeService) -> None:
    rows = iris(*DEMO, "group", "list").text.splitlines()
    assert rows[1].split()[:7] == ["here", "local", "4", "3", "6", "0-4", "AT_MAX_SLICES"]
    wide = iris(*DEMO, "group", "list", "-o", "wide").text.splitlines()
    assert wide[0].split()[-2:] == ["HOSTS", "ACCELERATOR"] and wide[1].split()[-2:] == ["2", "v5litepod-16"]
    (group,) = iris(*DEMO, "group", "list", "-o", "json").document["scale_groups"]
    assert group["availability"] == "GROUP_AVAILABILITY_AT_MAX_SLICES" and group["min_slices"] == 0


def test_slices(iris: Runner, fleet: FakeService) -> None:
    rows = iris(*DEMO, "slice", "list").text.splitlines()
    assert len(rows) == 5 and rows[1].split() == ["s-0", "here", "local", "BOOTING", "1/2", "0", "demand"]
    document = yaml.safe_load(iris(*DEMO, "slice", "list", "-o", "yaml").out)
    assert [entry["name"] for entry in document["slices"]] == ["s-0", "s-1", "s-2", "s-3"]
    assert len(iris(*DEMO, "slice", "list", "-o", "wide").text.splitlines()[0].split()) == 9


def test_workers(iris: Runner, fleet: FakeService) -> None:
    rows = iris(*DEMO, "worker", "list").text.splitlines()
    assert rows[1].split() == ["s-0", "1", "here", "HEALTHY", "0", "0.5/4", "0", "B/8", "GiB", "never"]
    (worker,) = iris(*DEMO, "worker", "list", "-o", "json").document["workers"]
    assert worker["place"] == {"slice_name": "s-0", "worker_index": 1}


def test_an_empty_list_says_so(iris: Runner, service: FakeService) -> None:
    for words, says in ((["job", "list"], "no jobs"), (["slice", "list"], "no slices")):
        done = iris(*DEMO, *words)
        assert (done.status, done.out) == (0, b"") and says in done.err
    assert iris(*DEMO, "slice", "list", "-o", "json").document == {"slices": [], "next_page_token": ""}


def test_events_of_every_page(iris: Runner, service: FakeService) -> None:
    for number in range(8):
        service.add_event(f"STATE-{number}")
    rows = iris(*DEMO, "events").text.splitlines()
    assert rows[1].split() == ["2023-11-14T22:13:20Z", "slice", "s-1", "STATE-0", "demand"]
    assert len(rows) == 9
    document = iris(*DEMO, "events", "-o", "json").document
    assert [event["what"] for event in document["events"]] == [f"STATE-{n}" for n in range(8)]


def test_events_are_followed_through_a_restart(iris: Runner, controller: FakeController) -> None:
    service = controller.service
    service.add_event("FIRST")
    with iris.start(*DEMO, "events", "--follow", "-o", "json") as running:
        lines = [running.read_line()]
        controller.restart()
        service.add_event("SECOND")
        lines.append(running.read_line())
        running.interrupt()
        done = running.finish()
    assert done.status == 130
    assert [json.loads(line)["events"][0]["what"] for line in lines] == ["FIRST", "SECOND"]


def test_followed_events_have_the_same_columns(iris: Runner, service: FakeService) -> None:
    service.add_event("FIRST")
    listed = iris(*DEMO, "events").text.splitlines()
    with iris.start(*DEMO, "events", "--follow") as running:
        followed = [running.read_line().decode(), running.read_line().decode()]
        running.interrupt()
        running.finish()
    assert [line.split() for line in followed] == [line.split() for line in listed]
    assert followed[0].index("REASON") == followed[1].index("demand")


def test_verbose_says_which_cluster(iris: Runner, service: FakeService) -> None:
    done = iris(*DEMO, "job", "list", "-v")
    assert f"cluster demo (named): state in {iris.state_dir}" in done.err


def test_a_task_that_runs_again_says_what_became_of_it_before() -> None:
    again = with_attempt(task("RUNNING", attempts=2), attempt("RUNNING", 2))
    again.losses = 1
    assert task_row(again, 0.0)[-1] == "attempts before: 1 lost with their machine"
    assert task_row(with_attempt(task("RUNNING", attempts=1), attempt("RUNNING")), 0.0)[-1] == ""


def test_a_job_that_waits_again_does_not_run() -> None:
    rows = []
    for state in ("RUNNING", "PENDING"):
        shown = job(state)
        shown.started_at.FromSeconds(100)
        rows.append(job_row(shown, 107.0, wide=False, cut=False)[5])
    assert rows == ["7.0s", ""]


def test_a_gangs_member_that_has_ended_is_shown_as_what_it_waits_for() -> None:
    member = with_attempt(
        task("RUNNING", "gang", "succeeded; waits for the rest of its gang", index=3),
        attempt("SUCCEEDED", index=3, exit_code=0),
    )
    assert task_row(member, 0.0) == (
        "3", "RUNNING", "1", "0", "", "s-1/3", "gang — succeeded; waits for the rest of its gang",
    )  # fmt: skip
