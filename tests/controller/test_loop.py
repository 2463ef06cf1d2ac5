"""The loop: nothing of a batch leaves before its commit, and nothing of it happened if that fails."""

import asyncio
import sqlite3
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from iris_controller.core import effects as fx
from iris_controller.core import events as e
from iris_controller.core.problems import problems
from iris_controller.core.values import AttemptId, Place, Reason
from iris_controller.core.view import view_of
from iris_controller.shell.controller import MOST_WAITING, Controller, NotCommitted, Overloaded, SteppedDown
from iris_controller.shell.hub import EVENTS, Hub
from iris_controller.shell.store import Store
from iris_platform.identity import Mirror, write_mirror
from tests.controller.agents import failed, spec
from tests.controller.running import PATIENCE_S, Running, run, running
from tests.controller.worlds import EPOCH, group, name_of, settings

NOTHING = e.LogStored(AttemptId("jx", 0, 1, 1))


async def committing(it: Running) -> None:
    """Waits until a commit has begun; it is held up."""
    assert await asyncio.to_thread(it.store.is_committing.wait, PATIENCE_S)


def submission(number: int) -> e.JobSubmitted:
    return e.JobSubmitted(f"r{number}", f"j{number}", spec())


def test_answers_views_and_effects_wait_for_the_commit(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path) as it:
            it.store.may_commit.clear()
            asked = asyncio.create_task(it.controller.ask(submission(1)))
            await committing(it)
            shown = it.controller.view
            assert (asked.done(), it.delivered, shown.jobs) == (False, [], {})
            assert (shown.findings.availability, shown.findings.wanted, shown.findings.waits) == ({}, {}, {})
            it.store.may_commit.set()
            assert await asked == fx.JobAnswer("j1")
            assert list(it.controller.view.jobs) == ["j1"]
            assert [type(effect) for effect in it.delivered] == [fx.CreateSlice]

    run(test)


def test_what_arrives_during_a_commit_is_one_batch(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path) as it:
            it.store.may_commit.clear()
            first = asyncio.create_task(it.controller.ask(submission(0)))
            await committing(it)
            rest = [asyncio.create_task(it.controller.ask(submission(n))) for n in range(1, 50)]
            await asyncio.sleep(0)
            it.store.may_commit.set()
            await asyncio.gather(first, *rest)
            assert len(it.store.commits) == 2

    run(test)


def test_events_are_handled_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path) as it:
            ended: list[int] = []

            async def ask(number: int) -> None:
                await it.controller.ask(submission(number))
                ended.append(number)

            await asyncio.gather(*(ask(number) for number in range(100)))
            orders = [job.order for job in it.controller.view.jobs.values()]
            assert (list(it.controller.view.jobs), ended) == ([f"j{n}" for n in range(100)], list(range(100)))
            assert orders == sorted(orders)

    run(test)


def test_a_batch_that_changes_nothing_is_not_committed(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path) as it:
            await it.submit()
            await it.happens()
            before = it.controller.commit_number
            await it.happens(NOTHING, NOTHING)
            assert it.controller.commit_number == before

    run(test)


