"""A notice on any host of a slice reaches the agents of all of its hosts, and of no other."""

from __future__ import annotations

import asyncio
from pathlib import Path

from google.protobuf.duration_pb2 import Duration

from iris_controller.codec import wire
from iris_controller.core import events as e
from iris_controller.core.values import Notice, Place
from iris_proto.v1 import worker_pb2
from tests.controller.agents import spec
from tests.controller.running import run
from tests.controller.serving import WireAgent, serving
from tests.controller.worlds import group, world

PREEMPTED = Notice("preempted", "slice/1: Google preempts this machine", 30_000)


def test_all_hosts_of_the_slice_are_told_and_people_too() -> None:
    w = world(group(hosts=2, at_most=2))
    w.submit(4, cpu=4)
    one, two = w.slices
    ours, others = w.boots(one), w.boots(two)
    w.batch(e.AgentNotice(ours[1].session, PREEMPTED))
    assert [agent.noticed for agent in (*ours, *others)] == [[PREEMPTED], [PREEMPTED], [], []]
    assert w.world.workers[ours[1].place].reason == PREEMPTED[:2]
    assert w.world.workers[ours[0].place].reason.code == ""
    assert "NOTICE preempted" in w.told("worker")


def test_the_same_again_is_passed_on_and_told_once() -> None:
    w = world(group(hosts=2))
    w.submit(2, cpu=4)
    agents = w.boots(w.only)
    for _ in range(2):
        w.batch(e.AgentNotice(agents[0].session, PREEMPTED))
    assert agents[1].noticed == [PREEMPTED, PREEMPTED]
    assert w.told("worker").count("NOTICE preempted") == 1


def test_nothing_new_is_put_on_a_slice_that_goes() -> None:
    """What ended by the notice began again on the same host, which was about to go."""
    w = world(group(hosts=2, at_most=2))
    w.submit(1, cpu=4)
    (one,) = w.slices
    ours = w.boots(one)
    w.batch(e.AgentNotice(ours[1].session, PREEMPTED))
    late = w.submit(1, cpu=4)
    (two,) = [name for name in w.slices if name != one]
    w.boots(two)
    attempt = w.task(late).attempt
    assert attempt is not None and attempt.place.slice_name == two


def test_a_stream_that_has_ended_says_nothing_any_more() -> None:
    w = world(group())
    w.submit()
    (agent,) = w.boots(w.only)
    agent.hangs_up()
    assert w.batch(e.AgentNotice(agent.session, PREEMPTED)) == []


def test_over_the_wire(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path, group(hosts=2)) as it:
            await it.submit(spec(tasks=2, cpu=4))
            first = await it.agent()
            second = WireAgent(it, Place(first.place.slice_name, 1))
            await second.dials(boot_id="other")
            assert (await first.hears()).welcome.takes_notices
            notice = worker_pb2.Notice(kind="preempted", message="going", time_left=Duration(seconds=30))
            await first.stream.write(worker_pb2.AgentMessage(notice=notice))
            for agent in (first, second):
                while not (message := await asyncio.wait_for(agent.hears(), 30)).HasField("notice"):
                    pass
                assert (message.notice.epoch, message.notice.notice) == (it.controller.epoch, notice)

    run(test)


def test_what_an_agent_claims_has_bounds() -> None:
    huge = worker_pb2.Notice(kind="k" * 9999, message="m" * 9999, time_left=Duration(seconds=10**9))
    notice = wire.notice_from_proto(huge, 1).notice
    assert (len(notice.kind), len(notice.message), notice.left_ms) == (500, 500, 86_400_000)
    past = worker_pb2.Notice(time_left=Duration(seconds=-5))
    assert wire.notice_from_proto(past, 1).notice.left_ms == 0
