"""Slices on a cloud: few calls, lines to wait in, and the provider's word as the only fence."""

from collections import Counter
from typing import Any

from iris_controller.core import effects as fx
from iris_controller.core import events as e
from iris_controller.core.overdue import DAY_MS
from iris_platform.base import Failure, SliceCloudState, SliceInfo, VmState
from tests.controller.agents import Agent
from tests.controller.worlds import (
    EPOCH,
    Scene,
    cloud,
    creates,
    deletes,
    info,
    lists,
    looks,
    name_of,
    settings,
    world,
)

A = "zone-a"
RUNNING, DEAD = VmState.RUNNING, VmState.TERMINATED


def listed(w: Scene, *seen: SliceInfo) -> list[fx.Effect]:
    return w.lists(*seen, provider="tpu", zone=A)


def seen(name: str, *vms: VmState, state: SliceCloudState = SliceCloudState.RUNNING) -> SliceInfo:
    return info(name, vms, state)


def asked(tasks: int = 1, **rest: Any) -> Scene:
    """A cloud whose first slices are asked for, and accepted."""
    w = world(cloud(zone=A, **{"cpu": 1, **rest}))
    w.tick(600)
    w.submit(tasks=tasks)
    for name in creates(w.effects):
        w.created(name)
    return w


def calls(effects: list[fx.Effect]) -> Counter[str]:
    """How often each kind of call was asked for, but lists."""
    kinds = (fx.CreateSlice, fx.DeleteSlice, fx.LookAtSlice)
    return Counter(type(effect).__name__ for effect in effects if isinstance(effect, kinds))


class TestFewCalls:
    def test_a_slice_that_takes_minutes_to_boot_is_told_of_by_lists_alone(self) -> None:
        w = asked()
        effects = []
        for _ in range(30):
            effects += w.seconds(10) + listed(w, seen(w.only, state=SliceCloudState.CREATING))
        assert (calls(effects), w.slices[w.only]) == (Counter(), "BOOTING")

    def test_three_calls_in_a_whole_life(self) -> None:
        w = asked(at_most=1)
        name = w.only
        effects = list(w.effects)
        effects += listed(w, seen(name, VmState.BOOTING, state=SliceCloudState.CREATING))
        w.agent(name).hello()
        effects += w.later(600) + w.shut_down() + w.later(60)
        effects += w.delete_answered(name)
        effects += w.later(60) + listed(w, seen(name, state=SliceCloudState.DELETING)) + listed(w)
        effects += w.absent(name)
        assert calls(effects) == {"DeleteSlice": 1, "LookAtSlice": 1}
        assert w.is_gone(name)

    def test_what_a_list_lacks_is_looked_for_unless_the_list_may_be_older(self) -> None:
        w = asked()
        assert looks(listed(w)) == []
        w.seconds(26)
        assert looks(listed(w)) == [w.only]

    def test_b30_absence_by_name_settles_nothing_and_the_same_name_is_asked_for_again(self) -> None:
        w = asked()
        w.seconds(26)
        listed(w)
        w.absent(w.only)
        assert creates(w.seconds(5)) == [w.only]

    def test_it_is_not_asked_for_twice_at_the_same_time(self) -> None:
        w = world(cloud(zone=A))
        w.tick(600)
        w.submit()
        assert creates(w.seconds(300)) == []
        w.create_fails(w.only, Failure.UNREACHABLE)
        assert creates(w.seconds(30)) == [w.only]

    def test_a_deletion_that_was_accepted_is_reminded_of_seldom(self) -> None:
        w = asked()
        w.boots(w.only)
        w.preempts(w.only)
        w.delete_answered(w.only)
        again = w.seconds(119)
        assert (deletes(again), deletes(w.seconds(2))) == ([], [w.only])

    def test_a_zone_is_listed_more_often_while_slices_come_or_go(self) -> None:
        w = asked()
        assert len(lists(w.seconds(60))) == 6
        w.boots(w.only)
        assert len(lists(w.later(60))) == 2

    def test_hosts_that_hang_up_are_worth_one_list_for_all_of_them(self) -> None:
        w = asked(tasks=3, at_most=3)
        agents = w.boots(*w.slices)
        w.later(60)
        effects = w.batch(*(e.SessionClosed(agent.session) for agent in agents)) + w.seconds(5)
        assert (lists(effects), looks(effects)) == ([A], [])


