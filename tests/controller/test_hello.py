"""Who may speak for a place: identity, epochs, sessions, reboots."""

from dataclasses import replace

from iris_controller.core import effects as fx
from iris_controller.core import events as e
from iris_controller.core.values import Place, Reason, Resources
from iris_platform.base import SliceCloudState, VmState
from tests.controller.agents import Agent, failed, observed, spec, succeeded
from tests.controller.worlds import CLUSTER_ID, EPOCH, Scene, creates, group, info, name_of, world


def running() -> tuple[Scene, str, Agent]:
    """A task that runs on the only host."""
    w = world(group())
    job = w.submit()
    (agent,) = w.boots(w.only)
    agent.runs(w.attempt(job))
    return w, job, agent


def test_a_worker_is_welcomed_with_its_groups_lease() -> None:
    w = world(group(cpu=4))
    w.submit()
    (agent,) = w.boots(w.only)
    worker = w.world.workers[agent.place]
    assert (agent.lease_ms, worker.state.name, worker.capacity) == (600_000, "HEALTHY", Resources(4000))


def test_an_agent_of_another_cluster_is_refused() -> None:
    w, _, _ = running()
    stranger = Agent(w, "zzzzzzzz27", w.agent(w.only).place, Resources(1))
    before = dict(w.world.workers)
    stranger.hello()
    assert (stranger.refused, w.world.workers) == ("other_cluster", before)


def test_a_slice_of_no_group_or_no_name_of_ours_is_refused() -> None:
    w = world(group("local"))
    for name in ("whatever", name_of(1, "other"), f"iris-zzzzzzzz27-local-{EPOCH}-1"):
        agent = w.agent(name)
        agent.hello()
        assert agent.refused == "unknown_slice"
    assert w.slices == {}


def test_an_index_that_the_slice_does_not_have_is_refused() -> None:
    w = world(group(hosts=2))
    w.submit()
    for index in (-1, 2):
        agent = w.agent(w.only, index)
        agent.hello()
        assert agent.refused == "bad_index"
    assert w.slices == {w.only: "REQUESTING"}


def test_a_refused_hello_makes_no_slice() -> None:
    w = world(group(hosts=2))
    agent = w.agent(name_of(7, epoch=EPOCH - 1), 2)
    agent.hello()
    assert (agent.refused, w.slices, creates(w.later(3))) == ("bad_index", {}, [])


def test_a_slice_that_is_being_deleted_takes_no_agent() -> None:
    w, _, agent = running()
    w.shows(w.only, VmState.FAILED)
    agent.hello()
    assert agent.refused == "deleted_slice"


class TestOtherProtocol:
    """An agent that cannot be talked to; the shell says so."""

    def test_a_slice_that_comes_fails_at_once_with_the_reason(self) -> None:
        w = world(group())
        w.submit()
        w.batch(e.AgentRefused(Place(w.only, 0), Reason("other_protocol", "version 9")))
        assert w.slices == {w.only: "DELETING"}
        assert "DELETING other_protocol" in w.told("slice")

    def test_of_one_at_work_it_is_told_once_and_its_lease_decides(self) -> None:
        w, job, agent = running()
        for _ in range(3):
            w.batch(e.AgentRefused(agent.place, Reason("other_protocol", "version 9")))
        assert [words for words in w.told("worker") if "REFUSED" in words] == ["REFUSED other_protocol"]
        assert (w.states(job), w.slices) == (["RUNNING"], {w.only: "READY"})

    def test_a_place_that_is_nobodys_is_not_told_of(self) -> None:
        w = world(group())
        w.batch(e.AgentRefused(Place(name_of(7), 0), Reason("other_protocol", "version 9")))
        assert w.told("worker") == []


class TestNewerController:
    """Whoever meets a higher epoch leaves."""

    def test_an_agent_that_obeys_it(self) -> None:
        _, _, agent = running()
        effects = agent.hello(highest_epoch=EPOCH + 1)
        assert [type(effect) for effect in effects] == [fx.StepDown]

    def test_a_slice_that_it_made_and_whose_agent_has_met_nobody(self) -> None:
        w = world(group())
        effects = w.agent(name_of(1, epoch=EPOCH + 1)).hello()
        assert [type(effect) for effect in effects] == [fx.StepDown]

    def test_a_slice_that_it_made_in_a_list(self) -> None:
        w = world(group())
        effects = w.lists(info(name_of(1, epoch=EPOCH + 1), [VmState.RUNNING], SliceCloudState.RUNNING))
        assert [type(effect) for effect in effects] == [fx.StepDown]

    def test_one_with_our_name_but_not_our_id_says_nothing(self) -> None:
        w = world(group())
        foreign = info(name_of(1, epoch=EPOCH + 1), [VmState.RUNNING], SliceCloudState.RUNNING)
        labels = {**foreign.labels, "iris-cluster-id": "zzzzzzzz27"}
        assert w.lists(replace(foreign, labels=labels)) == []

    def test_the_same_epoch_is_ours(self) -> None:
        w, job, agent = running()
        agent.hello(observed(w.attempt(job)), highest_epoch=EPOCH)
        assert agent.verdicts == {w.attempt(job): "KEEP"}


