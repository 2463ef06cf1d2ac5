"""Jobs on accelerators: one whole slice of that type, and nothing else there."""

from dataclasses import replace

import pytest

from iris_controller.core import effects as fx
from iris_controller.core.entities import GroupPolicy
from iris_controller.core.values import JobSpec, Resources
from tests.controller.agents import spec, succeeded
from tests.controller.worlds import Scene, cloud, creates, group, name_of, world

V16, V4 = "v5litepod-16", "v5litepod-4"


def tpu(name: str = "pod", accelerator: str = V16, hosts: int = 4, **rest: int) -> GroupPolicy:
    return cloud(name, zone="zone-a", accelerator=accelerator, hosts=hosts, cpu=112, **rest)


def on(accelerator: str, tasks: int = 0, cpu: float = 1) -> JobSpec:
    return replace(spec(tasks, cpu), accelerator=accelerator)


def steady(*groups: GroupPolicy) -> Scene:
    w = world(*groups)
    w.tick(60)
    return w


def refused(w: Scene, wanted: JobSpec) -> str:
    """Why a job is not taken."""
    assert w.submit_spec(wanted) == ""
    assert isinstance(w.answer, fx.Refusal)
    assert w.answer.kind is fx.RefusalKind.INVALID
    return w.answer.reason.message


class TestSubmission:
    def test_it_is_a_gang_with_a_task_for_each_host(self) -> None:
        w = steady(tpu())
        job = w.world.jobs[w.submit_spec(on(V16))].spec
        assert (job.replicas, job.gang, job.is_gang) == (4, True, True)

    def test_a_single_host_has_a_single_task(self) -> None:
        w = steady(tpu(accelerator=V4, hosts=1))
        job = w.world.jobs[w.submit_spec(on(V4))].spec
        assert (job.replicas, job.is_gang) == (1, False)

    def test_as_many_tasks_as_it_has_hosts_may_be_said(self) -> None:
        w = steady(tpu())
        assert w.world.jobs[w.submit_spec(on(V16, tasks=4))].spec.gang

    @pytest.mark.parametrize("tasks", [1, 3, 8])
    def test_another_number_is_refused(self, tasks: int) -> None:
        words = refused(steady(tpu()), on(V16, tasks))
        assert words == f"v5litepod-16 has 4 hosts, and a job on it a task for each; found {tasks} tasks"

    @pytest.mark.parametrize(
        ("asked", "nearest"),
        [
            ("v5litepod-32", "v5litepod-16 (scale group pod)"),
            ("v5litepod-8", "v5litepod-16 (scale group pod)"),
            ("v5p-64", "v5p-128 (scale group large)"),
            ("h100", "v5litepod-4 (scale group small)"),
        ],
    )
    def test_b20_a_type_that_no_group_has_is_refused_with_the_nearest(self, asked: str, nearest: str) -> None:
        w = steady(tpu(), tpu("small", V4, 1), tpu("large", "v5p-128", 16), group())
        assert refused(w, on(asked)) == f"no scale group has {asked}; the nearest is {nearest}"

    def test_b20_where_nobody_has_an_accelerator(self) -> None:
        assert refused(steady(group()), on(V16)) == f"no scale group has {V16}, nor any other accelerator"

    def test_b20_work_that_asks_for_none_needs_a_cpu_group(self) -> None:
        assert refused(steady(tpu()), spec()) == (
            "work that asks for no accelerator goes only to cpu groups, and there is none;"
            " ask for one: --accelerator v5litepod-16"
        )

    def test_b20_a_host_of_it_that_is_too_small_is_no_place_either(self) -> None:
        words = refused(steady(tpu()), on(V16, cpu=113))
        assert words.endswith("the nearest that fits is 4 hosts of 112 cpu (scale group pod)")


class TestPlacement:
    def test_each_kind_of_work_asks_for_slices_of_its_own(self) -> None:
        w = steady(tpu(), group("here", cpu=4))
        w.submit_spec(on(V16))
        w.submit()
        assert [w.world.slices[name].group for name in w.slices] == ["pod", "here"]

    def test_a_coming_tpu_slice_is_no_capacity_for_other_work(self) -> None:
        w = steady(tpu(at_least=1), group("here", cpu=4))
        w.submit()
        assert creates(w.effects) == [name_of(1, "here")]

    def test_members_stand_on_the_workers_of_their_index(self) -> None:
        w = steady(tpu())
        job = w.submit_spec(on(V16))
        w.boots(w.only)
        attempts = [w.task(job, index).attempt for index in range(4)]
        assert [a.place.worker_index for a in attempts if a is not None] == [0, 1, 2, 3]

    def test_a_host_is_one_tasks_alone(self) -> None:
        w = steady(tpu(accelerator=V4, hosts=1, at_most=2))
        first, second = (w.submit_spec(on(V4)) for _ in range(2))
        assert len(w.slices) == 2
        w.boots(*w.slices)
        assert (w.states(first), w.states(second)) == (["ASSIGNED"], ["ASSIGNED"])
        third = w.submit_spec(on(V4))
        assert (w.states(third), w.wait_reason(third)) == (["PENDING"], "at_max_slices")

    def test_a_host_is_free_again_when_its_task_has_ended(self) -> None:
        w = steady(tpu(accelerator=V4, hosts=1))
        first = w.submit_spec(on(V4))
        (agent,) = w.boots(w.only)
        second = w.submit_spec(on(V4))
        agent.says(w.attempt(first), succeeded())
        assert w.states(second) == ["ASSIGNED"]

    def test_work_without_an_accelerator_never_goes_onto_a_tpu_slice(self) -> None:
        w = steady(tpu(at_least=1), group("here", cpu=1, at_most=1))
        w.boots(w.only)
        job = w.submit(tasks=2)
        w.boots(*[name for name in w.slices if "here" in name])
        assert (w.states(job), w.wait_reason(job)) == (["ASSIGNED", "PENDING"], "at_max_slices")

    def test_b13_groups_of_one_type_are_used_by_priority(self) -> None:
        w = steady(tpu("spot", at_most=1, priority=1), tpu("dear", at_most=1, priority=2))
        w.submit_spec(on(V16))
        w.submit_spec(on(V16))
        assert [w.world.slices[name].group for name in w.slices] == ["spot", "dear"]

    def test_a_local_group_of_that_type_rehearses_it(self) -> None:
        here = replace(group("pod", hosts=2), accelerator=V16)
        w = steady(here)
        job = w.submit_spec(on(V16))
        w.boots(w.only)
        assert w.states(job) == ["ASSIGNED"] * 2

    def test_the_agent_is_told(self) -> None:
        w = steady(tpu(accelerator=V4, hosts=1))
        job = w.submit_spec(on(V4))
        w.boots(w.only)
        assert w.world.jobs[job].spec.accelerator == V4

    def test_it_waits_with_the_words_of_its_own_groups(self) -> None:
        w = steady(tpu(at_most=0), group("here", at_most=0))
        job = w.submit_spec(on(V16))
        why = w.world.waits[w.world.jobs[job].spec.shape]
        assert why.message == "pod has all of its 0 slices; earlier tasks go first"

    def test_resources_are_counted_all_the_same(self) -> None:
        w = steady(tpu(accelerator=V4, hosts=1))
        job = w.submit_spec(on(V4, cpu=100))
        w.boots(w.only)
        attempt = w.attempt(job)
        (place,) = [p for p, live in w.world.live.items() if attempt in live]
        assert w.world.used(place) == Resources(100_000)