class TestRates:
    def test_b34_one_project_waits_for_all_of_its_groups_and_no_standing_is_lost(self) -> None:
        w = world(cloud("a", zone=A), cloud("b", zone=A, cpu=0.5, at_least=1))
        w.tick(600)
        name = w.only
        w.create_fails(name, Failure.RATE_LIMIT)
        w.submit()
        assert creates(w.seconds(15)) == []
        assert len(creates(w.seconds(5))) == 2
        assert w.world.standings == {}

    def test_creations_stay_under_the_limit_of_the_project_and_none_is_lost(self) -> None:
        w = world(cloud("a", zone=A, at_most=50, cpu=1), cloud("b", zone=A, at_most=50, at_least=50))
        w.submit(tasks=50)
        asked_at: list[int] = []
        for second in range(200):
            names = creates(w.tick(1))
            asked_at += [second] * len(names)
            for name in names:
                w.created(name)
        assert len(asked_at) == len(w.slices) == 100
        assert all(sum(1 for s in asked_at if at <= s < at + 60) <= 60 for at in asked_at)
        first = [w.world.slices[name].group for name in list(w.slices)[:50]]
        assert set(first) == {"a"}, "what tasks wait for goes before what is kept ready"

    def test_a_rate_sends_no_demand_to_a_group_that_is_less_preferred(self) -> None:
        w = world(
            cloud("a", zone=A, at_most=50, cpu=1, priority=1),
            cloud("b", zone=A, at_most=50, cpu=1, priority=2, project="other"),
        )
        w.tick(600)
        w.submit(tasks=30)
        assert {w.world.slices[name].group for name in w.slices} == {"a"}

    def test_deletions_are_spread_and_do_not_hold_up_creations(self) -> None:
        w = asked(tasks=1, at_most=200)
        w.submit(tasks=53)
        w.seconds(120)
        names = list(w.slices)
        w.boots(*names)
        w.tick(600)
        effects = listed(w, *(seen(name, DEAD, state=SliceCloudState.PREEMPTED) for name in names))
        assert (len(names), len(looks(effects)), len(deletes(effects))) == (54, 54, 15)
        w.batch(*(e.SliceLooked(name, seen(name, DEAD, state=SliceCloudState.PREEMPTED)) for name in names))
        for name in names:
            w.delete_answered(name)
        assert len(deletes(w.seconds(30))) == 23
        # Their agents have been silent for long enough: their tasks wait again, and more is asked for.
        assert len(creates(w.seconds(1))) == 15
        later = w.seconds(60)
        assert (len(set(deletes(later))), len(creates(later))) == (16, 39)


