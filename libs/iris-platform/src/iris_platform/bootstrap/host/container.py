"""A container image instead of a bundle, under docker or podman, by argv alone.

The engine's client is what the service manager keeps running: it passes signals
on, carries the output, and ends with the container's exit status.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from iris_platform.bootstrap.host.calls import call, find_program
from iris_platform.bootstrap.host.layout import Layout
from iris_platform.bootstrap.host.outcome import REFUSED, UNREACHABLE, Failure

ENGINES = ("docker", "podman")
LOOK_S = 30.0
PULL_S = 900.0

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

    The host's network and process table: the container is the host's agent, not
    a thing apart. Values of the environment stay out of the argv, which everybody
    can read, where the client allows it.
    """
    argv = [engine.path, "run", "--rm", "--interactive", "--name", name]
    argv += ["--network", "host", "--pid", "host", "--privileged"]
    for place in (layout.work, layout.state):
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


def remove_command(engine: Engine, name: str) -> list[str]:
    """The argv that takes away a container which an engine kept although its client was killed."""
    return [engine.path, "rm", "--force", name]


def _is_clients(name: str) -> bool:
    return name in _CLIENT_NAMES or name.startswith(_CLIENT_PREFIXES)
