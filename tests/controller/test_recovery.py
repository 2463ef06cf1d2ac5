"""Incomplete memory: B45 a store that was lost, B47 one that was restored; B33 slices that nobody knows."""

from collections.abc import Sequence

from iris_controller.core import effects as fx
from iris_controller.core import events as e
from iris_controller.core import states as s
from iris_controller.core.restore import restore
from iris_controller.core.values import NO_REASON, AttemptEnd, AttemptId, Now
from iris_controller.core.view import view_of
from iris_platform.base import Failure, SliceCloudState, SliceInfo, VmState
from tests.controller.agents import observed, spec, succeeded
from tests.controller.rows_in_memory import RowsInMemory
from tests.controller.worlds import EPOCH, Scene, creates, deletes, group, info, looks, name_of, world

LOST = e.StoreFoundOlder("the store is new, and this cluster is not")


def shown(name: str, hosts: int = 1) -> SliceInfo:
    return info(name, (VmState.RUNNING,) * hosts, SliceCloudState.RUNNING)


def lose_store(w: Scene, *listed: str) -> list[fx.Effect]:
    """The controller starts again on an empty state directory; then its zone is listed."""
    w.rows = RowsInMemory()
    start_again(w)
    return w.lists(*(shown(name) for name in listed))


def a_minute_on(w: Scene, *listed: SliceInfo) -> None:
    """Another complete list, so much later that what was there is in one of them."""
    w.now = Now(w.now.boot_ms + 60_000, w.now.wall_ms + 60_000)
    w.lists(*listed)


def start_again(w: Scene) -> None:
    w.world = restore(w.world.settings, w.world.epoch + 1, w.rows.load(), w.now)
    w._agents.clear()
    w.batch(LOST)


def copied(w: Scene) -> RowsInMemory:
    """A copy of the state directory."""
    copy = RowsInMemory()
    copy._tables = {name: dict(rows) for name, rows in w.rows._tables.items()}
    return copy


def is_complete(w: Scene) -> bool:
    return w.world.cluster.incomplete is None


def notices(w: Scene) -> Sequence[str]:
    return view_of(w.world).findings.notices


def two_slices_of_a_lost_store() -> tuple[Scene, str, list[str], list[AttemptId]]:
    """A job with a task on each of two slices, whose agents have not reported yet."""
    w = world(group(at_most=3, cpu=1))
    job = w.submit(tasks=2)
    w.boots(*w.slices)
    names, ids = list(w.slices), [w.attempt(job, i) for i in range(2)]
    lose_store(w, *names)
    a_minute_on(w, *map(shown, names))
    return w, job, names, ids


