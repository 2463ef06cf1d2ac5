"""A TPU VM joins and works: the real agent on the slice's facts, a metadata server, and Google's certificates."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from iris_config import IrisConfig
from iris_controller.core import effects as fx
from iris_controller.core.values import Reason, TaskId
from iris_platform import Platform, processes
from iris_platform.base import Unreachable
from iris_platform.env_probe import FACTS_FILE
from tests.controller.agents import spec
from tests.controller.google import PROJECT, ZONE, Certificates, Key, Provider, serve_certificates
from tests.controller.running import PATIENCE_S, run
from tests.controller.secured import AUTHORITY, Secured, secured
from tests.controller.worlds import CLUSTER_ID, group
from tests.harness.metadata import Metadata, serve_metadata, tpu_vm

KEY = Key("one")
IDENTITY = "instance/service-accounts/default/identity"
LOOPBACK = {
    "instance/attributes/worker-network-endpoints": "unknown:unknown:127.0.0.1",
    "instance/network-interfaces/0/ip": "127.0.0.1",
    "instance/attributes/tpu-env": "TOPOLOGY: '2x2'",
}


@dataclass
class Vm:
    """A TPU VM, as far as its agent can tell."""

    dir: Path
    metadata: Metadata
    certificates: Certificates
    provider: Provider = field(default_factory=lambda: Provider({}))

    async def slice_for(self, it: Secured, command: tuple[str, ...] = ("true",)) -> str:
        """A slice that the controller has asked for, and that its provider has made of this machine."""
        config = {
            "name": "test",
            "endpoints": {"certificates": self.certificates.url},
            "scale_groups": {
                "tpu": {
                    "provider": {"tpu": {"project_id": PROJECT}},
                    "accelerator_type": "v5litepod-16",
                    "zones": [ZONE],
                }
            },
        }
        platform = cast(Platform, self.provider)
        it.secure.believe_google(IrisConfig.from_json(json.dumps(config)), {"tpu": platform})
        await it.submit(replace(spec(cpu=4), command=command))
        name: str = it.wanted(fx.CreateSlice)[-1].slice_name
        self.provider.slices[name] = (frozenset({"127.0.0.1"}),)
        facts = {
            "cluster": "test",
            "cluster_id": CLUSTER_ID,
            "slice_name": name,
            "group": "tpu",
            "zone": ZONE,
            "accelerator_type": "v5litepod-16",
            "cpu_millis": 4000,
            "memory_bytes": 0,
            "labels": {},
            "controller_file": str(self.dir / "none.json"),
            "hosts": 1,
            "project": PROJECT,
            "endpoint": "http://127.0.0.1:1",
            "queued": False,
        }
        (self.dir / FACTS_FILE).write_text(json.dumps(facts))
        (self.dir / "ca.pem").write_bytes(AUTHORITY.ca_pem)
        return name

    def starts(self, it: Secured, *words: str) -> subprocess.Popen[str]:
        """Its agent, as its startup script has it."""
        ca = str(self.dir / "ca.pem")
        where = ["--ca", ca, "--address", it.tls_address, "--proof", "google", "--host-dir", str(self.dir)]
        command = [sys.executable, "-m", "iris_bootstrap", *words, *where]
        environ = {**os.environ, **self.metadata.environ()}
        return subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True)

    def joins(self, it: Secured) -> tuple[int, str]:
        with self.starts(it, "join", "--url", f"https://{it.join_address}") as joining:
            _, said = joining.communicate(timeout=PATIENCE_S)
            return joining.returncode, said


@pytest.fixture
def vm(tmp_path: Path) -> Iterator[Vm]:
    path = (tmp_path / "vm").resolve()
    path.mkdir()
    with ExitStack() as stack:
        metadata = stack.enter_context(serve_metadata(tpu_vm() | LOOPBACK))
        metadata.values[IDENTITY] = KEY.token()
        yield Vm(path, metadata, stack.enter_context(serve_certificates(KEY)))
        processes.clean_host(path)


def check(test: Any, tmp_path: Path) -> None:
    async def with_controller() -> None:
        async with secured(tmp_path, group("tpu", zone=ZONE)) as it:
            await test(it)

    run(with_controller)


def test_a_machine_joins_and_runs_a_task(tmp_path: Path, vm: Vm) -> None:
    async def test(it: Secured) -> None:
        name = await vm.slice_for(it)
        # Neither Google's certificates nor the platform can be had at first: no reason to give up.
        vm.certificates.plan = [500]
        vm.provider.problem = Unreachable("the TPU API does not answer")
        with vm.starts(it, "run", "--join", f"https://{it.join_address}", "--detach") as agent:
            assert agent.stderr is not None
            said = await asyncio.to_thread(agent.stderr.readline)
            assert "not_joined_yet" in said and "could not be checked now" in said
            vm.provider.problem = None
            rest = await asyncio.to_thread(agent.stderr.read)
            assert await asyncio.to_thread(agent.wait, PATIENCE_S) == 0, rest
        with it.controller.hub.subscribe("j1") as news:
            while it.state("j1") != "SUCCEEDED":
                news.clear()
                await asyncio.wait_for(news.wait(), PATIENCE_S)
        assert {place.name for place in it.controller.view.workers} == {f"{name}/0"}
        assert f"{IDENTITY}?audience={CLUSTER_ID}&format=full" in vm.metadata.asked
        # Neither the proof nor anything else of Google's stays on the disk.
        token = vm.metadata.values[IDENTITY]
        assert not [p for p in vm.dir.rglob("*") if p.is_file() and token.encode() in p.read_bytes()]
        await asyncio.to_thread(processes.clean_host, vm.dir)

    check(test, tmp_path)


PREPARED = """
import os, signal, sys

