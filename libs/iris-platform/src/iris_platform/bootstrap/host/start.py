"""From a document to a program that is well: the steps, in order."""

from __future__ import annotations

import hashlib
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from iris_platform.bootstrap.host import container, fetch
from iris_platform.bootstrap.host import layout as places
from iris_platform.bootstrap.host.calls import call, run_before
from iris_platform.bootstrap.host.facts import installed_programs, what_runs
from iris_platform.bootstrap.host.health import await_health, check_port, seen
from iris_platform.bootstrap.host.layout import Layout, read_json, write_json
from iris_platform.bootstrap.host.outcome import HOST_TROUBLE, REFUSED, UNREACHABLE, Failure
from iris_platform.bootstrap.host.remove import remove_role, stop_role
from iris_platform.bootstrap.host.service import Service, choose_service, service_of
from iris_platform.files import write_atomic
from iris_platform.names import LABEL_CLUSTER_ID, LABEL_SLICE

INSTALL_S = 600.0
FIRST_S = 60.0
SECRET_S = 30.0
MOST_SECRET_BYTES = 64 * 1024
# Where a bundle is, how it got there and how long we wait make no other program.
_NOT_THE_PROGRAM = ("path", "url", "ca", "server_name")
_KEPT_NAMES = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
)

Document = Mapping[str, Any]


def start(layout: Layout, document: Document, program: bytes) -> dict[str, object]:
    """Bring the host to what the document says; running it again changes nothing.

    `program` is this program's own file, for the service and later commands.

    Raises:
        Failure: with the step and the reason. What was started is stopped again;
            what was there before keeps running where it could.
    """
    places.check_owner(layout, document["labels"])
    secret = _read_input() if document["secret"] else b""
    document = {**document, "bundle": fetch.choose_bundle(document["bundle"])}
    wanted = _fingerprint(document)
    service = service_of(layout, os.environ)
    status = service.status()
    if read_json(layout.service_file).get("fingerprint") == wanted and status.is_up:
        wanted_health = read_json(layout.service_file)["health"]
        await_health(layout, service, wanted_health, float(document["health_s"]))
        return _facts(layout, service, changed=False)
    spec = _prepare(layout, document, document["arguments"], container.container_name(layout))
    stop_role(layout, service)
    new = choose_service(layout, document["service"], os.environ)
    if new.name != service.name:
        service.remove()
    try:
        _write_files(layout, document, secret, program)
        write_json(layout.service_file, {**spec, "fingerprint": wanted, "manager": new.name})
    except OSError as error:
        raise _cannot_write(layout, error) from error
    check_port(spec["health"])
    try:
        new.start()
        await_health(layout, new, spec["health"], float(document["health_s"]))
    except Failure:
        # Nothing runs on that nobody counts on; the files tell why. A cloud's machine has no
        # other use, and its agent may only be waiting for its controller.
        if not document["dead_man"]["deletes_slice"]:
            stop_role(layout, new)
        raise
    return _facts(layout, new, changed=True)


def install(layout: Layout, document: Document, program: bytes) -> dict[str, object]:
    """Have the program on the host, and run it once with the document's `first`.

    It gets our standard input. Nothing is started that stays.

    Raises:
        Failure: with the step and the reason.
    """
    places.check_owner(layout, document["labels"])
    given = _read_input()
    document = {**document, "bundle": fetch.choose_bundle(document["bundle"])}
    spec = _prepare(layout, document, document["first"], f"{container.container_name(layout)}-first")
    answer = _run_first(spec, given)
    try:
        _write_program(layout, program)
        # Whose the directory is; what is in it may be known only now.
        named = {LABEL_CLUSTER_ID: str(answer["cluster_id"])} if "cluster_id" in answer else {}
        write_json(layout.labels_file, {**document["labels"], **named})
    except OSError as error:
        raise _cannot_write(layout, error) from error
    return {"status": "installed", "answer": answer, "root": str(layout.root), "state": str(layout.state)}


def _run_first(spec: Mapping[str, Any], given: bytes) -> dict[str, Any]:
    """The answer of a program that ends by itself."""
    argv = spec["argv"]
    try:
        run_before(spec)
        done = subprocess.run(argv, input=given, capture_output=True, timeout=FIRST_S, env=spec["env"])
    except subprocess.TimeoutExpired as error:
        run_before(spec)
        raise Failure("first", f"{argv[0]} did not end within {FIRST_S:g} s", UNREACHABLE) from error
    except OSError as error:
        raise Failure("first", f"cannot start {argv[0]}: {error.strerror}", HOST_TROUBLE) from error
    said = done.stderr.decode("utf-8", "replace").strip()
    if done.returncode:
        last = said.splitlines()[-1] if said else "it said nothing"
        raise Failure("first", f"exit status {done.returncode}: {last}", REFUSED, said)
    return _last_object(done.stdout.decode("utf-8", "replace"))


def undo(layout: Layout, document: Document) -> None:
    """What the dead man does where the document names nothing else."""
    places.check_owner(layout, document["labels"])
    there, ours = (labels.get(LABEL_SLICE) for labels in (places.role_labels(layout), document["labels"]))
    if there and there != ours:
        # It was killed before anybody knew that it is armed, and another start has come since.
        return
    remove_role(layout, service_of(layout, os.environ), forget=False, bundles=False)