class TestTwoSessions:
    """One place, two streams."""

    def test_of_one_boot_the_later_replaces_the_earlier(self) -> None:
        w, job, first = running()
        second = Agent(w, CLUSTER_ID, first.place, first.resources)
        second.hello(observed(w.attempt(job)))
        assert (first.refused, second.refused) == ("replaced", "")
        w.stop(job)
        assert (first.stopped, list(second.stopped)) == ({}, [w.attempt(job)])

    def test_the_end_of_the_earlier_says_nothing(self) -> None:
        w, job, first = running()
        second = Agent(w, CLUSTER_ID, first.place, first.resources)
        second.hello(observed(w.attempt(job)))
        assert first.hangs_up() == []
        w.stop(job)
        assert list(second.stopped) == [w.attempt(job)]

    def test_messages_of_a_session_that_is_over_are_not_answered(self) -> None:
        w, job, agent = running()
        agent.hangs_up()
        assert agent.beats() == []
        assert agent.says(w.attempt(job), succeeded()) == []
        assert w.states(job) == ["RUNNING"]

    def test_of_two_boots_the_second_is_refused_unless_it_quotes_the_first(self) -> None:
        w, job, first = running()
        second = Agent(w, CLUSTER_ID, first.place, first.resources)
        second.reboots(quotes=False)
        assert (second.refused, first.refused, w.states(job)) == ("place_taken", "", ["RUNNING"])


class TestReboot:
    """A host that starts anew ends what ran on it."""

    def test_what_ran_is_retried(self) -> None:
        w, job, agent = running()
        agent.reboots()
        assert (agent.refused, w.states(job), w.task(job).losses) == ("", ["ASSIGNED"], 1)
        assert agent.started == [w.attempt(job)]

    def test_what_was_only_assigned_is_retried_under_another_number(self) -> None:
        w = world(group())
        job = w.submit()
        (agent,) = w.boots(w.only)
        first = w.attempt(job)
        agent.reboots()
        assert (agent.started, w.attempt(job).number) == ([w.attempt(job)], first.number + 1)

    def test_what_ended_before_and_was_not_reported_yet_counts_as_it_ended(self) -> None:
        w, job, agent = running()
        agent.reboots(observed(w.attempt(job), failed()))
        assert (w.job(job), w.task(job).failures, w.task(job).losses) == ("FAILED", 1, 0)

    def test_a_success_of_before_counts(self) -> None:
        w, job, agent = running()
        agent.reboots(observed(w.attempt(job), succeeded()))
        assert w.job(job) == "SUCCEEDED"

    def test_a_new_agent_process_of_the_same_boot_is_no_reboot(self) -> None:
        w, job, agent = running()
        agent.hello(observed(w.attempt(job)), previous_boot_id="boot-0")
        assert (w.states(job), w.task(job).losses) == (["RUNNING"], 0)


def test_an_unknown_slice_of_ours_is_adopted_at_its_hello() -> None:
    w = world(group(hosts=2))
    name = name_of(7, epoch=EPOCH - 1)
    w.agent(name, 0).hello()
    assert (w.slices, w.reason(name)) == ({name: "BOOTING"}, "adopted")
    w.agent(name, 1).hello()
    assert w.slices == {name: "READY"}


def test_an_adopted_slice_may_hold_tasks_at_once() -> None:
    w = world(group(at_most=1, cpu=4))
    job = w.submit_spec(spec())
    name = w.only
    w.agent(name).hello()
    assert w.states(job) == ["ASSIGNED"]


def test_the_end_of_a_session_is_worth_a_look_and_nothing_more() -> None:
    w, job, agent = running()
    assert agent.hangs_up() == [fx.LookAtSlice(w.only, "local", "local")]
    assert (w.states(job), w.world.workers[agent.place].state.name) == (["RUNNING"], "HEALTHY")


def test_start_and_stop_in_one_batch_reach_the_agent_as_one_message() -> None:
    w = world(group())
    job = w.submit()
    w.shows(w.only)
    agent = w.agent(w.only)
    effects = agent.hello()
    assert [type(effect) for effect in effects] == [fx.SendWelcome, fx.SendCommands]
    effects = agent.hello(with_events=[e.JobStopRequested(job)])
    assert agent.stopped == {w.attempt(job): "job_stopped"}
