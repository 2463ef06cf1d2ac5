"""`cluster stop` and what follows: everything is given back, jobs stay, and go on at the next start."""

from iris_controller.core.effects import Done
from iris_controller.core.values import Reason
from iris_controller.core.view import view_of
from iris_platform.base import Failure
from tests.controller.agents import Agent, killed
from tests.controller.worlds import Scene, cloud, creates, deletes, group, world


def running() -> tuple[Scene, str, Agent]:
    w = world(group(at_most=3, cpu=1))
    job = w.submit(losses=0)
    (agent,) = w.boots(w.only)
    agent.runs(w.attempt(job))
    return w, job, agent


def test_ready_slices_are_drained_and_their_tasks_told_to_end() -> None:
    w, job, agent = running()
    w.shut_down()
    assert (w.answer, w.slices) == (Done(), {w.only: "DRAINING"})
    assert agent.stopped == {w.attempt(job): "cluster_stop"}


def test_a_task_that_ended_for_the_shutdown_stays_pending_and_costs_nothing() -> None:
    w, job, agent = running()
    name = w.only
    w.shut_down()
    agent.says(w.attempt(job), killed("cluster_stop"))
    assert (w.job(job), w.task(job).losses) == ("PENDING", 0)
    assert deletes(w.tick(1)) == [name]
    w.absent(name)
    assert w.slices == {}


def test_a_task_that_does_not_end_goes_with_its_slice() -> None:
    w, job, _ = running()
    name = w.only
    w.shut_down()
    assert deletes(w.later(40)) == []
    assert deletes(w.later(1)) == [name]
    w.absent(name)
    assert (w.job(job), w.task(job).losses) == ("PENDING", 0)


def test_coming_slices_are_deleted_by_name() -> None:
    w = world(group(at_most=2, cpu=1))
    w.submit(tasks=2)
    first, second = w.slices
    w.shows(first)
    assert deletes(w.shut_down()) == [first, second]
    assert w.world.standing("local", "local").failures == 0


def test_nothing_is_created_while_it_stops() -> None:
    w = world(group(at_most=5, at_least=2, cpu=1))
    w.submit(tasks=2)
    w.shut_down()
    assert creates(w.later(120)) == []


def test_while_it_stops_no_back_off_is_told() -> None:
    w = world(cloud("tpu", at_least=1, zone="a b"))
    w.tick(600)
    w.create_fails(w.only, Failure.REFUSED)
    w.tick(1)
    assert [words.split(":")[0] for words in view_of(w.world).findings.notices] == ["scale group tpu in a"]
    (second,) = creates(w.tick(1)) or [name for name, state in w.slices.items() if state == "REQUESTING"]
    w.create_fails(second, Failure.REFUSED)
    w.tick(1)
    assert w.world.availability["tpu"][0] == "BACKOFF"
    w.shut_down()
    words = "tpu asks for nothing until the next cluster start"
    assert w.world.availability["tpu"] == ("PAUSED", Reason("paused", words))
    assert view_of(w.world).findings.notices == ()
    w.resume()
    assert w.world.availability["tpu"][0] == "REQUESTING"


def test_b65_a_slice_that_appears_meanwhile_goes_too() -> None:
    w, _, agent = running()
    w.submit()
    w.shut_down()
    late = w.agent(agent.place.slice_name.replace("-1000-1", "-999-5"))
    effects = late.hello()
    assert late.place.slice_name in deletes(effects + w.tick(1))
    assert late.started == []


def test_a_second_time_is_the_same() -> None:
    w, _, agent = running()
    w.shut_down()
    slices, agent.stopped = w.slices, {}
    w.shut_down()
    assert (w.answer, w.slices, agent.stopped) == (Done(), slices, {})
    assert w.world.cluster.stopping is not None


def test_it_goes_on_after_a_restart() -> None:
    w = world(group(at_most=2, cpu=1))
    w.submit()
    name = w.only
    w.shut_down()
    w.restart()
    assert deletes(w.later(2)) == [name, name]
    assert w.world.stopping


def test_resume_runs_what_was_kept() -> None:
    w, job, agent = running()
    name = w.only
    w.shut_down()
    agent.says(w.attempt(job), killed("cluster_stop"))
    w.tick(1)
    w.absent(name)
    w.restart()
    assert w.slices == {}
    w.resume()
    (agent,) = w.boots(w.only)
    assert (agent.started, w.task(job).attempts) == ([w.attempt(job)], 2)


def test_resume_without_a_shutdown_is_nothing() -> None:
    w = world(group())
    w.resume()
    assert (w.answer, w.world.cluster.stopping) == (Done(), None)


def test_what_drained_before_the_resume_is_not_taken_back() -> None:
    w, job, agent = running()
    name = w.only
    w.shut_down()
    w.resume()
    assert w.slices[name] == "DRAINING"
    agent.says(w.attempt(job), killed("cluster_stop"))
    assert [v for n, v in w.slices.items() if n != name] == ["REQUESTING"]


def two_zones() -> Scene:
    return world(group("a", at_most=2, cpu=1, zone="a"), group("b", at_most=2, cpu=1, zone="b"))


def in_zone(w: Scene, zone: str) -> list[str]:
    return [slice_.name for slice_ in w.world.present_slices() if slice_.zone == zone]


def test_b61_one_zone_is_given_back_and_not_filled_again() -> None:
    w = two_zones()
    job = w.submit(tasks=3, losses=0)
    a, b = in_zone(w, "a"), in_zone(w, "b")
    assert len(a) == 2 and len(b) == 1
    for name in (*a, *b):
        w.boots(name)
    w.shut_down("a")
    assert {w.slices[name] for name in a} == {"DRAINING"}
    assert set(deletes(w.later(41))) == set(a)
    for name in a:
        w.absent(name)
    # Two tasks wait again: for b, which may have one more, and never for a.
    w.later(120)
    assert in_zone(w, "a") == [] and set(b) <= set(in_zone(w, "b"))
    assert w.job(job) in ("PENDING", "RUNNING") and w.task(job).losses == 0
    assert w.world.availability["a"][0] == "PAUSED"
    assert "cluster start" in w.world.availability["a"][1].message
    assert w.submit(tasks=1)
    w.resume()
    assert in_zone(w, "a") != []


def test_what_appears_in_a_paused_zone_goes_too_and_other_zones_are_left_alone() -> None:
    w = two_zones()
    w.submit(tasks=3)
    (a, *_), (b,) = in_zone(w, "a"), in_zone(w, "b")
    assert set(deletes(w.shut_down("a"))) == set(in_zone(w, "a"))
    w.boots(b)
    assert w.slices[b] == "READY" and w.slices[a] == "DELETING"
    assert "b" not in w.world.cluster.paused_zones


def test_a_pause_outlives_a_crash() -> None:
    w = two_zones()
    w.shut_down("a")
    w.restart()
    w.submit(tasks=4)
    assert in_zone(w, "a") == [] and in_zone(w, "b") != []