class TestStoreLost:
    def test_b45_what_agents_report_is_adopted_and_goes_on(self) -> None:
        w = world(group(at_most=3))
        job = w.submit(tasks=2)
        w.boots(w.only)
        ids, slice_name = [w.attempt(job, i) for i in range(2)], w.only
        lose_store(w, slice_name)
        a_minute_on(w, shown(slice_name))
        agent = w.agent(slice_name)
        agent.hello(*(observed(one, job=spec(2)) for one in ids))
        assert agent.verdicts == dict.fromkeys(ids, "KEEP")
        assert (w.states(job), w.slices) == (["RUNNING", "RUNNING"], {slice_name: "READY"})
        for one in ids:
            agent.says(one, succeeded())
        w.tick(1)
        assert (w.job(job), is_complete(w)) == ("SUCCEEDED", True)

    def test_an_adopted_job_does_not_end_while_a_place_may_still_report_more_of_it(self) -> None:
        w, job, names, ids = two_slices_of_a_lost_store()
        first, second = (w.agent(name) for name in names)
        first.hello(observed(ids[0], job=spec(2)))
        first.says(ids[0], succeeded())
        w.tick(1)
        assert w.job(job) == "RUNNING"
        second.hello(observed(ids[1], job=spec(2)))
        assert second.verdicts == {ids[1]: "KEEP"}
        second.says(ids[1], succeeded())
        w.tick(1)
        assert w.job(job) == "SUCCEEDED"

    def test_a_job_whose_known_tasks_have_ended_says_what_its_end_waits_for(self) -> None:
        w, job, names, ids = two_slices_of_a_lost_store()
        w.agent(names[0]).hello(
            observed(ids[0], s.AttemptSucceeded(5, AttemptEnd(6, NO_REASON, 0)), job=spec(2))
        )
        w.tick(1)
        view = view_of(w.world)
        why = view.why_waits(view.jobs[job], view.statuses[job])
        assert (w.job(job), why.code) == ("RUNNING", "recovering")
        assert why.message.endswith(f"waits for 1 report: {names[1]}")

    def test_new_work_does_not_wait_for_the_old(self) -> None:
        w = world(group(at_most=3))
        w.submit()
        w.boots(w.only)
        lost = w.only
        lose_store(w, lost)
        job = w.submit()
        (asked,) = [name for name in w.slices if name != lost]
        w.boots(asked)
        assert (w.states(job), not is_complete(w)) == (["ASSIGNED"], True)

    def test_what_it_waits_for_is_said(self) -> None:
        w = world(group())
        lose_store(w, name_of(1))
        (waits, why) = notices(w)
        assert waits.startswith(f"unknown slice {name_of(1)}: deleted unless its agents report within 10m")
        assert why.endswith(f"waits for 2 reports: local zone local, {name_of(1)}")
        a_minute_on(w, shown(name_of(1)))
        assert notices(w)[1].endswith(f"waits for 1 report: {name_of(1)}")

    def test_nothing_is_known_of_a_zone_that_was_not_listed(self) -> None:
        w = world(group())
        w.rows = RowsInMemory()
        start_again(w)
        w.batch(e.ZoneListed("local", "local", e.CallFailed(Failure.UNREACHABLE, "no")))
        w.later(60)
        assert not is_complete(w)
        w.lists()
        a_minute_on(w)
        w.tick(1)
        assert is_complete(w)

    def test_b45_one_list_alone_may_be_of_a_moment_ago(self) -> None:
        w = world(group(at_most=3, cpu=1))
        job = w.submit()
        w.boots(w.only)
        old, running = w.only, w.attempt(job)
        lose_store(w)
        w.later(5)
        assert not is_complete(w)
        # What came up just before is in the next one only.
        a_minute_on(w, shown(old))
        w.tick(1)
        assert not is_complete(w)
        w.agent(old).hello(observed(running))
        w.tick(1)
        assert is_complete(w)


class TestUnreported:
    """A place that may run more than an older store knows."""

    def unreported(self) -> tuple[Scene, str]:
        w = world(group(at_most=1))
        job = w.submit()
        (agent,) = w.boots(w.only)
        agent.says(w.attempt(job), succeeded())
        w.seconds(1)
        start_again(w)
        w.lists(shown(w.only))
        return w, w.only

    def test_it_is_given_nothing_before_its_agent_reports(self) -> None:
        w, name = self.unreported()
        job = w.submit()
        assert w.states(job) == ["PENDING"]
        w.agent(name).hello()
        assert w.states(job) == ["ASSIGNED"]

    def test_it_is_not_idle(self) -> None:
        w, name = self.unreported()
        w.seconds(120)
        assert w.slices == {name: "READY"}