def told(*_):
    print(open(os.environ["IRIS_PREEMPTION_FILE"]).read(), flush=True)
    sys.exit(143)

signal.signal(signal.SIGTERM, told)
print(os.environ["TPU_WORKER_HOSTNAMES"], os.environ["TPU_SKIP_MDS_QUERY"], flush=True)
while True:
    signal.pause()
"""


def test_a_preemption_reaches_the_task_and_the_operator(tmp_path: Path, vm: Vm) -> None:
    async def test(it: Secured) -> None:
        name = await vm.slice_for(it, command=(sys.executable, "-c", PREPARED))
        with vm.starts(it, "run", "--join", f"https://{it.join_address}", "--detach") as agent:
            assert await asyncio.to_thread(agent.wait, PATIENCE_S) == 0

        def said(words: str) -> bool:
            return any(words in log.read_text() for log in vm.dir.glob("tasks/*/log"))

        heard = asyncio.to_thread(processes.wait_until, lambda: said("127.0.0.1 true"), PATIENCE_S)
        assert await heard
        vm.metadata.set("instance/preempted", "TRUE")
        with it.controller.hub.subscribe("j1") as news:
            while it.controller.view.tasks[TaskId("j1", 0)].losses != 1:
                news.clear()
                await asyncio.wait_for(news.wait(), PATIENCE_S)
        # It failed, but was not charged for it.
        task = it.controller.view.tasks[TaskId("j1", 0)]
        assert (task.failures, task.losses) == (0, 1)
        (worker,) = it.controller.view.workers.values()
        assert worker.reason == Reason("preempted", f"{name}/0: Google preempts this machine")
        await asyncio.to_thread(processes.clean_host, vm.dir)

    check(test, tmp_path)


def test_a_machine_that_is_refused_says_why(tmp_path: Path, vm: Vm) -> None:
    async def test(it: Secured) -> None:
        name = await vm.slice_for(it)
        vm.provider.slices[name] = (frozenset({"10.0.0.1"}),)
        status, said = await asyncio.to_thread(vm.joins, it)
        assert status == 1
        assert f"refused: denied: {name}/0 is at 10.0.0.1, and this came from 127.0.0.1" in said
        assert vm.metadata.values[IDENTITY][:40] not in said

    check(test, tmp_path)


def test_a_machine_without_a_service_account_says_so(tmp_path: Path, vm: Vm) -> None:
    async def test(it: Secured) -> None:
        await vm.slice_for(it)
        del vm.metadata.values[IDENTITY]
        status, said = await asyncio.to_thread(vm.joins, it)
        assert status == 2 and "this machine has no service account" in said

    check(test, tmp_path)
