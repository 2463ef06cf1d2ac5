"""What is accepted, what is refused, and in which words."""

from dataclasses import replace

from iris_controller.core import effects as fx
from iris_controller.core.entities import Record
from iris_controller.core.values import Reason
from tests.controller.agents import GIB, spec
from tests.controller.worlds import Scene, creates, group, settings, world


def refusal(w_answer: fx.Answer | None) -> tuple[str, str, str]:
    assert isinstance(w_answer, fx.Refusal)
    return (w_answer.kind.name, *w_answer.reason)


def test_one_request_is_one_job_however_often_it_is_made() -> None:
    w = world(group())
    first = w.submit_spec(spec(), request="r")
    again = w.submit_spec(spec(tasks=3), request="r")
    assert (again, list(w.world.jobs)) == (first, [first])


def test_a_request_is_known_after_a_restart() -> None:
    w = world(group())
    first = w.submit_spec(spec(), request="r")
    w.restart()
    assert w.submit_spec(spec(), request="r") == first


def test_b20_a_job_that_no_group_could_run_names_the_nearest_shape() -> None:
    w = world(
        group("small", cpu=4, memory=64 * GIB),
        group("large", cpu=8, memory=64 * GIB),
        group("fat", cpu=2, memory=512 * GIB),
    )
    w.submit(cpu=12, memory=16 * GIB)
    nearest = "the nearest that fits is 8 cpu, 64GiB memory (scale group large)"
    words = f"a task asks for 12 cpu, 16GiB memory; {nearest}"
    assert refusal(w.answer) == ("INVALID", "impossible", words)
    assert (w.world.jobs, creates(w.effects)) == ({}, [])


def test_b20_cores_and_memory_must_fit_one_host() -> None:
    w = world(group("thin", cpu=32, memory=GIB), group("fat", cpu=1, memory=64 * GIB))
    w.submit(cpu=2, memory=2 * GIB)
    assert refusal(w.answer)[1] == "impossible"


def test_memory_is_no_matter_where_it_is_not_accounted() -> None:
    w = world(group(cpu=1, memory=0))
    assert w.submit(memory=999 * GIB) == "j1"


def test_a_cluster_without_groups_runs_nothing() -> None:
    w = Scene(settings())
    w.submit()
    assert refusal(w.answer)[2] == "a task asks for 1 cpu; the cluster has no scale group"


def test_b20_a_gang_that_no_slice_could_hold_is_refused() -> None:
    w = world(group("one", cpu=4), group("pair", hosts=2, cpu=4))
    w.submit_spec(replace(spec(tasks=9), gang=True))
    kind, code, words = refusal(w.answer)
    assert (kind, code) == ("INVALID", "impossible")
    asked, nearest = words.split("; ")
    assert asked == "a gang asks for 9 tasks of 1 cpu on one slice"
    assert nearest == "the nearest that fits is 2 hosts of 4 cpu (scale group pair)"
    assert w.submit_spec(replace(spec(tasks=8), gang=True)) != ""
    assert w.submit_spec(replace(spec(tasks=1), gang=True)) != ""


def test_nothing_is_accepted_while_the_cluster_stops() -> None:
    w = world(group())
    w.shut_down()
    w.submit()
    assert refusal(w.answer)[:2] == ("NOT_NOW", "cluster_stop")
    w.resume()
    assert w.submit() != ""


def test_a_task_that_asks_for_nothing_runs_anywhere() -> None:
    w = world(group(cpu=0.001))
    job = w.submit(tasks=100, cpu=0)
    w.boots(w.only)
    assert w.states(job) == ["ASSIGNED"] * 100


def test_jobs_start_in_order_of_submission() -> None:
    w = world(group(cpu=2))
    jobs = [w.submit(cpu=1) for _ in range(3)]
    w.boots(w.only)
    assert [w.states(job) for job in jobs] == [["ASSIGNED"], ["ASSIGNED"], ["PENDING"]]


def test_a_submission_is_recorded_for_people() -> None:
    w = world(group())
    job = w.submit()
    (record,) = [row for row in w.rows.load() if isinstance(row, Record) and row.kind == "job"]
    assert (record.subject, record.what, record.reason) == (job, "SUBMITTED", Reason("", "job"))
