"""A removal ends what was begun on the host and never seen through."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from iris_platform.bootstrap import NO_BUNDLE, render
from iris_platform.bootstrap.run import _RUN
from iris_platform.bundle import Bundle
from iris_platform.names import UPLOAD_MARK, script_mark
from iris_platform.ssh.remote_files import _PUT
from tests.platform.bootstrap.hosts import Host, eventually

ID = "abcdefghij"
OTHER = "zzzzzzzzzz"
DONE_S = 60.0


@pytest.fixture
def upload(tmp_path: Path) -> Path:
    """Where scripts that come over SSH are put."""
    folder = tmp_path / "upload"
    folder.mkdir()
    return folder


@contextmanager
def left_alone(argv: list[str], given: bytes, **environ: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command whose caller sent so much and is not heard of again; ended with the test."""
    with subprocess.Popen(
        argv,
        env={**os.environ, **environ},
        start_new_session=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        try:
            process.stdin.write(given)
            process.stdin.flush()
            yield process
        finally:
            process.kill()


def script_argv(host: Host, size: int, cluster_id: str = ID) -> list[str]:
    mark = script_mark("worker", cluster_id, str(host.root))
    return ["sh", "-c", _RUN, mark, str(size), "start"]


def remove(host: Host, bundle: Bundle, cluster_id: str = ID) -> None:
    done = host.run(
        replace(host.startup(bundle), bundle=NO_BUNDLE), "remove", "--bundles", "--cluster-id", cluster_id
    )
    assert done.facts["status"] in ("removed", "absent"), done


def test_a_start_that_waits_for_its_secret(host: Host, bundle: Bundle, upload: Path) -> None:
    script = render(host.startup(bundle, secret="join-token")).encode("ascii")
    with left_alone(script_argv(host, len(script)), script, TMPDIR=str(upload)) as process:
        eventually(lambda: (host.worker / "dead-man.json").exists())
        remove(host, bundle)
        assert process.wait(DONE_S) != 0
    assert not host.root.exists() and not list(upload.iterdir())
    assert host.processes() == {}


def test_a_script_that_never_arrives_whole(host: Host, bundle: Bundle, upload: Path) -> None:
    script = render(host.startup(bundle)).encode("ascii")
    with left_alone(script_argv(host, len(script)), script[:100], TMPDIR=str(upload)) as process:
        eventually(lambda: list(upload.glob("*/iris-host.sh")))
        remove(host, bundle)
        assert process.wait(DONE_S) != 0
    assert not host.root.exists() and not list(upload.iterdir())


def test_a_bundle_that_never_arrives_whole(host: Host, bundle: Bundle) -> None:
    incoming = host.root / "incoming"
    incoming.mkdir(parents=True)
    argv = ["sh", "-c", _PUT, UPLOAD_MARK, f"{incoming}/.b.tmp", f"{incoming}/b", "600", "9", str(incoming)]
    with left_alone(argv, b"half") as process:
        eventually(lambda: (incoming / ".b.tmp").exists())
        remove(host, bundle)
        assert process.wait(DONE_S) != 0
    assert not host.root.exists()


def test_another_clusters_start_is_left_alone(host: Host, bundle: Bundle, upload: Path) -> None:
    argv = script_argv(host, 100, OTHER)
    with left_alone(argv, b"half", TMPDIR=str(upload)) as process:
        eventually(lambda: list(upload.glob("*/iris-host.sh")))
        remove(host, bundle)
        assert process.poll() is None
        remove(host, bundle, OTHER)
        assert process.wait(DONE_S) != 0
