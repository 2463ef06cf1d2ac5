"""What was found in the core on the way to the simulator and by it, each as the shortest story that shows it.

Most have a mutant too, which brings the bug back for `test_bites`.
"""

import pytest

from iris_controller.core import effects as fx
from iris_controller.core import states as s
from iris_controller.core.values import AttemptId
from iris_platform.base import SliceCloudState, VmState
from tests.controller.agents import observed, spec, succeeded
from tests.controller.worlds import Scene, deletes, group, info, looks, settings, world
from tests.simulation.simulation import play

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


# Seeds that objected once, for a fault of the oracle or the simulation unless something else is said.
SEEDS = {
    6040: "a machine that is suspended is suspended again",
    8547: "a supervised agent that ran before dies and is started again",
    4636: "of two runs that the store has lost, the older is told first (the core's fault)",
    12439: "what an agent says is forgotten while the store cannot be written, until its machine is gone",
    13041: "an agent brings along an older run while the newer one is not reported yet",
    9308: "the controller stands still between a decision and its commit",
    6106: "what is adopted stands beside what an older store believes to run there",
    7295: "the only list before recovery ended was of a moment ago (the core's fault)",
    8980: "a session that a failed batch ended was left open and unanswered (the shell's fault)",
    17706: "an agent that dies again and again begins to be alone each time (the agent's fault)",
    3095: "a gang of which the store forgot members is judged and placed again in one batch",
    7440: "a gang is judged to run again, and stopped in the same batch",
    5421: "an agent cannot say how an attempt ended that it was told to forget",
    17909: "nobody is left on a machine, and no controller comes who would delete its slice",
    16141: "what a restored store has its agent end runs on, on a slice that was taken for idle (the core's fault)",
    5563: "half a gang was judged the moment memory was complete",
    17632: "half a gang was judged the moment the controller went on after it had stood still",
    3284: "members of a gang that an older store forgot came after those that it knew (the core's fault)",
    11110: "what an older store believes to be on its way was sent to a place that is full (the core's fault)",
}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_that_objected_once(seed: int) -> None:
    result = play(seed)
    assert result.failure is None, result.failure
