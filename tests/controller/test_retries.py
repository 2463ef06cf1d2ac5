"""How attempts end and what that means for their tasks and jobs: budgets, stops, late words."""

import pytest

from iris_controller.core import events as e
from iris_controller.core import states as s
from iris_controller.core.effects import Refusal, RefusalKind
from iris_controller.core.entities import PastAttempt
from iris_controller.core.values import Reason
from tests.controller.agents import REPORTED, RUNNING, Agent, failed, killed, observed, succeeded
from tests.controller.worlds import Scene, group, world


def with_worker(**options: int) -> tuple[Scene, str, Agent]:
    """A job with one task, assigned to the one worker of a world."""
    w = world(group())
    job = w.submit(**options)
    (agent,) = w.boots(w.only)
    return w, job, agent


def test_a_task_goes_from_pending_to_succeeded_and_its_job_with_it() -> None:
    w = world(group())
    job = w.submit()
    seen = [(w.states(job), w.job(job))]
    (agent,) = w.boots(w.only)
    attempt = w.attempt(job)
    assert agent.started == [attempt]
    for state in (s.AttemptPreparing(), RUNNING, succeeded()):
        seen.append((w.states(job), w.job(job)))
        agent.says(attempt, state)
    seen.append((w.states(job), w.job(job)))
    assert seen == [
        (["PENDING"], "PENDING"),
        (["ASSIGNED"], "RUNNING"),
        (["PREPARING"], "RUNNING"),
        (["RUNNING"], "RUNNING"),
        (["SUCCEEDED"], "SUCCEEDED"),
    ]


def test_a_task_that_starts_and_ends_between_two_batches_is_one_message() -> None:
    w, job, agent = with_worker()
    agent.says(w.attempt(job), s.AttemptPreparing(), RUNNING, succeeded())
    assert (w.job(job), agent.acknowledged) == ("SUCCEEDED", [1])


def test_reports_that_come_again_or_late_are_acknowledged_and_change_nothing() -> None:
    w, job, agent = with_worker()
    attempt = w.attempt(job)
    agent.runs(attempt)
    running = w.task(job)
    agent.says(attempt, s.AttemptPreparing())
    agent.runs(attempt)
    assert w.task(job) == running
    agent.says(attempt, succeeded())
    done = w.task(job)
    agent.says(attempt, failed())
    agent.runs(attempt)
    assert (w.task(job), agent.acknowledged) == (done, [1] * 6)


@pytest.mark.parametrize("budget", [0, 1, 3])
def test_the_budget_of_failures_is_spent_exactly(budget: int) -> None:
    w, job, agent = with_worker(failures=budget)
    for _ in range(budget):
        agent.says(w.attempt(job), failed())
        assert w.states(job) == ["ASSIGNED"]
    agent.says(w.attempt(job), failed(code=7))
    task = w.task(job)
    assert (w.job(job), task.attempts, task.failures, task.losses) == ("FAILED", budget + 1, budget + 1, 0)
    assert w.world.statuses[job].reason == Reason("exit", "exit of the program")


@pytest.mark.parametrize("reason", ["lease_expired", "keeper_lost", "start_failed"])
@pytest.mark.parametrize("budget", [0, 2])
def test_the_budget_of_losses_is_spent_exactly(reason: str, budget: int) -> None:
    w, job, agent = with_worker(losses=budget)
    for _ in range(budget):
        agent.says(w.attempt(job), killed(reason))
        assert w.states(job) == ["ASSIGNED"]
    agent.says(w.attempt(job), killed(reason))
    task = w.task(job)
    assert (w.job(job), task.attempts, task.failures, task.losses) == ("FAILED", budget + 1, 0, budget + 1)


def test_the_two_budgets_do_not_touch_each_other() -> None:
    w, job, agent = with_worker(failures=1, losses=1)
    agent.says(w.attempt(job), failed())
    agent.says(w.attempt(job), killed("lease_expired"))
    assert w.states(job) == ["ASSIGNED"]
    agent.says(w.attempt(job), failed())
    assert (w.states(job), w.task(job).failures, w.task(job).losses) == (["FAILED"], 2, 1)


@pytest.mark.parametrize("reason", ["cluster_stop", "draining", "superseded"])
def test_a_stop_on_our_word_spends_no_budget(reason: str) -> None:
    w, job, agent = with_worker(losses=0)
    agent.says(w.attempt(job), killed(reason))
    assert (w.states(job), w.task(job).losses, w.task(job).attempts) == (["ASSIGNED"], 0, 2)


def test_every_attempt_of_a_task_is_kept_for_the_record() -> None:
    w, job, agent = with_worker(failures=1)
    first = w.attempt(job)
    agent.says(first, failed())
    second = w.attempt(job)
    assert second.is_newer_than(first)
    assert [row.attempt.id for row in w.rows.load() if isinstance(row, PastAttempt)] == [first]


