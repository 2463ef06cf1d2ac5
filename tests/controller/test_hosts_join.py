"""A host joins and works: the real agent, in processes of its own, against the real ports."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from iris_controller.core import effects as fx
from iris_controller.core.values import Place
from iris_platform import env_probe, processes
from iris_platform.pki import certificates
from iris_platform.pki.keyring import Keyring
from tests.controller.agents import spec
from tests.controller.running import PATIENCE_S, run
from tests.controller.secured import AUTHORITY, DAY_S, Secured, make_authority, secured, worker
from tests.controller.worlds import CLUSTER_ID


class Host:
    """A machine that is to join."""

    def __init__(self, home: Path, place: Place) -> None:
        self.dir = home
        self.place = place
        self.ca = home.parent / "ca.pem"
        self.ca.write_bytes(AUTHORITY.ca_pem)
        here = env_probe.Environment(
            cluster="test",
            cluster_id=CLUSTER_ID,
            slice_name=place.slice_name,
            worker_index=place.worker_index,
            group="local",
            zone="local",
            accelerator_type="cpu",
            cpu_millis=4000,
            memory_bytes=0,
            labels={},
            controller_file=home / "none.json",
            address="127.0.0.1",
        )
        env_probe.write_environment(home, here)

    @property
    def ring(self) -> Keyring:
        return Keyring(self.dir / "tls")

    def runs(self, *words: str, token: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "iris_bootstrap", *words, "--host-dir", str(self.dir)]
        return subprocess.run(command, input=token + "\n", capture_output=True, text=True, timeout=60)

    async def joins(self, it: Secured, token: str, *more: str) -> subprocess.CompletedProcess[str]:
        url, where = f"https://{it.join_address}", it.tls_address
        words = ["join", "--url", url, "--ca", str(self.ca), "--address", where, *more]
        return await asyncio.to_thread(self.runs, *words, token=token)

    def log(self) -> str:
        return (self.dir / "agent.log").read_text()

    def leave(self) -> None:
        if (self.dir / processes.KEEPER_FILE).exists():
            for pid in processes.marked(processes.HOST_MARK, str(self.dir)):
                # It may be leaving by itself.
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
        processes.clean_host(self.dir)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    path = (tmp_path / "host").resolve()
    path.mkdir()
    yield path
    processes.clean_host(path)


async def until(it: Secured, done: str) -> None:
    """Waits until the only job is in a state."""
    with it.controller.hub.subscribe("j1") as news:
        while it.state("j1") != done:
            news.clear()
            await asyncio.wait_for(news.wait(), PATIENCE_S)


async def wanted(it: Secured) -> Place:
    await it.submit(spec(cpu=4))
    return Place(it.wanted(fx.CreateSlice)[-1].slice_name, 0)


def test_a_host_joins_runs_a_task_and_renews(tmp_path: Path, home: Path) -> None:
    async def test() -> None:
        async with secured(tmp_path) as it:
            host = Host(home, await wanted(it))
            joined = await host.joins(it, it.secure.tokens.mint(host.place, 60))
            assert (joined.returncode, joined.stdout, joined.stderr) == (0, "", "")
            modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in host.ring.directory.iterdir()}
            assert modes == dict.fromkeys(["ca.pem", "cert.pem", "endpoint.json", "key.pem"], 0o600)
            assert stat.S_IMODE(host.ring.directory.stat().st_mode) == 0o700
            # Two days are left, which is less than a third.
            old = AUTHORITY.sign_client(host.ring.make_csr(), worker(host.place), time.time() - 5 * DAY_S)
            (host.ring.directory / "cert.pem").write_bytes(old)
            started = await asyncio.to_thread(host.runs, "run", "--detach")
            assert (started.returncode, started.stderr) == (0, "")
            await until(it, "SUCCEEDED")
            renewed = await asyncio.to_thread(processes.wait_until, lambda: is_fresh(host), PATIENCE_S)
            assert renewed, host.log()
            await asyncio.to_thread(host.leave)
            assert "PRIVATE KEY" not in host.log()

    run(test)


def is_fresh(host: Host) -> bool:
    facts = host.ring.facts()
    return facts is not None and not facts.is_due(time.time())


def test_joining_again_needs_no_token_and_makes_no_key(tmp_path: Path, home: Path) -> None:
    async def test() -> None:
        async with secured(tmp_path) as it:
            host = Host(home, await wanted(it))
            assert (await host.joins(it, it.secure.tokens.mint(host.place, 60))).returncode == 0
            before = {p.name: p.read_bytes() for p in host.ring.directory.iterdir()}
            assert (await host.joins(it, "")).returncode == 0
            assert {p.name: p.read_bytes() for p in host.ring.directory.iterdir()} == before

    run(test)


def test_a_host_that_is_refused_says_why_and_keeps_the_token_to_itself(tmp_path: Path, home: Path) -> None:
    async def test() -> None:
        async with secured(tmp_path) as it:
            host = Host(home, await wanted(it))
            token = it.secure.tokens.mint(host.place, 60)
            it.secure.tokens.use(token, host.place)
            refused = await host.joins(it, token)
            assert refused.returncode == 1
            assert "refused: denied: the token was used before" in refused.stderr
            assert token not in refused.stderr and refused.stderr.count("\n") == 1
            assert host.ring.facts() is None
            assert not (host.ring.directory / "endpoint.json").exists()

    run(test)


def test_a_host_believes_the_pinned_authority_alone(tmp_path: Path, home: Path) -> None:
    async def test() -> None:
        async with secured(tmp_path) as it:
            host = Host(home, await wanted(it))
            token = it.secure.tokens.mint(host.place, 60)
            host.ca.write_bytes(make_authority().ca_pem)
            refused = await host.joins(it, token)
            assert refused.returncode == 1
            assert f"is not the controller of cluster {CLUSTER_ID}" in refused.stderr
            # Nor was the token shown.
            it.secure.tokens.use(token, host.place)
            host.ca.write_bytes(AUTHORITY.ca_pem)
            other = await host.joins(it, token)
            assert other.returncode == 2 and "another authority is pinned" in other.stderr

    run(test)


@pytest.mark.parametrize(
    ("more", "token", "says"),
    [
        (["--place", "iris-x/0"], "x", "--place: iris-x/0, but this host is "),
        ([], "", "expected a token on standard input"),
        (["--url", "http://x:1"], "x", "--url: expected https://HOST:PORT, found http://x:1"),
        (["--url", "https://x:99999"], "x", "--url: expected https://HOST:PORT"),
        (["--ca", "nowhere.pem"], "x", "nowhere.pem: No such file"),
    ],
    ids=range(5),
)
def test_what_cannot_be_used_is_status_2(
    tmp_path: Path, home: Path, more: list[str], token: str, says: str
) -> None:
    async def test() -> None:
        async with secured(tmp_path) as it:
            host = Host(home, await wanted(it))
            wrong = await host.joins(it, token, *more)
            assert (wrong.returncode, says in wrong.stderr) == (2, True), wrong.stderr

    run(test)


def test_a_controller_that_is_not_there_is_status_3(tmp_path: Path, home: Path) -> None:
    async def test() -> None:
        async with secured(tmp_path) as it:
            host = Host(home, await wanted(it))
            gone = await host.joins(it, "x", "--url", "https://127.0.0.1:1")
            assert gone.returncode == 3 and "cannot be reached" in gone.stderr

    run(test)


def test_an_agent_whose_certificate_is_over_says_so(tmp_path: Path, home: Path) -> None:
    async def test() -> None:
        async with secured(tmp_path) as it:
            host = Host(home, await wanted(it))
            assert (await host.joins(it, it.secure.tokens.mint(host.place, 60))).returncode == 0
            old = AUTHORITY.sign_client(host.ring.make_csr(), worker(host.place), time.time() - 8 * DAY_S)
            (host.ring.directory / "cert.pem").write_bytes(old)
            assert (await asyncio.to_thread(host.runs, "run", "--detach")).returncode == 0
            said = "the certificate is over; bootstrap this host again"
            assert await asyncio.to_thread(processes.wait_until, lambda: said in host.log(), PATIENCE_S)
            await asyncio.to_thread(host.leave)
            assert it.controller.view.workers == {}
            assert certificates.LIFETIME_S == 7 * DAY_S

    run(test)
