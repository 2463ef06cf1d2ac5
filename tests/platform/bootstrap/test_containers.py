"""An image instead of a bundle: what docker and podman are told, and what becomes of it."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from iris_platform.base import ContainerSpec, VmBootstrapSpec
from iris_platform.bundle import Bundle
from tests.harness.ports import free_port
from tests.platform.bootstrap.hosts import LABELS, Host, eventually

NASTY = "$(touch pwned) 'x' \"y\"\nz"
# Notes argv and environment, and serves on PORT when it is told to run.
ENGINE = """#!{python} -I
import json, os, signal, socket, sys
with open({calls!r}, "a") as file:
    file.write(json.dumps([sys.argv[1:], dict(os.environ)]) + "\\n")
if sys.argv[1] == "info":
    sys.exit({broken!r})
if sys.argv[1:3] == ["image", "inspect"]:
    sys.exit(0 if "there" in sys.argv[3] else 1)
if sys.argv[1] == "pull":
    sys.exit("manifest unknown" if "nowhere" in sys.argv[-1] else 0)
if sys.argv[1] == "run":
    if "crash" in sys.argv:
        sys.exit("the image says no")
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    with socket.create_server(("127.0.0.1", {port})):
        signal.sigwait([signal.SIGTERM])
"""


def add_engine(host: Host, name: str = "docker", broken: str | int = 0) -> int:
    """Put an engine on the host; returns the port that its containers serve on."""
    port = free_port()
    path = host.tools / name
    calls = str(host.folder / f"{name}.calls")
    path.write_text(ENGINE.format(python=host.python, calls=calls, port=port, broken=broken))
    path.chmod(0o755)
    return port


def calls(host: Host, name: str = "docker") -> list[tuple[list[str], dict[str, str]]]:
    return [tuple(json.loads(line)) for line in (host.folder / f"{name}.calls").read_text().splitlines()]


def spec(
    port: int | None, image: str = "there/iris:1", role: Any = "worker", **parts: Any
) -> VmBootstrapSpec:
    container = ContainerSpec(image, **{"entrypoint": [], "env": {}, "ports": {}, **parts}, health_port=port)
    return VmBootstrapSpec(role, container, LABELS)


@pytest.mark.parametrize("role", ["worker", "controller"])
@pytest.mark.parametrize("name", ["docker", "podman"])
def test_a_container_is_run_checked_and_removed(name: str, role: str, host: Host, bundle: Bundle) -> None:
    port = add_engine(host, name)
    env = {"GREETING": NASTY, "PATH": "/opt/bin", "DOCKER_HOST": "tcp://elsewhere"}
    wanted = spec(port, role=role, entrypoint=["iris-it", "first"], env=env)
    startup = host.startup(bundle, spec=wanted, arguments=("run", "@work@", NASTY))
    outcome = host.run(startup).check("h1")
    assert (outcome.status, outcome.facts["bundle"]) == ("running", "")
    (argv, environ) = calls(host, name)[-1]
    home = host.root / role
    assert argv[:10] == [
        "run",
        "--rm",
        "--interactive",
        "--name",
        f"iris-{role}",
        "--network",
        "host",
        "--pid",
        "host",
        "--privileged",
    ]
    assert argv[argv.index("there/iris:1") - 2 :] == [
        *("--entrypoint", "iris-it", "there/iris:1", "first", "run", f"{home}/work", NASTY),
    ]
    # What would steer the client goes another way than the rest.
    values = [argv[n + 1] for n, word in enumerate(argv) if word == "--env"]
    assert values == ["DOCKER_HOST=tcp://elsewhere", "GREETING", "PATH=/opt/bin"]
    assert (environ["GREETING"], environ["PATH"]) == (NASTY, str(host.tools))
    assert "DOCKER_HOST" not in environ
    assert ["rm", "--force", f"iris-{role}"] in [argv for argv, _ in calls(host, name)]
    assert host.run(startup).check("h1").facts["changed"] is False
    assert host.run(startup, "remove", "--bundles").check("h1").facts["left"] == []
    assert not host.processes() and not host.root.exists()
    assert calls(host, name)[-1][0] == ["rm", "--force", f"iris-{role}"]


def test_an_image_that_is_not_there_is_pulled(host: Host, bundle: Bundle) -> None:
    port = add_engine(host)
    host.run(host.startup(bundle, spec=spec(port, "far/iris:1"))).check("h1")
    assert ["pull", "--quiet", "far/iris:1"] in [argv for argv, _ in calls(host)]


def test_an_image_that_cannot_be_had_is_said(host: Host, bundle: Bundle) -> None:
    add_engine(host)
    outcome = host.run(host.startup(bundle, spec=spec(1, "nowhere/iris:1")))
    assert (outcome.exit_status, outcome.step) == (4, "container")
    assert outcome.reason.startswith("cannot pull nowhere/iris:1: ")
    assert "manifest unknown" in outcome.log_tail


def test_a_host_without_an_engine_is_refused(host: Host, bundle: Bundle) -> None:
    if any(shutil.which(name, path="/usr/local/sbin:/usr/sbin:/sbin") for name in ("docker", "podman")):
        pytest.skip("this machine has an engine where every host looks for one")
    outcome = host.run(host.startup(bundle, spec=spec(1)))
    assert outcome.exit_status == 2
    assert outcome.reason == "an image is configured, and neither docker nor podman is installed"


def test_an_engine_that_does_not_work_is_passed_over(host: Host, bundle: Bundle) -> None:
    add_engine(host, "docker", "Cannot connect to the Docker daemon")
    outcome = host.run(host.startup(bundle, spec=spec(1)))
    assert (outcome.exit_status, outcome.reason) == (2, "docker: Cannot connect to the Docker daemon")
    port = add_engine(host, "podman")
    host.run(host.startup(bundle, spec=spec(port))).check("h1")
    assert calls(host, "podman")[-1][0][0] == "run"


def test_a_container_that_crashes_says_why(host: Host, bundle: Bundle) -> None:
    port = add_engine(host)
    outcome = host.run(host.startup(bundle, spec=spec(port), arguments=("crash",), health_s=2.0))
    assert (outcome.exit_status, outcome.step) == (1, "health")
    assert "the image says no" in outcome.log_tail


def test_without_a_port_it_has_to_stay_up(host: Host, bundle: Bundle) -> None:
    add_engine(host)
    assert host.run(host.startup(bundle, spec=spec(None))).check("h1").status == "running"


@pytest.mark.skipif(not shutil.which("podman") or os.geteuid() != 0, reason="no podman here, or not root")
def test_podman_takes_what_it_is_told(host: Host, bundle: Bundle, tmp_path: Path) -> None:
    """The whole argv, up to the point where this machine's kernel may have its own opinion."""
    shell = shutil.which("busybox")
    if shell is None:
        pytest.skip("no static busybox for an image")
    (tmp_path / "image/bin").mkdir(parents=True)
    shutil.copy(shell, tmp_path / "image/bin/sh")
    tar = subprocess.run(
        ["tar", "-C", tmp_path / "image", "-c", "."], capture_output=True, check=True, timeout=60
    )
    image = "localhost/iris-test:1"
    subprocess.run(
        ["podman", "import", "-", image], input=tar.stdout, check=True, timeout=60, capture_output=True
    )
    (host.tools / "podman").symlink_to(shutil.which("podman") or "")
    host.environ["PATH"] = f"{host.tools}:/usr/sbin:/usr/bin:/sbin:/bin"
    wanted = spec(None, image, entrypoint=["/bin/sh"], env={"GREETING": NASTY})
    startup = host.startup(
        bundle, spec=wanted, arguments=("-c", 'echo "$GREETING" > "$0"/said; sleep 60', "@work@")
    )
    outcome = host.run(startup)
    if "perm" in outcome.log_tail.lower() or "cgroup" in outcome.log_tail.lower():
        pytest.skip(f"podman does not work here: {outcome.log_tail.splitlines()[-1]}")
    outcome.check("h1")
    eventually(lambda: (host.work / "said").exists())
    assert (host.work / "said").read_text() == NASTY + "\n"
    host.run(startup, "remove", "--bundles").check("h1")
    left = subprocess.run(
        ["podman", "ps", "-a", "-q", "--filter", "name=iris-worker"], capture_output=True, timeout=30
    )
    assert left.stdout == b""