def test_a_jobs_result_is_its_worst_task_and_says_which_one() -> None:
    w = world(group())
    job = w.submit(tasks=3)
    (agent,) = w.boots(w.only)
    ends: list[REPORTED] = [succeeded(), failed("signal"), succeeded()]
    for index, state in enumerate(ends):
        agent.says(w.attempt(job, index), state)
    assert w.job(job) == "FAILED"
    assert w.world.statuses[job].reason == Reason("signal", "task 1 signal of the program")


class TestStopping:
    """A person ends a job."""

    def test_waiting_tasks_end_at_once(self) -> None:
        w = world(group())
        job = w.submit(tasks=2)
        w.stop(job)
        assert (w.states(job), w.job(job)) == (["KILLED", "KILLED"], "KILLED")
        assert w.world.statuses[job].reason.code == "stopped"

    @pytest.mark.parametrize("reported", [(), (s.AttemptPreparing(),), (RUNNING,)])
    def test_live_tasks_end_when_their_agent_did_it(self, reported: tuple[REPORTED, ...]) -> None:
        w, job, agent = with_worker()
        attempt = w.attempt(job)
        agent.says(attempt, *reported)
        w.stop(job)
        assert (agent.stopped, w.job(job)) == ({attempt: "job_stopped"}, "RUNNING")
        agent.says(attempt, killed("job_stopped"))
        assert (w.states(job), w.job(job), w.task(job).losses) == (["KILLED"], "KILLED", 0)

    def test_a_failure_while_it_stops_is_not_retried(self) -> None:
        w, job, agent = with_worker(failures=5)
        w.stop(job)
        agent.says(w.attempt(job), failed())
        assert w.states(job) == ["KILLED"]

    def test_a_success_while_it_stops_is_a_success(self) -> None:
        w, job, agent = with_worker()
        w.stop(job)
        agent.says(w.attempt(job), succeeded())
        assert w.job(job) == "SUCCEEDED"

    def test_an_agent_that_was_away_is_told_when_it_dials_again(self) -> None:
        w, job, agent = with_worker()
        attempt = w.attempt(job)
        agent.runs(attempt)
        agent.hangs_up()
        w.stop(job)
        assert agent.stopped == {}
        agent.hello(observed(attempt))
        assert agent.verdicts == {attempt: "STOP job_stopped"}
        agent.says(attempt, killed("job_stopped"))
        assert w.job(job) == "KILLED"

    def test_what_the_agent_never_heard_of_ends_when_it_dials_again(self) -> None:
        w, job, agent = with_worker()
        agent.hangs_up()
        w.stop(job)
        agent.hello()
        agent.beats()
        assert (agent.started, w.job(job)) == ([], "KILLED")

    def test_its_worker_dies_meanwhile(self) -> None:
        w, job, _ = with_worker()
        w.stop(job)
        name = w.only
        w.absent(name)
        w.absent(name)
        assert (w.job(job), w.task(job).losses) == ("KILLED", 0)

    def test_again_is_the_same_answer(self) -> None:
        w, job, agent = with_worker()
        w.stop(job)
        first = w.answer
        agent.stopped.clear()
        w.stop(job)
        assert (w.answer, agent.stopped) == (first, {})
        agent.says(w.attempt(job), killed("job_stopped"))
        w.stop(job)
        assert w.answer == first

    def test_a_job_that_is_not_there(self) -> None:
        w = world()
        w.stop("jx")
        assert w.answer == Refusal(
            RefusalKind.NOT_FOUND, Reason("unknown_job", "there is no job 'jx'; see `iris job list`")
        )


class TestLateSuccess:
    """The last attempt was given up, and succeeded after all."""

    def lost(self) -> tuple[Scene, str, Agent]:
        """A task whose attempt was lost in a reboot, with no room to start it again."""
        w, job, agent = with_worker()
        attempt = w.attempt(job)
        agent.runs(attempt)
        w.shut_down()
        agent.reboots()
        assert w.states(job) == ["PENDING"]
        return w, job, agent

    def test_it_counts_while_no_newer_attempt_is_assigned(self) -> None:
        w, job, agent = self.lost()
        agent.says(w.attempt(job), succeeded())
        assert (w.job(job), w.world.queue.waiting(job)) == ("SUCCEEDED", ())

    def test_a_late_failure_does_not_count(self) -> None:
        w, job, agent = self.lost()
        agent.says(w.attempt(job), failed())
        agent.runs(w.attempt(job))
        assert (w.states(job), w.task(job).failures) == (["PENDING"], 0)

    def test_it_does_not_count_beside_a_newer_attempt(self) -> None:
        w, job, agent = with_worker()
        first = w.attempt(job)
        agent.runs(first)
        agent.reboots()
        assert w.attempt(job) != first
        agent.says(first, succeeded())
        assert w.states(job) == ["ASSIGNED"]


def test_a_log_that_is_complete_is_remembered_once() -> None:
    w, job, agent = with_worker()
    attempt = w.attempt(job)
    agent.says(attempt, succeeded(log_bytes=3))
    w.batch(e.LogStored(attempt), e.LogStored(attempt), e.LogStored(attempt._replace(job_id="jx")))
    stored = w.task(job).attempt
    assert stored is not None and stored.log_stored
