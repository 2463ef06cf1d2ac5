"""The KEEP/STOP table of DESIGN 7, row by row: what becomes of an attempt that an agent reports."""

import pytest

from iris_controller.core import states as s
from iris_controller.core.values import AttemptId
from tests.controller.agents import RUNNING, Agent, failed, killed, observed, spec, succeeded
from tests.controller.worlds import EPOCH, Scene, group, name_of, world


def with_worker(state: s.AttemptPreparing | s.AttemptRunning | None = RUNNING) -> tuple[Scene, str, Agent]:
    """A task that is out on the first of two hosts, in this state; None leaves it ASSIGNED."""
    w = world(group(hosts=2, cpu=1))
    job = w.submit()
    agent, _ = w.boots(w.only)
    if state is not None:
        agent.says(w.attempt(job), state)
    return w, job, agent


def newer(attempt: AttemptId) -> AttemptId:
    return attempt._replace(number=attempt.number + 1)


class TestCurrent:
    """Reported, and current: KEEP."""

    @pytest.mark.parametrize("state", [None, s.AttemptPreparing(), RUNNING])
    def test_it_is_kept_and_its_news_count(self, state: s.AttemptPreparing | s.AttemptRunning | None) -> None:
        w, job, agent = with_worker(state)
        agent.hello(observed(w.attempt(job), RUNNING))
        assert (agent.verdicts, agent.started) == ({w.attempt(job): "KEEP"}, [])
        assert w.states(job) == ["RUNNING"]

    def test_its_end_counts_too(self) -> None:
        w, job, agent = with_worker()
        agent.hello(observed(w.attempt(job), succeeded()))
        assert (agent.verdicts, w.job(job)) == ({w.attempt(job): "KEEP"}, "SUCCEEDED")

    def test_a_failure_is_retried_as_any_other(self) -> None:
        w, job, agent = with_worker()
        first = w.attempt(job)
        agent.hello(observed(first, killed("lease_expired")))
        assert (agent.verdicts, agent.started) == ({first: "KEEP"}, [w.attempt(job)])
        assert w.task(job).losses == 1

    def test_it_is_kept_across_a_restart_of_the_controller(self) -> None:
        w, job, _ = with_worker()
        w.restart()
        agent = w.agent(w.only)
        agent.hello(observed(w.attempt(job)))
        assert (agent.verdicts, w.states(job)) == ({w.attempt(job): "KEEP"}, ["RUNNING"])

    def test_on_another_place_it_is_not(self) -> None:
        w, job, _ = with_worker()
        other = w.agent(w.only, 1)
        other.hello(observed(w.attempt(job)))
        assert (other.verdicts, w.states(job)) == ({w.attempt(job): "STOP elsewhere"}, ["RUNNING"])

    def test_one_that_was_given_up_is_stopped(self) -> None:
        w, job, agent = with_worker()
        w.shut_down()
        agent.hello()
        agent.beats()
        assert w.states(job) == ["PENDING"]
        agent.hello(observed(w.attempt(job)))
        assert (agent.verdicts, w.states(job)) == ({w.attempt(job): "STOP lost"}, ["PENDING"])