def _facts(layout: Layout, service: Service, changed: bool) -> dict[str, object]:
    status = seen(layout, service)
    return {
        "status": "running",
        "changed": changed,
        "manager": service.name,
        "phase": status.phase,
        "pid": status.pid,
        "root": str(layout.root),
        **what_runs(layout),
    }


def _fingerprint(document: Document) -> str:
    bundle = {k: v for k, v in document["bundle"].items() if k not in _NOT_THE_PROGRAM}
    kept = {k: v for k, v in document.items() if k not in ("health_s", "dead_man", "first")}
    text = json.dumps({**kept, "bundle": bundle}, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _cannot_write(layout: Layout, error: OSError) -> Failure:
    return Failure("files", f"{error.filename or layout.home}: {error.strerror}", HOST_TROUBLE)


def _read_input() -> bytes:
    """What came on standard input: a secret, or what the program's first run is given."""
    deadline = time.monotonic() + SECRET_S
    data = b""
    while len(data) <= MOST_SECRET_BYTES:
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not select.select([sys.stdin], [], [], left_s)[0]:
            words = f"standard input did not end within {SECRET_S:g} s: close it behind the secret"
            raise Failure("secret", words, REFUSED)
        part = os.read(0, 4096)
        if not part:
            return data
        data += part
    raise Failure("secret", f"more than {MOST_SECRET_BYTES} bytes on standard input", REFUSED)


def _prepare(layout: Layout, document: Document, words: Sequence[str], container_name: str) -> dict[str, Any]:
    """Have the program on the host; returns what service.json will say for a run with `words`."""
    env = {name: os.environ[name] for name in _KEPT_NAMES if name in os.environ}
    env.setdefault("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    arguments = layout.filled(list(words))
    spec: dict[str, Any] = {
        "stop_s": document["stop_s"],
        "health_s": document["health_s"],
        "notifies": document["health"]["kind"] == "notify",
        "bundle": document["bundle"].get("sha256", ""),
        "health": document["health"],
        "places": document["places"],
        "pre": [],
    }
    if document["container"]["image"]:
        parts = container.prepare(layout, document, arguments, container_name)
        return spec | parts | {"env": env | parts["env"]}
    bundle = _install(layout, document)
    return spec | {
        # Not by its first line, which needs tools that a bare PATH may lack.
        "argv": [str(bundle / "bin/python3"), "-I", str(bundle / "bin" / document["program"]), *arguments],
        "env": env | document["env"],
    }


def _install(layout: Layout, document: Document) -> Path:
    """The bundle's directory; installs it unless that is finished."""
    sha = str(document["bundle"].get("sha256", ""))
    there = layout.bundles / sha
    if sha and document["program"] in installed_programs(there):
        return there
    archive = fetch.fetch_bundle(layout, document["bundle"])
    argv = [sys.executable, "-I", "-S", str(archive), "install", "--root", str(layout.root)]
    argv += ["--program", document["program"]]
    argv += [word for used in _bundles_in_use(layout) for word in ("--keep", used)]
    status, text = call("install", argv, INSTALL_S, accept=range(256))
    answer = _last_object(text)
    if status or answer.get("status") != "installed":
        reason = str(answer.get("reason", "")) or f"the installer ended with status {status}"
        # Its answer is in the reason; what else it said is its log.
        said = "\n".join(line for line in text.splitlines() if not line.startswith('{"status": '))
        raise Failure("install", reason, status if status in (REFUSED, HOST_TROUBLE) else HOST_TROUBLE, said)
    fetch.discard(layout, archive)
    return Path(str(answer["path"]))


def _bundles_in_use(layout: Layout) -> list[str]:
    used = (read_json(layout.root / role / "service.json").get("bundle", "") for role in places.ROLES)
    return sorted({sha for sha in used if sha})


def _last_object(text: str) -> dict[str, Any]:
    for line in reversed(text.splitlines()):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        return found if isinstance(found, dict) else {}
    return {}


def _write_files(layout: Layout, document: Document, secret: bytes, program: bytes) -> None:
    old, new = (labels.get(LABEL_SLICE) for labels in (places.role_labels(layout), document["labels"]))
    if old and old != new:
        # Another slice's memory: what it started is dead by now.
        shutil.rmtree(layout.work)
        layout.work.mkdir(mode=0o700)
    write_json(layout.labels_file, dict(document["labels"]))
    _write_program(layout, program)
    for name, content in sorted(document["files"].items()):
        text = content if isinstance(content, str) else json.dumps(layout.filled(content), indent=1) + "\n"
        write_atomic(layout.work / name, text.encode("utf-8"))
    if secret:
        write_atomic(layout.work / document["secret"], secret)
    elif document["secret"] and not (layout.work / document["secret"]).exists():
        raise Failure("secret", f"no {document['secret']} came on standard input", REFUSED)


def _write_program(layout: Layout, program: bytes) -> None:
    if not layout.program.exists() or layout.program.read_bytes() != program:
        write_atomic(layout.program, program)
