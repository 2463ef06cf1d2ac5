"""Where the next slice is asked for on a cloud, and what its refusals teach: B13 B14 B15 B19 B31."""

from pathlib import Path

from tests.controller.on_cloud import EAST, TYPE, WEST, on_cloud, tpu
from tests.controller.running import run


def test_b13_b15_the_preferred_group_is_filled_first_and_what_boots_counts(tmp_path: Path) -> None:
    async def test() -> None:
        groups = tpu(WEST, "second", at_most=2, priority=20), tpu(EAST, "first", at_most=2, priority=10)
        async with on_cloud(tmp_path, *groups) as it:
            # Within their boot timeout.
            it.cloud.set_timings(machines=700_000, ready=700_000)
            job = await it.submit(3)
            await it.passes(600)
            assert (len(it.slices("first")), len(it.slices("second")), len(it.made())) == (2, 1, 3)
            assert it.states(job) == ["PENDING"] * 3
            await it.until(lambda: it.run(job), 300)
            assert len(it.made()) == 3

    run(test)


def test_b14_a_group_without_quota_gives_way_and_is_tried_again(tmp_path: Path) -> None:
    async def test() -> None:
        groups = tpu(EAST, "first", at_most=2, priority=10), tpu(WEST, "second", at_most=2, priority=20)
        async with on_cloud(tmp_path, *groups) as it:
            it.cloud.set_quota(EAST, "v5e", 0)
            await it.passes(20)
            job = await it.submit()
            await it.until(lambda: it.slices("second") != {}, 4)
            assert it.availability("first") == "QUOTA_EXCEEDED"
            await it.until(lambda: it.run(job))
            # Somebody raised it; it is tried again after its back-off, and not before.
            it.cloud.set_quota(EAST, "v5e", None)
            more = await it.submit()
            await it.until(lambda: it.run(more))
            assert (len(it.slices("first")), len(it.slices("second"))) == (0, 2)
            await it.passes(90)
            later = await it.submit()
            await it.until(lambda: it.run(later))
            assert (len(it.slices("first")), len(it.slices("second"))) == (1, 2)
            refused = len(it.cloud.calls("CreateNode")) - len(it.made())
            assert (refused, it.controller.view.standings[("first", EAST)].failures) == (1, 0)

    run(test)


def test_b19_a_slice_that_worked_and_is_taken_back_lowers_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        async with on_cloud(tmp_path, tpu(EAST)) as it:
            job = await it.submit()
            await it.until(lambda: it.run(job))
            await it.passes(600)
            (name,) = it.nodes()
            it.cloud.preempt(EAST, name, notice_ms=0)
            await it.until(lambda: it.run(job) and name not in it.slices())
            assert (it.controller.view.standings, it.availability("tpu")) == ({}, "AT_MAX_SLICES")

    run(test)


def test_b19_five_quick_failures_lower_a_standing_which_recovers_by_itself(tmp_path: Path) -> None:
    async def test() -> None:
        async with on_cloud(tmp_path, tpu(EAST)) as it:
            it.cloud.fault("stockout", "CreateNode", count=5)
            job = await it.submit()
            await it.until(lambda: len(it.cloud.calls("CreateNode")) == 5, 300)
            assert it.availability("tpu") == "BACKOFF"
            (standing,) = it.controller.view.standings.values()
            assert (standing.failures, standing.reason.code) == (5, "stockout")
            pauses = [call.at_ms for call in it.cloud.calls("CreateNode")]
            assert pauses[4] - pauses[3] > 4 * (pauses[1] - pauses[0])
            await it.until(lambda: it.run(job), 300)
            (standing,) = it.controller.view.standings.values()
            assert standing.failures == 0

    run(test)


def test_b14_a_stockout_that_only_the_end_of_a_creation_tells(tmp_path: Path) -> None:
    async def test() -> None:
        groups = tpu(EAST, "first", priority=10), tpu(WEST, "second", priority=20)
        async with on_cloud(tmp_path, *groups) as it:
            it.cloud.set_capacity(EAST, TYPE, 0)
            job = await it.submit()
            await it.until(lambda: it.run(job))
            (standing,) = it.controller.view.standings.values()
            assert (standing.group, standing.reason.code) == ("first", "stockout")
            assert "There is no more capacity in the zone" in standing.reason.message
            await it.until(lambda: set(it.slices()) == set(it.nodes()))
            assert len(it.made()) == 2

    run(test)


def test_b31_what_was_made_by_half_is_deleted_and_the_group_says_why(tmp_path: Path) -> None:
    async def test() -> None:
        async with on_cloud(tmp_path, tpu(EAST, at_least=1, kind="v5litepod-16")) as it:
            it.cloud.fault("partial", "CreateNode", hosts=(1, 3), after=True)
            await it.until(lambda: bool(it.controller.view.standings))
            assert it.availability("tpu") == "BACKOFF"
            (half,) = it.made()
            (standing,) = it.controller.view.standings.values()
            assert "not all workers of the node became healthy" in standing.reason.message
            await it.until(lambda: list(it.slices().values()) == ["READY"])
            assert half not in it.nodes()
            assert (sorted(it.made()[1:]), len(it.hosts)) == (sorted(it.nodes()), 4)

    run(test)
