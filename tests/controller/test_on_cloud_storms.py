"""Many things at once on a cloud: slices that are all taken away, and more calls than it takes."""

from pathlib import Path
from typing import Any

import pytest

from iris_controller.core.values import TaskId
from tests.controller.on_cloud import (
    EAST,
    OTHER_TYPE,
    WEST,
    OnCloud,
    most_in_a_minute,
    on_cloud,
    tpu,
)
from tests.controller.running import run

FLEET = 54
# So few that it matters.
PER_MINUTE = 40


def test_b35_54_preemptions_at_once(tmp_path: Path) -> None:
    """Other work goes on, none of them holds quota, and all come back at the pace that is allowed."""

    async def test() -> None:
        groups = tpu(EAST, at_most=FLEET), tpu(WEST, "other", kind=OTHER_TYPE)
        async with on_cloud(tmp_path, *groups, creates_per_minute=PER_MINUTE) as it:
            it.cloud.set_rate("CreateNode", PER_MINUTE)
            other = await it.submit(kind=OTHER_TYPE)
            await it.until(lambda: it.run(other))
            jobs = await it.submit(FLEET)
            await it.until(lambda: it.run(jobs), 300)
            # A list has shown them at work.
            await it.passes(30)
            taken = it.nodes(EAST)
            it.cloud.preempt(EAST, *taken, notice_ms=0)
            await it.until(lambda: "DELETING" in it.slices("tpu").values())
            # While they go: work ends elsewhere, and other work begins there.
            await it.finish(other)
            next_one = await it.submit(kind=OTHER_TYPE)
            await it.until(lambda: it.run(next_one))
            assert set(it.nodes(EAST).values()) & {"PREEMPTED", "DELETING"}
            await it.until(lambda: not taken.keys() & it.nodes().keys() and it.run(jobs), 300)
            _check_replacements(it, jobs, set(taken))
            await it.until(lambda: set(it.slices("tpu").values()) == {"READY"})
            assert set(it.slices()) == set(it.nodes())

    run(test)


def _check_replacements(it: OnCloud, jobs: list[str], taken: set[str]) -> None:
    tasks = [it.controller.view.tasks[TaskId(job_id, 0)] for job_id in jobs]
    assert [(task.losses, task.failures, task.attempts) for task in tasks] == [(1, 0, 2)] * FLEET
    assert not taken & it.nodes(EAST).keys()
    deleted = [call.name for call in it.cloud.calls("DeleteNode")]
    assert sorted(deleted) == sorted(taken), "each is deleted, and once"
    creations = it.cloud.calls("CreateNode")
    assert len(creations) == len({call.name for call in creations}) == 2 * FLEET + 1
    assert most_in_a_minute(call.at_ms for call in creations) <= PER_MINUTE
    assert not [call for call in it.cloud.calls() if call.status == "RESOURCE_EXHAUSTED"]
    # Asked for, looked at since its task could go on then, deleted, looked for.
    assert {sum(it.cloud.counts(name).values()) for name in taken} == {4}


def test_b35_queued_resources_that_are_taken_back_go_with_their_nodes(tmp_path: Path) -> None:
    async def test() -> None:
        few = 4
        line = tpu(EAST, at_most=few, provider=", queued_resources: { valid_for: 2h }")
        async with on_cloud(tmp_path, line) as it:
            jobs = await it.submit(few)
            await it.until(lambda: it.run(jobs))
            await it.passes(30)
            taken = it.nodes()
            it.cloud.preempt(EAST, *taken, notice_ms=0)
            await it.until(lambda: not taken.keys() & it.slices().keys() and it.run(jobs), 300)
            left = {name.rpartition("/")[2]: state for name, state in it.cloud.queued().items()}
            assert left == dict.fromkeys(it.slices(), "ACTIVE")
            assert it.nodes().keys() == left.keys()
            # Looked at since its task could go on then, and looked for: each time both of them.
            calls = {
                "CreateQueuedResource": 1,
                "DeleteQueuedResource": 1,
                "GetNode": 2,
                "GetQueuedResource": 2,
            }
            assert [it.cloud.counts(name) for name in taken] == [calls] * few

    run(test)


@pytest.mark.parametrize(
    "turned_down",
    [{}, {"code": 8}, {"code": 8, "retry_after_s": 20.0}],
    ids=["its limit", "without a time", "with a time"],
)
def test_creations_that_are_turned_down_are_made_in_the_end_and_once(
    tmp_path: Path, turned_down: dict[str, Any]
) -> None:
    async def test() -> None:
        most, limit = 20, 12
        async with on_cloud(tmp_path, tpu(EAST, at_most=most, at_least=most)) as it:
            # Others of the project make some too.
            it.cloud.set_rate("CreateNode", limit)
            if turned_down:
                it.cloud.set_rate("CreateNode", None)
                it.cloud.fault("error", "CreateNode", count=10, **turned_down)
            await it.until(lambda: list(it.nodes().values()).count("READY") == most, 600)
            calls = it.cloud.calls("CreateNode")
            assert any(call.status == "RESOURCE_EXHAUSTED" for call in calls)
            assert sorted(it.made()) == sorted(it.nodes()) == sorted(it.slices())
            assert len(it.made()) == most
            assert not it.controller.view.standings, "too many calls are nobody's failure"

    run(test)