class TestUnknown:
    """The store does not know it: KEEP, and it becomes current."""

    def test_a_job_that_was_lost_is_taken_over(self) -> None:
        w = world(group(at_most=1))
        agent = w.agent(name_of(7, epoch=EPOCH - 1))
        found = AttemptId("jlost", 0, EPOCH - 1, 3)
        agent.hello(observed(found, failures=1, losses=1, job=spec(failures=1)))
        assert (agent.verdicts, w.slices) == ({found: "KEEP"}, {name_of(7, epoch=EPOCH - 1): "READY"})
        task = w.task("jlost")
        assert (task.state.name, task.attempts, task.failures, task.losses) == ("RUNNING", 3, 1, 1)
        job = w.world.jobs["jlost"]
        assert (job.adopted, job.request_id, job.submitted_ms) == (True, "request-jlost", 5)

    def test_its_budgets_go_on_from_where_they_were(self) -> None:
        w = world(group(at_most=1))
        agent = w.agent(name_of(7, epoch=EPOCH - 1))
        found = AttemptId("jlost", 0, EPOCH - 1, 2)
        agent.hello(observed(found, failures=1, job=spec(failures=1)))
        agent.says(found, failed())
        assert (w.job("jlost"), w.task("jlost").failures) == ("FAILED", 2)

    def test_only_the_tasks_that_were_reported_exist(self) -> None:
        w = world(group(at_most=1))
        agent = w.agent(name_of(7, epoch=EPOCH - 1))
        agent.hello(observed(AttemptId("jlost", 2, EPOCH - 1, 1), job=spec(tasks=5)))
        assert [task.id.task_index for task in w.world.tasks.values()] == [2]
        assert w.world.statuses["jlost"].counts == {w.task("jlost", 2).state: 1}
        w.restart()
        assert len(w.world.queue) == 0

    def test_another_place_adds_another_of_its_tasks(self) -> None:
        w = world(group(at_most=1, hosts=2))
        name = name_of(7, epoch=EPOCH - 1)
        for index in (0, 1):
            found = AttemptId("jlost", index, EPOCH - 1, 1)
            w.agent(name, index).hello(observed(found, job=spec(tasks=2)))
        assert w.states("jlost") == ["RUNNING", "RUNNING"]

    def test_a_task_that_turns_up_after_its_job_was_taken_for_ended_survives_a_restart(self) -> None:
        w = world(group(at_most=1, hosts=2))
        first, second = (w.agent(name_of(7, epoch=EPOCH - 1), index) for index in (0, 1))
        first.hello(observed(AttemptId("jlost", 0, EPOCH - 1, 1), succeeded(), job=spec(tasks=2)))
        found = AttemptId("jlost", 1, EPOCH - 1, 1)
        second.hello(observed(found, job=spec(tasks=2)))
        w.shut_down()
        second.says(found, killed("cluster_stop"))
        w.restart()
        w.resume()
        for agent in (w.agent(first.place.slice_name, index) for index in (0, 1)):
            agent.hello(observed(found, killed("cluster_stop"), job=spec(tasks=2)))
        assert w.task("jlost", 1).state.name == "PENDING"
        w.later(42)
        w.absent(first.place.slice_name)
        w.boots(*w.slices)
        assert w.task("jlost", 1).state.name == "ASSIGNED"

    @pytest.mark.parametrize(
        ("end", "job", "task"),
        [
            (succeeded(), "SUCCEEDED", "SUCCEEDED"),
            (failed(), "FAILED", "FAILED"),
            (killed("lease_expired"), "RUNNING", "ASSIGNED"),
        ],
    )
    def test_one_that_has_ended_counts_as_such(self, end: s.AttemptEnded, job: str, task: str) -> None:
        w = world(group(at_most=1))
        agent = w.agent(name_of(7, epoch=EPOCH - 1))
        agent.hello(observed(AttemptId("jlost", 0, EPOCH - 1, 1), end))
        assert (w.job("jlost"), w.states("jlost")) == (job, [task])

    def test_a_request_that_was_made_anew_keeps_its_own_job(self) -> None:
        w = world(group(cpu=4))
        job = w.submit_spec(spec(), request="request-jlost")
        (agent,) = w.boots(w.only)
        agent.hello(observed(AttemptId("jlost", 0, EPOCH, 1)), observed(w.attempt(job)))
        w.restart()
        assert set(w.world.jobs) == {job, "jlost"}
        assert w.submit_spec(spec(), request="request-jlost") == job