class TestUnknownSlices:
    """B33: late, a few at most, and only after two complete lists."""

    def lost(self, count: int) -> tuple[Scene, list[str]]:
        w = world(group(at_most=50, lease_s=600, boot_s=30))
        names = [name_of(number) for number in range(1, count + 1)]
        lose_store(w, *names)
        return w, names

    def test_b33_deleted_after_the_lease_if_two_lists_showed_it(self) -> None:
        w, (name,) = self.lost(1)
        w.seconds(100)
        assert deletes(w.lists(shown(name)) + w.seconds(499)) == []
        assert deletes(w.seconds(1)) == [name]
        w.absent(name)
        w.tick(1)
        assert (w.is_gone(name), is_complete(w)) == (True, True)

    def test_b33_one_list_is_not_enough(self) -> None:
        w, (name,) = self.lost(1)
        assert deletes(w.seconds(650)) == []
        assert deletes(w.lists(shown(name)) + w.seconds(1)) == [name]

    def test_b33_a_store_that_is_suddenly_empty_deletes_no_more_than_a_few(self) -> None:
        w, names = self.lost(30)
        w.seconds(100)
        w.lists(*map(shown, names))
        assert len(set(deletes(w.seconds(3600)))) == 3
        assert sum("held, 3 unknown slices were deleted already" in line for line in notices(w)) == 27

    def test_the_cap_outlives_a_restart(self) -> None:
        w, names = self.lost(5)
        w.seconds(100)
        w.lists(*map(shown, names))
        assert len(set(deletes(w.seconds(600)))) == 2
        w.restart()
        w.lists(*map(shown, names))
        w.seconds(100)
        w.lists(*map(shown, names))
        left = [name for name in names if name not in w.world.slices]
        assert not set(deletes(w.seconds(3600))) & set(left)

    def test_absence_from_a_list_only_prompts_a_look(self) -> None:
        w, (name,) = self.lost(1)
        assert looks(w.lists()) == [name]
        assert not is_complete(w)
        w.absent(name)
        a_minute_on(w)
        w.tick(1)
        assert (w.world.unknown, is_complete(w)) == ({}, True)

    def test_others_are_none_of_ours(self) -> None:
        w = world(group())
        foreign = shown(name_of(1))
        w.lists(SliceInfo(foreign.slice_id, "local", {}, foreign.state, foreign.vms, 1, ""))
        w.seconds(10)
        assert w.world.unknown == {}

    def test_an_agent_that_reports_saves_its_slice(self) -> None:
        w, (name,) = self.lost(1)
        w.agent(name).hello()
        assert (w.slices, w.world.unknown) == ({name: "READY"}, {})


