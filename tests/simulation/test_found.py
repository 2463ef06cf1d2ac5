"""What was found in the core on the way to the simulator and by it, each as the shortest story that shows it.

Most have a mutant too, which brings the bug back for `test_bites`.
"""

from iris_controller.core import effects as fx
from iris_controller.core import states as s
from iris_controller.core.values import AttemptId
from iris_platform.base import SliceCloudState, VmState
from tests.controller.agents import observed, spec, succeeded
from tests.controller.worlds import Scene, deletes, group, info, looks, settings, world

RUNNING = s.AttemptRunning(5)


def given_back() -> tuple[Scene, str]:
    """A slice that is being deleted; its agent is silent."""
    w = world(group())
    w.submit()
    (agent,) = w.boots(w.only)
    agent.silent = True
    w.preempts(w.only)
    return w, w.only


def test_a_tombstone_that_came_to_life_is_not_deleted_in_a_circle() -> None:
    w, name = given_back()
    w.absent(name)
    assert w.is_gone(name)
    assert deletes(w.shows(name)) == [name]
    # It was looked at at once, seen again, and deleted again, as fast as the provider answered.
    assert looks(w.delete_answered(name)) == []


def test_looks_at_a_silent_worker_do_not_keep_its_slice_from_being_deleted() -> None:
    w, name = given_back()
    # The first deletion came to nothing; each tick's look took the turn of the next one.
    assert deletes(w.later(40)).count(name) > 10


def test_a_hello_that_was_held_up_ends_nothing_that_started_since() -> None:
    w = world(group(cpu=1))
    job = w.submit()
    (agent,) = w.boots(w.only)
    attempt = w.attempt(job)
    agent.runs(attempt)
    agent.hello()
    assert (w.states(job), w.task(job).losses) == (["RUNNING"], 0)
    agent.hello(observed(attempt))
    agent.beats()
    assert (w.states(job), w.task(job).losses) == (["RUNNING"], 0)


def test_a_log_that_its_agent_has_forgotten_holds_nothing_up() -> None:
    w = world(group())
    job = w.submit_spec(spec())
    (agent,) = w.boots(w.only)
    attempt: AttemptId = w.attempt(job)
    agent.says(attempt, RUNNING, succeeded(log_bytes=10))
    assert attempt in w.world.logs_due[agent.place]
    # The word that the log is stored went down with a batch, and its agent knew already.
    agent.hello()
    agent.beats()
    assert not w.world.logs_due[agent.place]


def test_that_a_log_is_complete_is_answered_only_with_its_commit() -> None:
    w = world(group())
    w.log_is_stored(AttemptId("jx", 0, 1, 1))
    assert w.answer == fx.Done()


def test_a_tombstone_of_a_dropped_group_is_still_a_tombstone() -> None:
    w, name = given_back()
    w.absent(name)
    w.world.settings = settings(group("other"))
    assert deletes(w.lists(info(name, [VmState.RUNNING], SliceCloudState.RUNNING))) == [name]
