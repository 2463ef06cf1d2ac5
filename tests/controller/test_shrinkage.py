"""When slices are given back: idleness, order, floors, draining, deletion."""

from tests.controller.agents import Agent, succeeded
from tests.controller.worlds import Scene, deletes, group, looks, world


def ready_slices(w: Scene, count: int) -> list[str]:
    """So many slices with one finished task each; the first ended its task first."""
    jobs = [w.submit() for _ in range(count)]
    names = list(w.slices)
    agents = w.boots(*names)
    for job in jobs:
        finish(w, agents, job)
        w.later(1)
    return names


def finish(w: Scene, agents: list[Agent], job: str) -> None:
    attempt = w.attempt(job)
    (agent,) = [a for a in agents if attempt in a.started]
    agent.says(attempt, succeeded())


def test_b17_idle_slices_are_drained_then_deleted_longest_idle_first() -> None:
    w = world(group(at_most=3, cpu=1, idle_s=60, at_least=1))
    first, second, third = ready_slices(w, 3)
    w.later(56)
    assert w.slices == {first: "READY", second: "READY", third: "READY"}
    w.later(1)
    assert w.slices == {first: "DRAINING", second: "READY", third: "READY"}
    w.later(1)
    assert w.slices == {first: "DELETING", second: "DRAINING", third: "READY"}
    w.absent(first)
    assert w.is_gone(first) and w.reason(first) == "idle"


def test_b17_never_below_the_minimum_however_long() -> None:
    w = world(group(at_most=3, cpu=1, idle_s=60, at_least=2))
    names = ready_slices(w, 3)
    w.later(600)
    assert [w.slices[name] for name in names] == ["DELETING", "READY", "READY"]


def test_b17_never_below_what_is_used_and_its_buffer() -> None:
    w = world(group(at_most=4, cpu=1, idle_s=60, buffer=1))
    w.submit(tasks=3)
    w.boots(*w.slices)
    (spare,) = [name for name in w.slices if not w.world.is_busy(w.world.slices[name])]
    w.later(600)
    assert w.slices[spare] == "READY"


def test_to_and_fro_between_two_tasks_starts_idleness_anew() -> None:
    w = world(group(at_most=1, idle_s=60))
    job = w.submit()
    (agent,) = w.boots(w.only)
    agent.says(w.attempt(job), succeeded())
    w.later(50)
    second = w.submit()
    agent.says(w.attempt(second), succeeded())
    w.later(59)
    assert w.slices == {w.only: "READY"}
    w.later(2)
    assert w.slices[w.only] in ("DRAINING", "DELETING")


def test_b18_a_slice_with_an_assigned_or_preparing_task_is_never_idle() -> None:
    w = world(group(at_most=1, idle_s=5))
    w.submit()
    w.boots(w.only)
    w.later(600)
    assert w.slices == {w.only: "READY"}


def test_idleness_needs_no_wall_clock() -> None:
    w = world(group(at_most=1, idle_s=60))
    ready_slices(w, 1)
    w.wall_clock_jumps(24 * 3600)
    w.later(30)
    assert w.slices == {w.only: "READY"}


def test_a_log_that_never_comes_does_not_keep_a_slice_for_ever() -> None:
    w = world(group(at_most=1, idle_s=60))
    job = w.submit()
    (agent,) = w.boots(w.only)
    agent.says(w.attempt(job), succeeded(log_bytes=100))
    w.later(62)
    assert w.slices == {w.only: "DRAINING"}
    w.later(41)
    assert w.slices == {w.only: "DELETING"}


def test_a_drain_waits_for_the_last_logs() -> None:
    w = world(group(at_most=1, idle_s=5))
    job = w.submit()
    (agent,) = w.boots(w.only)
    agent.says(w.attempt(job), succeeded(log_bytes=100))
    w.later(20)
    assert w.slices == {w.only: "DRAINING"}
    w.log_is_stored(w.attempt(job))
    assert deletes(w.tick(1)) == [w.only]


def test_a_draining_slice_gets_no_new_task() -> None:
    w = world(group(at_most=2, idle_s=5, cpu=4))
    (name,) = ready_slices(w, 1)
    w.later(6)
    job = w.submit()
    assert (w.states(job), w.slices[name]) == (["PENDING"], "DELETING")


def test_a_deletion_is_repeated_until_the_provider_says_that_it_is_gone() -> None:
    w = world(group(at_most=1, idle_s=5))
    (name,) = ready_slices(w, 1)
    w.later(6)
    assert w.slices == {name: "DELETING"}
    assert deletes(w.later(3)) == [name] * 3
    w.delete_answered(name)
    assert looks(w.effects) == [name]
    w.shows(name)
    assert w.slices == {name: "DELETING"}
    w.absent(name)
    assert w.slices == {}