class TestStoreRestored:
    """B47: nothing newer is stopped, nothing that may still run is placed again."""

    def test_b47_what_was_pending_then_may_run_now(self) -> None:
        w = world(group(at_most=3, cpu=1))
        w.submit(tasks=1, cpu=1)
        w.boots(w.only)
        job = w.submit(tasks=1, cpu=1)
        old, first = copied(w), name_of(1)
        w.boots(name_of(2))
        running = w.attempt(job)
        w.agent(name_of(2)).runs(running)
        w.rows = old
        start_again(w)
        w.lists(shown(first), shown(name_of(2)))
        # The old store waits with the job and has a free worker soon; it must not run twice.
        agent = w.agent(first)
        agent.hello()
        agent.beats()
        w.later(60)
        assert (w.states(job), [one.job_id for one in agent.started]) == (["PENDING"], ["j1"])
        assert view_of(w.world).why_waits(w.world.jobs[job], w.world.statuses[job]).code == "recovering"
        second = w.agent(name_of(2))
        second.hello(observed(running, job=spec(1)))
        assert (second.verdicts, w.states(job)) == ({running: "KEEP"}, ["RUNNING"])
        a_minute_on(w, shown(first), shown(name_of(2)))
        w.tick(1)
        assert is_complete(w)

    def test_b47_a_hello_that_knows_a_later_commit_is_proof(self) -> None:
        w = world(group(at_most=3))
        job = w.submit(cpu=4)
        w.boots(w.only)
        first = w.only
        w.agent(first).says(w.attempt(job), succeeded())
        waiting = w.submit(cpu=4)
        w.restart()
        w.lists(shown(first))
        other = w.agent(first)
        other.hello(highest_commit=5_000)
        assert w.world.cluster.commits_lost == 5_000
        a_minute_on(w, shown(first))
        w.tick(1)
        # It was the only place, so memory is complete again.
        assert (is_complete(w), w.states(waiting)) == (True, ["ASSIGNED"])
        other.hello(highest_commit=5_000)
        assert "INCOMPLETE store_restored" in w.told("cluster")
        assert w.told("cluster").count("INCOMPLETE store_restored") == 1

    def test_b47_an_older_run_gives_way_to_a_newer_without_stopping_it(self) -> None:
        w = world(group(at_most=3, cpu=1))
        job = w.submit(tasks=1, cpu=1)
        w.boots(w.only)
        w.agent(name_of(1)).runs(w.attempt(job))
        old = copied(w)
        w.rows = old
        start_again(w)
        newer = AttemptId(job, 0, EPOCH, 2)
        w.lists(shown(name_of(1)), shown(name_of(2)))
        agent = w.agent(name_of(2))
        agent.hello(observed(newer, job=spec(1)))
        assert (agent.verdicts, w.attempt(job), w.states(job)) == ({newer: "KEEP"}, newer, ["RUNNING"])

    def test_b47_a_gang_is_judged_only_when_every_place_has_reported(self) -> None:
        w = world(group(hosts=2, cpu=1, at_most=3))
        job = w.submit_spec(spec(2, gang=True, failures=1))
        w.boots(w.only)
        for index in range(2):
            w.agent(name_of(1), index).runs(w.attempt(job, index))
        w.rows = copied(w)
        start_again(w)
        w.lists(shown(name_of(1), 2), shown(name_of(2), 2))
        a_minute_on(w, shown(name_of(1), 2), shown(name_of(2), 2))
        newer = [AttemptId(job, index, EPOCH, 2) for index in range(2)]
        wanted = w.world.jobs[job].spec
        # The old places do not know it any more, while its next round runs elsewhere.
        for index in range(2):
            agent = w.agent(name_of(1), index)
            agent.hello()
            agent.beats()
        assert (w.states(job), creates(w.effects)) == (["RUNNING"] * 2, [])
        for index in range(2):
            agent = w.agent(name_of(2), index)
            agent.hello(observed(newer[index], job=wanted))
            assert agent.verdicts == {newer[index]: "KEEP"}
        w.tick(1)
        assert is_complete(w)
        assert (w.states(job), w.world.broken_gangs) == (["RUNNING"] * 2, {})

    def test_half_a_gang_that_was_found_is_stopped_and_cannot_be_run_again(self) -> None:
        w = world(group(hosts=2, cpu=1, at_most=3))
        job, ids = "jx", [AttemptId("jx", index, EPOCH - 1, 1) for index in range(2)]
        lose_store(w)
        a_minute_on(w, shown(name_of(1), 2))
        w.agent(name_of(1), 0).hello(observed(ids[0], job=spec(2, gang=True, failures=5)))
        other = w.agent(name_of(1), 1)
        other.hello()
        w.tick(1)
        assert is_complete(w)
        w.agent(name_of(1), 0).says(ids[0], s.AttemptFailed(1, succeeded().end))
        assert w.job(job) == "FAILED"
        assert w.world.statuses[job].reason.message == "task 0 exit of the program"

    def test_recovery_goes_on_after_another_crash(self) -> None:
        w = world(group(at_most=3))
        job = w.submit()
        lose = w.only
        start_again(w)
        assert not is_complete(w)
        w.restart()
        assert (not is_complete(w), w.world.queue.held) == (True, {job: None})
        w.lists(shown(lose))
        a_minute_on(w, shown(lose))
        assert w.states(job) == ["PENDING"]
        w.boots(lose)
        w.tick(1)
        assert (is_complete(w), w.states(job)) == (True, ["ASSIGNED"])
