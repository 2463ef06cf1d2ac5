"""What a host is to run, as plain data. Knows no shell, no host and no provider."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from iris_platform.base import ContainerSpec, VmBootstrapSpec
from iris_platform.self_deletion import FACTS_FILE, own_slice

FORMAT = 1
PROGRAMS: Mapping[str, str] = {"worker": "iris-bootstrap", "controller": "iris-controller"}
# The oldest Python 3 of each role; what is not ours to run asks for no more than the script.
OLDEST_MINOR: Mapping[str, int] = {"worker": 10, "controller": 11}
OLDEST_MINOR_OF_SCRIPT = 10
NO_CONTAINER = ContainerSpec(image="", entrypoint=[], env={}, ports={})

_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class BundleSource:
    """Where a host finds its bundle: a file that was uploaded, or the controller's join port.

    `ca` is the cluster's CA in PEM and `server_name` what its certificate has to
    name, whatever address the `url` (https) goes to.

    Where nobody knows the host's Python beforehand, `kinds` has a digest for each
    "3.11 x86_64" there is, `sha256` is empty, and `url` what the digest is put behind.
    """

    sha256: str = ""
    path: str = ""
    url: str = ""
    ca: str = ""
    server_name: str = ""
    kinds: Mapping[str, str] = field(default_factory=dict)


# No host has it: for questions that need none.
NO_BUNDLE = BundleSource("0" * 64, path="/nonexistent")


@dataclass(frozen=True)
class DeadMan:
    """What undoes a start that nobody sees through, `after_s` seconds after its first act.

    The role is removed from the host; or, with `deletes_slice`, the slice that the
    file `slice-facts.json` of the startup is about deletes itself, for as long as it
    takes, also when an agent that was well has been gone for `after_s`. `after_s` 0:
    there is none.
    """

    after_s: float = 2700.0
    deletes_slice: bool = False


@dataclass(frozen=True)
class Startup:
    """Everything that the startup script of one role on one host is made from.

    Public data only: it is metadata of cloud machines, and a file on hosts. A
    secret comes on the script's standard input and is written to the file
    `secret` in the role's work directory.

    `arguments` follow the program's name (or the image's entrypoint); `first` are
    those of a run that `install` makes, which ends by itself and whose answer, a
    JSON object on its standard output, is part of the script's. In both, and in
    `files` that are objects, a string that begins with `@work@` or `@state@`
    gets the directory in its place: of the agent, gone with it; of the controller's
    store and keys, which stay. `files` (name -> text, or object written as JSON)
    go to the work directory, 0600.

    `places` are further directories of the host, which are there before the program
    is started again at a boot, and which a container is given under the same path. `root` is where everything is (default: by user, see `host.layout`). The script
    waits `health_s` for health, and a stop `stop_s` for the program's end, in seconds.
    """

    spec: VmBootstrapSpec
    bundle: BundleSource | None = None
    arguments: tuple[str, ...] = ()
    first: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str | Mapping[str, object]] = field(default_factory=dict)
    secret: str = ""
    places: tuple[str, ...] = ()
    dead_man: DeadMan = field(default_factory=DeadMan)
    root: str = ""
    manager: Literal["auto", "systemd", "supervisor"] = "auto"
    health_s: float = 60.0
    stop_s: float = 45.0


def to_document(startup: Startup) -> dict[str, object]:
    """The object that travels to the host.

    Raises:
        ValueError: a field cannot be used; says which.
    """
    _check(startup)
    spec, bundle = startup.spec, startup.bundle
    return {
        "format": FORMAT,
        "role": spec.role,
        "program": PROGRAMS[spec.role],
        "labels": dict(spec.labels),
        "container": {
            "image": spec.container.image,
            "entrypoint": list(spec.container.entrypoint),
            "env": dict(spec.container.env),
        },
        "bundle": _bundle(bundle) if bundle is not None and not spec.container.image else {},
        "arguments": list(startup.arguments),
        "first": list(startup.first),
        "env": dict(startup.env),
        "files": {name: v if isinstance(v, str) else dict(v) for name, v in startup.files.items()},
        "secret": startup.secret,
        "places": list(startup.places),
        "dead_man": {
            "after_s": startup.dead_man.after_s,
            "deletes_slice": startup.dead_man.deletes_slice,
        },
        "root": startup.root,
        "service": startup.manager,
        "health": _health(spec),
        "health_s": startup.health_s,
        "stop_s": startup.stop_s,
    }


def _bundle(bundle: BundleSource) -> dict[str, object]:
    # Where there is nothing to choose, a host's facts stay as they were before there was.
    return {
        name: dict(v) if name == "kinds" else v for name, v in vars(bundle).items() if name != "kinds" or v
    }


def _health(spec: VmBootstrapSpec) -> dict[str, object]:
    if spec.container.image:
        port = spec.container.health_port
        return {"kind": "up"} if port is None else {"kind": "port", "port": port}
    return {"kind": "notify" if spec.role == "controller" else "keeper"}


def _check(startup: Startup) -> None:
    spec, bundle = startup.spec, startup.bundle
    if spec.role not in PROGRAMS:
        raise ValueError(f"role: expected worker or controller, found {spec.role!r}")
    if not spec.container.image:
        if bundle is None:
            raise ValueError("neither a container image nor a bundle: the host would have nothing to run")
        digests = list(bundle.kinds.values()) or [bundle.sha256]
        for digest in digests:
            if not _SHA256.fullmatch(digest):
                raise ValueError(f"bundle.sha256: expected 64 hexadecimal digits, found {digest!r}")
        if bundle.kinds and (bundle.sha256 or not bundle.url.endswith("/")):
            raise ValueError("bundle.kinds: expected no sha256, and a url that ends in /")
        if bool(bundle.path) == bool(bundle.url):
            raise ValueError("bundle: expected a path or a url")
        if bundle.url and not (bundle.url.startswith("https://") and bundle.ca):
            raise ValueError("bundle.url: expected https://… together with the cluster's CA")
    for name in [*startup.files, *([startup.secret] if startup.secret else [])]:
        if not _FILE_NAME.fullmatch(name):
            raise ValueError(f"files: expected plain names, found {name!r}")
    for name, value in [*startup.env.items(), *spec.container.env.items()]:
        if not name or "=" in name or "\0" in name + value:
            raise ValueError(f"env: {name!r} cannot be an environment variable")
    if any("\0" in word for word in _words(startup)):
        raise ValueError("arguments: a program's argument cannot hold a null byte")
    for place in startup.places:
        if not place.startswith("/") or (":" in place and spec.container.image):
            raise ValueError(f"places: expected an absolute path without a colon, found {place!r}")
        if not place.isprintable():
            raise ValueError(f"places: expected a path that can be printed, found {place!r}")
    if spec.container.image.startswith("-"):
        raise ValueError(f"container.image: {spec.container.image!r} would be an option")
    if startup.dead_man.deletes_slice:
        facts = startup.files.get(FACTS_FILE)
        if not isinstance(facts, Mapping):
            raise ValueError(f"files: a slice that deletes itself needs {FACTS_FILE}, an object")
        own_slice(facts)
    for what, seconds in (("health_s", startup.health_s), ("stop_s", startup.stop_s)):
        if not 0 < seconds < 86_400:
            raise ValueError(f"{what}: expected seconds within a day, found {seconds!r}")


def _words(startup: Startup) -> tuple[str, ...]:
    container = startup.spec.container
    return (*startup.arguments, *startup.first, *container.entrypoint, container.image)
