"""A container image instead of a bundle, under docker or podman, by argv alone.

The engine's client is what the service manager keeps running: it passes signals
on, carries the output, and ends with the container's exit status.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from iris_platform.bootstrap.host.calls import call, find_program
from iris_platform.bootstrap.host.health import health_port
from iris_platform.bootstrap.host.layout import ROLES, Layout
from iris_platform.bootstrap.host.outcome import HOST_TROUBLE, REFUSED, UNREACHABLE, Failure
from iris_platform.health_port import VARIABLE

ENGINES = ("docker", "podman")
LOOK_S = 30.0
PULL_S = 900.0

_NOT_APART = ("network", "pid", "ipc", "uts", "cgroupns")
# Names that mean something to the client itself: it must not see them.
_CLIENT_NAMES = {"PATH", "HOME", "TMPDIR", "USER", "SHELL", "NOTIFY_SOCKET"}
_CLIENT_PREFIXES = ("DOCKER_", "CONTAINER", "CONTAINERS_", "XDG_", "LD_", "PODMAN_", "BUILDAH_", "REGISTRY_")


@dataclass(frozen=True)
class Engine:
    """An engine that works on this host; `path` is its client."""

    name: str
    path: str


def find_engine(environ: Mapping[str, str]) -> Engine:
    """The first engine that answers.

    Raises:
        Failure: none is installed, or none of them works.
    """
    problems = []
    for name in ENGINES:
        path = find_program(name, environ)
        if path is None:
            continue
        try:
            call("container", [path, "info"], LOOK_S)
        except Failure as failure:
            problems.append(f"{name}: {(failure.log_tail or failure.reason).splitlines()[-1]}")
        else:
            return Engine(name, path)
    if problems:
        raise Failure("container", "; ".join(problems), REFUSED)
    raise Failure("container", "an image is configured, and neither docker nor podman is installed", REFUSED)


def look_for_engine(environ: Mapping[str, str]) -> dict[str, object]:
    """The name of the engine that works on this host, or why none does."""
    try:
        return {"engine": find_engine(environ).name}
    except Failure as failure:
        return {"engine": "", "engine_trouble": failure.reason}


def prepare(
    layout: Layout, document: Mapping[str, Any], arguments: Sequence[str], name: str
) -> dict[str, Any]:
    """Have the image on the host; the parts of service.json for a run with `arguments`.

    Raises:
        Failure: no engine, no image, or a directory that cannot be made.
    """
    image = document["container"]
    engine = find_engine(os.environ)
    ensure_image(engine, image["image"])
    health = dict(document["health"])
    env = {**document["env"], **image["env"]}
    if health["kind"] == "port":
        health["port"] = _free_of_others(layout, int(health["port"]))
        env[VARIABLE] = str(health["port"])
    _make(document["places"])
    parts = {**image, "env": env, "labels": document["labels"], "places": document["places"]}
    return {
        "argv": run_command(engine, layout, parts, arguments, name),
        "env": client_environment(parts),
        "pre": remove_commands(engine, name),
        "health": health,
        "image": image["image"],
    }


def have_image(image: str) -> None:
    """What takes long of `prepare`, ahead of time."""
    ensure_image(find_engine(os.environ), image)


def _free_of_others(layout: Layout, port: int) -> int:
    """The port, or the next one where the host's other role has it already."""
    others = {health_port(Layout(layout.root, role)) for role in ROLES if role != layout.role}
    return port + 1 if port in others and port < 65535 else port


def _make(places: Sequence[str]) -> None:
    """An engine makes them as it likes, or refuses."""
    for place in places:
        try:
            os.makedirs(place, 0o700, exist_ok=True)
        except OSError as error:
            raise Failure("container", f"{place}: {error.strerror}", HOST_TROUBLE) from error


def ensure_image(engine: Engine, image: str) -> None:
    """Have the image on the host; one that is there is not asked for again."""
    found, _ = call("container", [engine.path, "image", "inspect", image], LOOK_S, accept=(0, 1, 125))
    if found == 0:
        return
    try:
        call("container", [engine.path, "pull", "--quiet", image], PULL_S)
    except Failure as failure:
        words = f"cannot pull {image}: {failure.reason}"
        raise Failure("container", words, UNREACHABLE, failure.log_tail) from failure


def container_name(layout: Layout) -> str:
    """The same for every start, so that none runs twice."""
    return f"iris-{layout.role}"


def run_command(
    engine: Engine, layout: Layout, container: Mapping[str, Any], arguments: Sequence[str], name: str
) -> list[str]:
    """The argv that runs the container `name` in the foreground, with our standard input.

    With the host's network, process table, shared memory and cgroups, and
    without an engine's own limits and logs: the container is the host's agent,
    not a thing apart. Values of the environment stay out of the argv, which everybody
    can read, where the client allows it.
    """
    argv = [engine.path, "run", "--rm", "--interactive", "--name", name]
    argv += [word for kind in _NOT_APART for word in (f"--{kind}", "host")] + ["--privileged"]
    argv += ["--pids-limit", "-1", "--log-driver", "none"]
    if engine.name == "docker" and os.geteuid() != 0:
        # Its daemon is root's: what is written would not be ours to remove. Podman is who we are.
        argv += ["--user", f"{os.geteuid()}:{os.getegid()}"]
    for place in (layout.work, layout.state, *container.get("places", ())):
        argv += ["--volume", f"{place}:{place}"]
    for label, value in sorted(container.get("labels", {}).items()):
        argv += ["--label", f"{label}={value}"]
    for variable, value in sorted(container["env"].items()):
        argv += ["--env", f"{variable}={value}" if _is_clients(variable) else variable]
    entrypoint = [str(word) for word in container["entrypoint"]]
    argv += ["--entrypoint", entrypoint[0]] if entrypoint else []
    return [*argv, container["image"], *entrypoint[1:], *arguments]


def client_environment(container: Mapping[str, Any]) -> dict[str, str]:
    """What the client is given for the container's environment."""
    return {name: value for name, value in container["env"].items() if not _is_clients(name)}


def remove_commands(engine: Engine, name: str) -> list[list[str]]:
    """What takes away a container which an engine kept although its client was killed.

    Killed first: podman's `rm` would ask every process in it to end, and the keeper
    would report its tasks as if they had ended by themselves.
    """
    return [[engine.path, "kill", "--signal", "KILL", name], [engine.path, "rm", "--force", name]]


def _is_clients(name: str) -> bool:
    return name in _CLIENT_NAMES or name.startswith(_CLIENT_PREFIXES)