class TestNewer:
    """Newer than what the store has (an old store was restored): KEEP, and it becomes current."""

    def test_of_a_task_that_is_assigned_elsewhere(self) -> None:
        w, job, agent = with_worker()
        first = w.attempt(job)
        other = w.agent(w.only, 1)
        other.hello(observed(newer(first)))
        assert other.verdicts == {newer(first): "KEEP"}
        assert (w.attempt(job), w.states(job), w.task(job).losses) == (newer(first), ["RUNNING"], 0)
        assert agent.stopped == {first: "superseded"}

    def test_of_a_task_that_waits(self) -> None:
        w = world(group(hosts=2, cpu=1))
        job = w.submit(tasks=5)
        name = w.only
        found = AttemptId(job, 3, EPOCH, 4)
        agent = w.agent(name)
        agent.hello(observed(found, job=spec(tasks=5)))
        assert (agent.verdicts, w.states(job)[3]) == ({found: "KEEP"}, "RUNNING")

    @pytest.mark.parametrize("order", [1, -1])
    def test_on_the_same_place(self, order: int) -> None:
        w, job, agent = with_worker()
        first = w.attempt(job)
        agent.hello(*[observed(newer(first)), observed(first, failed())][::order])
        assert agent.verdicts == {newer(first): "KEEP", first: "STOP superseded"}
        assert (w.attempt(job), w.states(job)) == (newer(first), ["RUNNING"])

    @pytest.mark.parametrize("order", [1, -1])
    def test_of_several_that_the_store_has_lost_the_newest_counts(self, order: int) -> None:
        w = world(group(at_most=1))
        agent = w.agent(name_of(7, epoch=EPOCH - 1))
        first = AttemptId("jlost", 0, EPOCH - 1, 1)
        # The one that failed was taken for lost, and paid for as such.
        agent.hello(*[observed(newer(first), losses=1), observed(first, failed())][::order])
        assert agent.verdicts == {newer(first): "KEEP", first: "STOP superseded"}
        task = w.task("jlost")
        assert (task.state.name, task.failures, task.losses) == ("RUNNING", 0, 1)


class TestOlderOrOver:
    """Older than the current one, or of a task that was stopped or has finished: STOP."""

    def test_older(self) -> None:
        w, job, agent = with_worker()
        first = w.attempt(job)
        agent.says(first, killed("lease_expired"))
        assert w.attempt(job) == newer(first)
        agent.hello(observed(first), observed(newer(first)))
        assert agent.verdicts == {first: "STOP superseded", newer(first): "KEEP"}

    def test_an_older_epoch_is_older_whatever_its_number(self) -> None:
        w, job, agent = with_worker()
        older = w.attempt(job)._replace(epoch=EPOCH - 1, number=99)
        agent.hello(observed(older), observed(w.attempt(job)))
        assert agent.verdicts[older] == "STOP superseded"

    def test_stopped(self) -> None:
        w, job, agent = with_worker()
        w.stop(job)
        agent.hello(observed(w.attempt(job)))
        assert agent.verdicts == {w.attempt(job): "STOP job_stopped"}

    def test_finished(self) -> None:
        w, job, agent = with_worker()
        agent.says(w.attempt(job), succeeded())
        agent.hello(observed(w.attempt(job), succeeded()), observed(newer(w.attempt(job))))
        assert set(agent.verdicts.values()) == {"STOP finished"}
        assert (w.job(job), w.task(job).attempts) == ("SUCCEEDED", 1)


