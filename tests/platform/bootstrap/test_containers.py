"""An image instead of a bundle: what docker and podman are told, and what becomes of it."""

import json
import os
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

from iris_platform.base import ContainerSpec, VmBootstrapSpec
from iris_platform.bootstrap import NO_CONTAINER, container_of, render
from iris_platform.bootstrap.host.container import Engine, run_command
from iris_platform.bootstrap.host.layout import Layout
from iris_platform.bundle import Bundle
from iris_platform.health_port import answer, open_health_port
from iris_proto.v1.config_pb2 import BootstrapConfig, ContainerConfig
from tests.harness.ports import free_port
from tests.platform.bootstrap.hosts import LABELS, Host

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
    apart = [word for kind in ("network", "pid", "ipc", "uts", "cgroupns") for word in (f"--{kind}", "host")]
    assert argv[: 16 + 4] == [
        *("run", "--rm", "--interactive", "--name", f"iris-{role}", *apart, "--privileged"),
        *("--pids-limit", "-1", "--log-driver", "none"),
    ]
    assert argv[argv.index("there/iris:1") - 2 :] == [
        *("--entrypoint", "iris-it", "there/iris:1", "first", "run", f"{home}/work", NASTY),
    ]
    # What would steer the client goes another way than the rest.
    values = [argv[n + 1] for n, word in enumerate(argv) if word == "--env"]
    assert values == ["DOCKER_HOST=tcp://elsewhere", "GREETING", "IRIS_HEALTH_PORT", "PATH=/opt/bin"]
    assert environ["IRIS_HEALTH_PORT"] == str(port)
    # It would take the socket of our supervisor for its own.
    assert "NOTIFY_SOCKET" not in environ
    assert (environ["GREETING"], environ["PATH"]) == (NASTY, str(host.tools))
    assert "DOCKER_HOST" not in environ
    assert ["rm", "--force", f"iris-{role}"] in [argv for argv, _ in calls(host, name)]
    assert host.run(startup).check("h1").facts["changed"] is False
    seen = host.run(startup, "status").facts
    assert (seen["phase"], seen["image"], seen["bundle"]) == ("ready", "there/iris:1", "")
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


def test_on_a_host_with_both_roles_the_second_takes_the_next_port(host: Host, bundle: Bundle) -> None:
    port = add_engine(host)
    host.run(host.startup(bundle, spec=spec(port))).check("h1")
    # What stands in for a controller serves where it is told to; this engine cannot.
    other = host.startup(bundle, spec=spec(port, role="controller"), health_s=1.0)
    outcome = host.run(other)
    assert outcome.step == "health" and "in use" not in outcome.reason
    (_, environ) = next(call for call in calls(host) if "iris-controller" in call[0] and call[0][0] == "run")
    assert environ["IRIS_HEALTH_PORT"] == str(port + 1)


def test_a_health_port_that_is_taken_is_said_before_anything_starts(host: Host, bundle: Bundle) -> None:
    port = add_engine(host)
    with socket.create_server(("127.0.0.1", port)):
        outcome = host.run(host.startup(bundle, spec=spec(port)))
    assert (outcome.exit_status, outcome.step) == (2, "health")
    assert outcome.reason.startswith(f"port {port} of this host is in use")
    assert "run" not in [argv[0] for argv, _ in calls(host)]


def test_prepare_has_the_image(host: Host, bundle: Bundle) -> None:
    port = add_engine(host)
    host.run(host.startup(bundle, spec=spec(port, "far/iris:1")), "prepare").check("h1")
    assert ["pull", "--quiet", "far/iris:1"] in [argv for argv, _ in calls(host)]
    assert host.run(host.startup(bundle, spec=spec(1, "nowhere/iris:1")), "prepare").exit_status == 4


def test_further_places_are_made_and_mounted(host: Host, bundle: Bundle) -> None:
    port = add_engine(host)
    place = host.folder / "data/state"
    host.run(host.startup(bundle, spec=spec(port, role="controller"), places=(str(place),))).check("h1")
    argv = calls(host)[-1][0]
    assert f"{place}:{place}" in argv and place.stat().st_mode & 0o777 == 0o700
    with pytest.raises(ValueError, match="without a colon"):
        render(host.startup(bundle, spec=spec(port), places=("/a:b",)))


@pytest.mark.parametrize(
    ("name", "uid", "words"), [("docker", 1000, 1), ("docker", 0, 0), ("podman", 1000, 0)]
)
def test_under_roots_daemon_it_is_still_who_started_it(
    name: str, uid: int, words: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    container = {"image": "i", "env": {}, "entrypoint": []}
    argv = run_command(Engine(name, f"/bin/{name}"), Layout(Path("/r"), "worker"), container, [], "n")
    assert argv.count("--user") == words


def test_an_image_needs_no_newer_python_than_the_script(host: Host, bundle: Bundle) -> None:
    text = render(host.startup(bundle, spec=spec(1, role="controller")))
    assert "least=10" in text and "least=11" in render(host.controller(bundle))


@pytest.mark.parametrize("role", ["worker", "controller"])
def test_what_a_configuration_says(role: Any) -> None:
    env = {"A": "b"}
    said = BootstrapConfig(container=ContainerConfig(image="i", env=env, health_port=7))
    program = {"worker": "iris-bootstrap", "controller": "iris-controller"}[role]
    assert container_of(said, role) == ContainerSpec("i", [program], env, {}, 7)
    assert container_of(None, role) == container_of(BootstrapConfig(), role) == NO_CONTAINER


def test_a_program_says_that_it_is_well() -> None:
    environ = {"IRIS_HEALTH_PORT": str(free_port())}
    port = int(environ["IRIS_HEALTH_PORT"])
    with open_health_port(environ) or pytest.fail("it does not listen") as listener:
        assert environ == {}
        with socket.create_connection(("127.0.0.1", port)) as peer:
            answer(listener)
            assert peer.recv(1) == b""
        with pytest.raises(OSError, match=f"health port {port}"):
            open_health_port({"IRIS_HEALTH_PORT": str(port)})
    assert open_health_port({}) is None
