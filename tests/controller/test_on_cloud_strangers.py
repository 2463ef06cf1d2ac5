"""B33, B45, B47 on a cloud: slices that the store does not know, or does not know any more."""

import shutil
from pathlib import Path

from iris_controller.core.values import TaskId
from iris_platform.names import slice_labels, slice_name
from tests.cloud.clients import TpuUser
from tests.controller.on_cloud import EAST, IDENTITY, TYPE, OnCloud, on_cloud, tpu
from tests.controller.running import run

BOOT_S, LEASE_S = 300, 600
TIMES = f"    boot_timeout: {BOOT_S}s\n    task_lease: {LEASE_S}s\n"
OLD_EPOCH = 1_600_000_000_000
STRANGERS = 25


def make(it: OnCloud, name: str, cluster_id: str = IDENTITY.cluster_id, *, labels: bool = True) -> str:
    """A node that the controller did not ask for."""
    its = slice_labels(IDENTITY.cluster, cluster_id, "tpu", name) if labels else {}
    user = TpuUser(it.server, "grpc")
    user.create(name, EAST, accelerator_type=TYPE, labels=its)
    user.close()
    return name


def ours(number: int) -> str:
    return slice_name(IDENTITY.cluster_id, "tpu", OLD_EPOCH, number)


def test_b33_b45_a_store_that_is_suddenly_empty(tmp_path: Path) -> None:
    async def test() -> None:
        async with on_cloud(tmp_path, tpu(EAST, at_most=4, more=TIMES)) as it:
            jobs = await it.submit(2)
            await it.until(lambda: it.run(jobs))
            at_work = set(it.nodes())
            await it.kill()
            it.lose_state()
            unheard = {make(it, ours(number)) for number in range(1, STRANGERS + 1)}
            it.without_agents |= unheard
            namesake = make(it, slice_name("zzzzzzzz27", "tpu", OLD_EPOCH, 1), "zzzzzzzz27")
            half = make(it, ours(99), labels=False)
            others = {namesake, half, make(it, "somebodys-own", labels=False)}
            it.without_agents.add(half)
            await it.start()
            # Those at work are taken over with what they run, at once.
            await it.until(lambda: it.slices() == dict.fromkeys(at_work, "READY"))
            assert (it.controller.view.jobs.keys() >= set(jobs), it.stopped()) == (True, {})
            # Nobody is given up before his time ...
            await it.passes(LEASE_S - 60)
            assert it.cloud.calls("DeleteNode") == []
            assert sum(f"{name}:" in line for line in _notices(it) for name in unheard) == STRANGERS
            # ... and then a few, however many there are.
            await it.passes(LEASE_S)
            deleted = {call.name for call in it.cloud.calls("DeleteNode")}
            assert (len(deleted), deleted <= unheard) == (max(2, (STRANGERS + 2) // 10), True)
            assert others | at_work <= it.nodes().keys()
            assert sum("held" in line for line in _notices(it)) == STRANGERS - len(deleted)
            assert (it.run(jobs), it.stopped()) == (True, {})

    run(test)


def _notices(it: OnCloud) -> list[str]:
    return list(it.controller.view.findings.notices)


def test_b33_what_comes_to_life_after_it_was_deleted_is_deleted_again(tmp_path: Path) -> None:
    async def test() -> None:
        async with on_cloud(tmp_path, tpu(EAST, at_most=1)) as it:
            job = await it.submit()
            await it.until(lambda: it.run(job))
            (name,) = it.nodes()
            it.cloud.preempt(EAST, name, notice_ms=0)
            await it.until(lambda: name not in it.slices() and it.run(job))
            # With an agent even, which would be taken over if nobody remembered the name.
            make(it, name)
            await it.until(lambda: name not in it.nodes())
            await it.passes(60)
            assert (it.run(job), list(it.slices().values())) == (True, ["READY"])

    run(test)


def test_b47_an_older_state_directory_while_newer_attempts_run(tmp_path: Path) -> None:
    async def test() -> None:
        async with on_cloud(tmp_path, tpu(EAST, at_most=2, more=TIMES)) as it:
            first = await it.submit()
            await it.until(lambda: it.run(first))
            known = set(it.nodes())
            waited = await it.submit()
            await it.kill()
            copy = tmp_path / "copy"
            shutil.copytree(it.paths.state_dir, copy)
            await it.start()
            await it.until(lambda: it.run(waited))
            unheard = it.nodes().keys() - known
            await it.kill()
            it.lose_state()
            copy.rename(it.paths.state_dir)
            # In the copy it waits, and before long there is a machine that has room for it.
            it.cut_off |= unheard
            await it.start()
            await it.finish(first)
            await it.passes(60)
            assert it.states(waited) == ["PENDING"]
            it.reach_it()
            await it.until(lambda: it.run(waited))
            await it.passes(120)
            assert (len(it.made()), it.stopped()) == (2, {})
            assert it.controller.view.tasks[TaskId(waited[0], 0)].losses == 0
            await it.finish(waited)

    run(test)