class TestToEnd:
    """What is told to end, and is no task's live attempt, runs on until its end is reported."""

    @staticmethod
    def of_a_job_that_has_finished(idle_s: float = 60) -> tuple[Scene, Agent, AttemptId]:
        """A restored store has the job's end; what runs was started by the one that was lost."""
        w = world(group(cpu=1, idle_s=idle_s))
        job = w.submit()
        (agent,) = w.boots(w.only)
        agent.says(w.attempt(job), succeeded())
        found = newer(w.attempt(job))
        agent.hello(observed(found))
        assert agent.verdicts == {found: "STOP finished"}
        return w, agent, found

    def test_it_has_its_room_until_then(self) -> None:
        w, agent, found = self.of_a_job_that_has_finished()
        job = w.submit()
        assert w.states(job) == ["PENDING"]
        agent.says(found, killed("finished"))
        assert w.states(job) == ["ASSIGNED"]

    def test_its_slice_is_not_idle_before(self) -> None:
        w, agent, found = self.of_a_job_that_has_finished(idle_s=5)
        name = w.only
        w.later(20)
        assert w.slices == {name: "READY"}
        agent.says(found, killed("finished"))
        w.later(7)
        assert w.reason(name) == "idle"

    def test_a_drain_waits_for_it(self) -> None:
        w, agent, found = self.of_a_job_that_has_finished()
        name = w.only
        w.shut_down()
        w.later(2)
        assert w.slices == {name: "DRAINING"}
        agent.says(found, killed("finished"))
        w.later(1)
        assert w.slices == {name: "DELETING"}

    def test_a_hello_that_does_not_name_it_says_that_it_has_ended(self) -> None:
        w, agent, _ = self.of_a_job_that_has_finished()
        agent.hello()
        assert w.states(w.submit()) == ["ASSIGNED"]


class TestNotReported:
    """Stored, but not in the hello."""

    def test_assigned_is_sent_again(self) -> None:
        w, job, agent = with_worker(state=None)
        agent.hello()
        assert (agent.started, w.states(job)) == ([w.attempt(job)], ["ASSIGNED"])

    def test_assigned_is_sent_again_after_a_restart(self) -> None:
        w, job, _ = with_worker(state=None)
        w.restart()
        agent = w.agent(w.only)
        agent.hello()
        assert agent.started == [w.attempt(job)]

    @pytest.mark.parametrize("state", [s.AttemptPreparing(), RUNNING])
    def test_later_states_are_lost(self, state: s.AttemptPreparing | s.AttemptRunning) -> None:
        w, job, agent = with_worker(state)
        first = w.attempt(job)
        agent.hello()
        agent.beats()
        assert (w.attempt(job), agent.started) == (newer(first), [newer(first)])
        assert w.task(job).losses == 1

    def test_assigned_is_taken_back_where_what_runs_there_leaves_no_room(self) -> None:
        # An older store believes that the place is free for it; the agent brings along what came since.
        w, job, _ = with_worker(state=None)
        w.restart()
        agent = w.agent(w.only)
        agent.hello(observed(AttemptId("jnew", 0, EPOCH, 1)))
        assert agent.started == []
        agent.beats()
        assert w.states("jnew") == ["RUNNING"]
        task = w.task(job)
        assert (task.losses, task.attempts, task.attempt and task.attempt.place.worker_index) == (0, 2, 1)

    def test_a_hello_alone_is_not_believed(self) -> None:
        # It may have been held up on a line that broke, and be older than what it does not name.
        w, job, agent = with_worker()
        agent.hello()
        agent.hangs_up()
        agent.hello(observed(w.attempt(job)))
        agent.beats()
        assert (w.states(job), w.task(job).losses) == (["RUNNING"], 0)

    def test_on_a_draining_slice_nothing_is_sent_again(self) -> None:
        w, job, agent = with_worker(state=None)
        agent.hangs_up()
        w.shut_down()
        agent.hello()
        agent.beats()
        assert (agent.started, w.states(job), w.task(job).losses) == ([], ["PENDING"], 0)


def test_on_a_draining_slice_what_runs_is_kept_and_told_again_to_end() -> None:
    w, job, agent = with_worker()
    attempt = w.attempt(job)
    agent.hangs_up()
    w.shut_down()
    agent.hello(observed(attempt))
    assert (agent.verdicts, agent.stopped) == ({attempt: "KEEP"}, {attempt: "cluster_stop"})
