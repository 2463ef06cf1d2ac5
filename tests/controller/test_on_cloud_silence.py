"""B34: a cloud that says nothing, or that it cannot say: nothing is decided on what is not known."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.controller.on_cloud import (
    DEADLINES,
    EAST,
    OTHER_PROJECT,
    OTHER_TYPE,
    PROJECT,
    WEST,
    on_cloud,
    tpu,
)
from tests.controller.running import run

TEN_MINUTES = 600
# Over before that.
BOOT = "    boot_timeout: 9m\n"
IMPATIENT = replace(DEADLINES, try_s=0.5, write_s=0.5)


@pytest.mark.parametrize(
    ("trouble", "seconds", "project"),
    [
        ({"do": "error", "code": 8}, 60, OTHER_PROJECT),
        ({"do": "error", "code": 8}, TEN_MINUTES, PROJECT),
        ({"do": "error", "code": 13}, TEN_MINUTES, PROJECT),
        # Each of these takes time on the wall.
        ({"do": "hang"}, 60, PROJECT),
    ],
    ids=["429", "429 in one project", "500", "nothing"],
)
def test_b34_nothing_is_decided_on_what_is_not_known(
    tmp_path: Path, trouble: dict[str, Any], seconds: int, project: str
) -> None:
    async def test() -> None:
        groups = (
            tpu(EAST, at_most=4, more=BOOT),
            tpu(WEST, "west", at_most=2, kind=OTHER_TYPE, project=project),
        )
        deadlines = IMPATIENT if trouble["do"] == "hang" else DEADLINES
        async with on_cloud(tmp_path, *groups, deadlines=deadlines) as it:
            old = await it.submit(2)
            await it.until(lambda: it.run(old))
            before = it.slices()
            fault = it.cloud.fault(**trouble, zone=EAST, count=None)
            waiting, elsewhere = await it.submit(), await it.submit(kind=OTHER_TYPE)
            await it.until(lambda: it.run(elsewhere), seconds)
            await it.passes(seconds)
            # What was there is there, and what was asked for is neither given up nor asked for anew.
            assert {name: it.slices()[name] for name in before} == before
            assert (len(it.slices("tpu")), it.states(waiting)) == (3, ["PENDING"])
            assert (it.run(old), it.stopped(), it.cloud.calls("DeleteNode")) == (True, {}, [])
            it.cloud.remove_fault(fault)
            await it.until(lambda: it.run(waiting))
            await it.passes(60)
            assert sorted(it.made()) == sorted(it.slices()) == sorted(it.nodes())
            assert set(it.slices().values()) == {"READY"}

    run(test)


@pytest.mark.parametrize(
    "lie", [{"do": "half"}, {"do": "unreachable"}, {"do": "empty"}, {"do": "lag", "delay_ms": 3_600_000}]
)
def test_b34_a_list_that_is_not_whole_or_not_true_ends_nothing(tmp_path: Path, lie: dict[str, Any]) -> None:
    async def test() -> None:
        async with on_cloud(tmp_path, tpu(EAST, at_most=3)) as it:
            old = await it.submit(2)
            await it.until(lambda: it.run(old))
            it.cloud.fault(**lie, method="List*", count=None)
            late = await it.submit()
            await it.passes(TEN_MINUTES)
            assert it.run([*old, *late])
            assert (it.stopped(), it.cloud.calls("DeleteNode")) == ({}, [])
            assert sorted(it.made()) == sorted(it.nodes()) == sorted(it.slices())

    run(test)