class TestFailedCommit:
    """B44: the disk is full."""

    def test_b44_callers_are_told_and_nothing_happened(self, tmp_path: Path) -> None:
        async def test() -> None:
            async with running(tmp_path) as it:
                await it.submit()
                await it.boots()
                it.delivered.clear()
                it.store.fill_the_disk()
                big = spec(tasks=3)
                asked = [it.controller.ask(e.JobSubmitted(f"b{n}", f"b{n}", big)) for n in range(500)]
                outcomes = await asyncio.gather(*asked, return_exceptions=True)
                assert {type(outcome) for outcome in outcomes} == {NotCommitted}
                assert "full" in str(outcomes[0])
                assert (list(it.controller.view.jobs), list(it.controller.world.jobs)) == (["j1"], ["j1"])
                assert it.delivered == [fx.RefuseSession(1, refusal())]

        run(test)

    def test_b44_work_goes_on_when_there_is_space_again(self, tmp_path: Path) -> None:
        async def test() -> None:
            async with running(tmp_path, group(cpu=1, at_most=3)) as it:
                await it.submit()
                await it.boots()
                it.store.fill_the_disk()
                asked = [it.controller.ask(submission(n)) for n in range(2, 500)]
                await asyncio.gather(*asked, return_exceptions=True)
                it.store.free_the_disk()
                second = await it.submit(request="again")
                assert it.state(second) == "PENDING"
                names = [effect.slice_name for effect in it.wanted(fx.CreateSlice)]
                assert Counter(names).most_common(1)[0][1] == 1
                assert problems(it.controller.world) == []

        run(test)

    def test_what_was_found_is_shown_until_something_else_is(self, tmp_path: Path) -> None:
        async def test() -> None:
            async with running(tmp_path) as it:
                job = await it.submit()
                before = it.controller.view.findings
                assert before.availability and before.waits
                it.store.fill_the_disk()
                asked = [it.controller.ask(submission(n)) for n in range(2, 500)]
                await asyncio.gather(*asked, return_exceptions=True)
                view = it.controller.view
                assert it.controller.store_trouble
                assert view.findings.availability == before.availability
                assert view.why_waits(view.jobs[job], view.statuses[job]).code == "demand"

        run(test)

    def test_an_agent_that_was_cut_off_dials_again_and_is_heard(self, tmp_path: Path) -> None:
        async def test() -> None:
            async with running(tmp_path) as it:
                job = await it.submit(spec(losses=0))
                await it.boots()
                it.store.fill_the_disk()
                await asyncio.gather(
                    *(it.controller.ask(submission(n)) for n in range(2, 500)), return_exceptions=True
                )
                it.store.free_the_disk()
                it.delivered.clear()
                (place,) = it.controller.view.workers
                await it.happens(it.hello(place, 77))
                assert [spec.id for spec in it.wanted(fx.SendCommands)[0].start] == [it.attempt(job)]

        run(test)

    def test_a_session_that_the_batch_ended_is_cut_off_as_well(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nobody knows it any more, so its agent would beat for long and hear nothing."""

        def commit(*_: Any) -> int:
            raise sqlite3.OperationalError("database or disk is full")

        async def test() -> None:
            async with running(tmp_path) as it:
                await it.submit()
                await it.boots()
                (place,) = it.controller.view.workers
                it.delivered.clear()
                monkeypatch.setattr(it.store, "commit", commit)
                it.controller.post(it.hello(place, 77))
                with pytest.raises(NotCommitted):
                    await it.submit()
                assert {effect.session_id for effect in it.wanted(fx.RefuseSession)} == {1, 77}

        run(test)

    def test_what_the_mirror_said_of_the_store_is_not_lost_with_the_first_batch(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "pki").mkdir()
        write_mirror(tmp_path / "pki", Mirror(EPOCH, 1))
        failures = iter([sqlite3.OperationalError("database or disk is full")])
        real = Store.commit

        def commit(self: Store, *arguments: Any) -> int:
            for error in failures:
                raise error
            return real(self, *arguments)

        monkeypatch.setattr(Store, "commit", commit)

        async def test() -> None:
            async with running(tmp_path) as it:
                with pytest.raises(NotCommitted):
                    await it.submit()
                await it.submit()
                incomplete = it.controller.world.cluster.incomplete
                assert incomplete is not None
                assert incomplete.code == "store_lost"
                assert it.memory.incomplete == ""

        run(test)

    def test_damage_that_is_no_full_disk_ends_the_loop(self, tmp_path: Path) -> None:
        async def test() -> None:
            it = Running(tmp_path, settings(group()))
            it.store.db.execute(
                "CREATE TRIGGER no BEFORE INSERT ON jobs BEGIN SELECT RAISE(ABORT, 'no'); END"
            )
            it.controller.post(submission(1))
            with pytest.raises(sqlite3.IntegrityError):
                await it.controller.run()
            await it.controller.close()

        run(test)


def refusal() -> Reason:
    return Reason("store", "the controller could not write its store")


def test_too_much_waiting_is_refused_and_agents_are_held_back(tmp_path: Path) -> None:
    async def test() -> None:
        it = Running(tmp_path, settings(group()))
        for _ in range(MOST_WAITING):
            it.controller.post(NOTHING)
        with pytest.raises(Overloaded):
            await it.controller.ask(submission(1))
        told = asyncio.create_task(it.controller.tell(NOTHING))
        await asyncio.sleep(0)
        assert not told.done()
        loop = asyncio.create_task(it.controller.run())
        await told
        assert await it.controller.ask(submission(1)) == fx.JobAnswer("j1")
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)
        await it.controller.close()

    run(test)


def test_a_newer_controller_ends_the_loop_and_nothing_more_is_done(tmp_path: Path) -> None:
    async def test() -> None:
        it = Running(tmp_path, settings(group()))
        it.controller.post(submission(1))
        hello = it.hello(Place(name_of(1), 0), 1)
        it.controller.post(replace(hello, highest_epoch=10**15))
        with pytest.raises(SteppedDown, match="newer than ours"):
            await it.controller.run()
        assert it.delivered == []
        await it.controller.close()

    run(test)


def test_a_start_shows_what_was_there_with_its_history(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path) as it:
            job = await it.submit(spec(failures=1))
            session = await it.boots()
            first = it.attempt(job)
            await it.says(session, first, failed())
            shown = it.controller.view
            again = Controller(it.controller.world.settings, EPOCH, it.memory, it.clock, it.deliver)
            assert (again.view.jobs, again.view.tasks) == (shown.jobs, shown.tasks)
            assert [attempt.id for attempt in await again.history.past_attempts(first.task)] == [first]
            records = await again.history.records(0, 1_000)
            assert [record.event_id for record in records] == list(range(1, len(records) + 1))
            assert again.world.last_event_id == len(records) > 1
            assert await again.history.records(1, 1) == records[1:2]
            await again.close()

    run(test)


def test_the_view_is_the_world_as_it_was_committed(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path) as it:
            await it.submit()
            await it.boots()
            fresh, shown = view_of(it.controller.world), it.controller.view
            for name in (
                "jobs",
                "statuses",
                "job_counts",
                "tasks",
                "slices",
                "workers",
                "standings",
                "cluster",
                "findings",
            ):
                assert getattr(shown, name) == getattr(fresh, name), name
            assert {place: live for place, live in shown.live.items() if live} == fresh.live

    run(test)


def test_time_passes_by_itself(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path, group(at_least=1)) as it:
            ticking = asyncio.create_task(it.controller.tick())
            while not it.delivered:
                await asyncio.sleep(0)
            ticking.cancel()
            assert it.wanted(fx.CreateSlice) != []

    run(test)


class TestHub:
    """Who waits for news is woken; what is over is forgotten."""

    def test_only_those_of_the_topic_are_woken(self) -> None:
        async def test() -> None:
            hub = Hub()
            with hub.subscribe("a") as a, hub.subscribe("b") as b, hub.subscribe("a") as other:
                hub.notify(["a", "nobody"])
                assert (a.is_set(), b.is_set(), other.is_set()) == (True, False, True)
                hub.notify_all()
                assert b.is_set()

        run(test)

    def test_a_subscription_that_is_over_hears_nothing(self) -> None:
        async def test() -> None:
            hub = Hub()
            with hub.subscribe(EVENTS) as news:
                pass
            hub.notify([EVENTS])
            assert not news.is_set()

        run(test)

    def test_a_job_hears_of_its_tasks_and_of_no_others(self, tmp_path: Path) -> None:
        async def test() -> None:
            async with running(tmp_path) as it:
                first, second = await it.submit(), await it.submit()
                session = await it.boots()
                hub = it.controller.hub
                with hub.subscribe(first) as mine, hub.subscribe(second) as other:
                    await it.says(session, it.attempt(first), failed())
                    assert (mine.is_set(), other.is_set()) == (True, False)

        run(test)