class TestInLine:
    """Queued resources."""

    def waiting(self, **rest: Any) -> Scene:
        w = asked(queued_s=7200, boot_s=900, **rest)
        listed(w, seen(w.only, state=SliceCloudState.CREATING))
        return w

    def test_a_request_waits_as_long_as_its_validity(self) -> None:
        w = self.waiting()
        name = w.only
        assert looks(w.seconds(7200)) == []
        assert w.slices == {name: "REQUESTING"}
        assert looks(w.seconds(62)) != []
        assert deletes(w.shows(name, state=SliceCloudState.CREATING)) == []
        # `shows` without hosts shows all of them: it was served in the last moment.
        assert w.slices == {name: "INITIALIZING"}

    def test_one_that_was_never_served_is_withdrawn_and_lowers_its_standing(self) -> None:
        w = self.waiting()
        name = w.only
        w.seconds(7262)
        assert deletes(w.batch(e.SliceLooked(name, seen(name, state=SliceCloudState.CREATING)))) == [name]
        assert w.world.standing("tpu", A).reason == ("stockout", "was not served within 2h1m")

    def test_once_it_is_served_it_has_its_time_to_boot(self) -> None:
        w = self.waiting()
        name = w.only
        w.seconds(7000)
        listed(w, seen(name, VmState.BOOTING, state=SliceCloudState.CREATING))
        assert looks(w.seconds(900)) == []
        assert looks(w.seconds(1)) == [name]

    def test_its_wait_survives_a_restart(self) -> None:
        w = self.waiting()
        w.seconds(7000)
        w.restart()
        name = w.only
        w.created(name)
        assert looks(w.seconds(240)) == []
        assert name in looks(w.seconds(60))

    def test_b46_what_is_gone_is_remembered_for_its_validity_and_a_day(self) -> None:
        w = asked(queued_s=10 * 24 * 3600)
        job, name = "j1", w.only
        w.stop(job)
        w.shut_down()
        w.delete_answered(name)
        w.absent(name)
        w.tick(11 * DAY_MS // 1000)
        assert name in w.world.slices
        late = info(name, [RUNNING], SliceCloudState.RUNNING)
        assert deletes(listed(w, late)) == [name]
        w.tick(1)
        assert name not in w.world.slices


class TestBoot:
    def test_a_host_that_is_late_is_looked_at_before_it_is_given_up(self) -> None:
        w = asked(hosts=2, boot_s=900)
        name = w.only
        w.agent(name, 0).hello()
        w.later(901)
        assert w.slices == {name: "BOOTING"}
        w.batch(e.SliceLooked(name, e.CallFailed(Failure.UNREACHABLE, "503")))
        assert w.slices == {name: "BOOTING"}
        w.later(5)
        assert deletes(w.shows(name, RUNNING, RUNNING, detail="READY")) == [name]
        why = w.world.slices[name].state.reason
        assert why == ("boot_timeout", "1 of 2 hosts did not register within 15m; READY")

    def test_what_its_missing_hosts_said_is_kept(self) -> None:
        w = asked(hosts=3, boot_s=900)
        name = w.only
        w.agent(name, 1).hello()
        effects = w.seconds(902)
        assert {x.logs_of for x in effects if isinstance(x, fx.LookAtSlice)} == {(0, 2)}
        logs = "[0] no space left\n[2] it left nothing"
        w.batch(e.SliceLooked(name, info(name, [RUNNING] * 3, SliceCloudState.RUNNING), logs))
        w.delete_answered(name)
        w.absent(name)
        first, *kept = w.world.slices[name].state.reason.message.splitlines()
        assert first == "2 of 3 hosts did not register within 15m; the end of its log:"
        assert kept == logs.splitlines()

    def test_only_a_few_hosts_are_asked(self) -> None:
        w = asked(hosts=64, boot_s=900)
        w.agent(w.only, 0).hello()
        effects = w.seconds(902)
        assert {x.logs_of for x in effects if isinstance(x, fx.LookAtSlice)} == {(1, 2, 3, 4)}

    def test_one_that_waited_in_a_line_has_no_hosts_to_be_asked(self) -> None:
        w = asked(hosts=2, queued_s=900)
        effects = w.seconds(962)
        assert {x.logs_of for x in effects if isinstance(x, fx.LookAtSlice)} == {()}

    def test_one_that_registers_meanwhile_is_kept(self) -> None:
        w = asked(boot_s=900)
        w.seconds(902)
        w.agent(w.only).hello()
        w.shows(w.only)
        assert w.slices == {w.only: "READY"}


class TestFences:
    def at_work(self, hosts: int = 1, **rest: Any) -> tuple[Scene, str, list[Agent]]:
        w = asked(hosts=hosts, **rest)
        agents = w.boots(w.only)
        job = next(iter(w.world.jobs))
        agents[0].runs(w.attempt(job))
        return w, job, agents

    def test_b42_the_end_of_a_lease_alone_is_no_fence(self) -> None:
        w, job, (agent,) = self.at_work(lease_s=600)
        agent.silent = True
        w.later(3600)
        assert (w.slices, w.states(job)) == ({w.only: "DELETING"}, ["RUNNING"])
        w.absent(w.only)
        assert w.states(job)[0] != "RUNNING"

    def test_b35_a_preempted_slice_that_is_still_listed_is_deleted(self) -> None:
        w, job, _ = self.at_work()
        name = w.only
        w.later(2)
        effects = listed(w, seen(name, DEAD, state=SliceCloudState.PREEMPTED))
        asks = [type(x).__name__ for x in effects if isinstance(x, fx.LookAtSlice | fx.DeleteSlice)]
        assert asks == ["LookAtSlice", "DeleteSlice"]
        w.absent(name)
        assert (w.task(job).losses, w.told("task")[-1]) == (1, "RETRY preempted")

    def test_b35_while_its_deletion_waits_it_is_asked_for_by_name_until_the_answer_is_known(self) -> None:
        w, _, _ = self.at_work()
        taken = seen(w.only, DEAD, state=SliceCloudState.PREEMPTED)
        w.later(2)
        assert looks(listed(w, taken)) == [w.only]
        w.batch(e.SliceLooked(w.only, e.CallFailed(Failure.UNREACHABLE, "503")))
        w.seconds(10)
        assert looks(listed(w, taken)) == [w.only]
        w.batch(e.SliceLooked(w.only, taken))
        w.seconds(10)
        assert looks(listed(w, taken)) == []

    def test_a_preempted_machine_that_is_silent_too_needs_no_deletion_for_its_tasks_to_go_on(self) -> None:
        w, job, (agent,) = self.at_work()
        name = w.only
        agent.silent = True
        w.shows(name, DEAD, state=SliceCloudState.PREEMPTED)
        assert (w.slices[name], w.states(job)) == ("DELETING", ["RUNNING"])
        w.seconds(30)
        assert w.states(job) == ["RUNNING"]
        w.seconds(1)
        assert (w.states(job), w.task(job).losses, w.task(job).reason.code) == (["PENDING"], 1, "preempted")
        assert w.slices[name] == "DELETING"

    def test_not_while_its_agent_speaks(self) -> None:
        w, job, _ = self.at_work()
        w.shows(w.only, DEAD, state=SliceCloudState.PREEMPTED)
        w.later(60)
        assert w.states(job) == ["RUNNING"]

    def test_nor_once_somebody_has_started_it_again(self) -> None:
        w, job, (agent,) = self.at_work()
        w.shows(w.only, DEAD, state=SliceCloudState.PREEMPTED)
        w.later(10)
        agent.silent = True
        w.seconds(60)
        assert w.states(job) == ["RUNNING"]

    def test_b32_one_host_that_stopped_fences_its_own_tasks_alone(self) -> None:
        w = asked(tasks=2, hosts=2)
        agents = w.boots(w.only)
        for index, agent in enumerate(agents):
            agent.runs(w.attempt("j1", index))
            agent.silent = True
        w.shows(w.only, DEAD, RUNNING)
        w.seconds(31)
        assert w.states("j1") == ["PENDING", "RUNNING"]

    def test_what_was_deleted_on_our_word_ends_for_our_reason(self) -> None:
        w, job, (agent,) = self.at_work()
        w.shut_down()
        w.later(41)
        agent.silent = True
        w.shows(w.only, DEAD)
        w.seconds(31)
        assert (w.states(job), w.task(job).losses, w.slices) == (["PENDING"], 0, {w.only: "DELETING"})

    def test_a_list_alone_is_no_fence(self) -> None:
        w, job, (agent,) = self.at_work()
        agent.silent = True
        listed(w, seen(w.only, DEAD, state=SliceCloudState.PREEMPTED))
        w.seconds(120)
        assert w.states(job) == ["RUNNING"]


def test_b33_unknown_slices_of_a_cloud_are_held_back_too() -> None:
    w = Scene(settings(cloud(zone=A, lease_s=600, boot_s=600)))
    strangers = [seen(name_of(n, "tpu", EPOCH - 1), RUNNING) for n in range(1, 9)]
    effects: list[fx.Effect] = []
    for _ in range(70):
        effects += w.seconds(10) + listed(w, *strangers)
    assert len(set(deletes(effects))) == 2
