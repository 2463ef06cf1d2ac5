"""The script's Python half, and the program that stays on the host: commands, and who may fail.

install start status stop remove probe   what the caller's script asks for
exec supervise left                      what the service manager runs
"""

from __future__ import annotations

import argparse
import os
import subprocess
import syslog
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from iris_platform import file_lock, processes
from iris_platform.bootstrap.host import container, dead_man
from iris_platform.bootstrap.host import layout as places
from iris_platform.bootstrap.host.calls import run_before
from iris_platform.bootstrap.host.health import seen
from iris_platform.bootstrap.host.keeper import is_orphan, keeper_is_up
from iris_platform.bootstrap.host.layout import Layout, read_json
from iris_platform.bootstrap.host.outcome import (
    DONE,
    HOST_TROUBLE,
    UNREACHABLE,
    Failure,
    failed,
    write_outcome,
)
from iris_platform.bootstrap.host.remove import clear_files, remove_role, stop_role
from iris_platform.bootstrap.host.report import report_deletion, report_failure
from iris_platform.bootstrap.host.service import service_of
from iris_platform.bootstrap.host.start import host_facts, install, start, undo, what_runs
from iris_platform.bootstrap.host.supervisor import AlreadySupervised, Supervisor
from iris_platform.bootstrap.host.unfinished import end_unfinished
from iris_platform.bootstrap.notify import SOCKET_VARIABLE
from iris_platform.names import LABEL_CLUSTER_ID
from iris_platform.self_deletion import FACTS_FILE, delete_own_slice, own_slice

LOCK_S = 900.0
LEFT_LOCK_S = 5.0

Document = Mapping[str, Any]


def main(argv: Sequence[str], document: Document | None = None, program: bytes = b"") -> int:
    """Run one command; returns its exit status, having printed one JSON object."""
    options = _parser(document).parse_args(argv)
    try:
        root = options.root or (document or {}).get("root") or places.default_root(os.environ)
        layout = Layout(Path(root), options.role)
        places.check_root(layout.root)
        if options.command in ("exec", "supervise", "left"):
            return _SERVICE_COMMANDS[options.command](layout)
        if options.command in ("probe", "prepare"):
            write_outcome(_look(layout, document or {}, options.command))
            return DONE
        if options.command == "start":
            write_outcome(_start(layout, document or {}, program))
        elif options.command == "install":
            write_outcome(_install(layout, document or {}, program))
        else:
            write_outcome(_locked(layout, options, document or {}))
    except Failure as failure:
        write_outcome(failed(failure))
        return failure.status
    except (OSError, subprocess.SubprocessError, processes.StillAlive) as error:
        write_outcome(failed(Failure(options.command, str(error), HOST_TROUBLE)))
        return HOST_TROUBLE
    return DONE


def _parser(document: Document | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="iris-host", description="Iris on this host", allow_abbrev=False)
    parser.add_argument(
        "command",
        nargs="?",
        default="start" if document else "status",
        choices=["probe", "prepare", "install", "start", "status", "stop", "remove", *_SERVICE_COMMANDS],
    )
    parser.add_argument("--role", choices=places.ROLES, default=(document or {}).get("role", "worker"))
    parser.add_argument("--root", help="everything is below it (default: the document's, else by user)")
    parser.add_argument("--forget", action="store_true", help="remove: the controller's state as well")
    parser.add_argument("--bundles", action="store_true", help="remove: installed bundles as well")
    parser.add_argument("--cluster-id", help="stop, remove: only what belongs to this cluster")
    return parser


def _look(layout: Layout, document: Document, command: str) -> dict[str, object]:
    """`probe` changes nothing; `prepare` has the image, and the directory that a bundle can be uploaded to."""
    if command == "prepare":
        places.check_owner(layout, document["labels"])
        if document["container"]["image"]:
            container.have_image(document["container"]["image"])
        places.make_root(layout)
    image = document.get("container", {}).get("image", "")
    engine = container.look_for_engine(os.environ) if image else {}
    return {**host_facts(layout), **engine, "incoming": str(layout.incoming)}


def _start(layout: Layout, document: Document, program: bytes) -> dict[str, object]:
    # Before anything is made or fetched: from here on the host undoes it by itself.
    deletes_slice = bool(document["dead_man"]["deletes_slice"])
    armed = dead_man.arm(
        float(document["dead_man"]["after_s"]),
        (lambda: _delete_slice(document)) if deletes_slice else (lambda: _undo(layout, document)),
        (lambda: keeper_is_up(layout)) if deletes_slice else None,
    )
    noted = False
    try:
        places.check_owner(layout, document["labels"])
        places.make_root(layout)
        with _lock(layout):
            places.make_role(layout)
            dead_man.note(layout, armed)
            noted = True
            answer = start(layout, document, program)
            if not deletes_slice:
                dead_man.disarm(layout)
            return answer
    except (Failure, OSError) as error:
        if deletes_slice:
            failure = error if isinstance(error, Failure) else Failure("start", str(error), HOST_TROUBLE)
            report_failure(failure)
        if not _needs_undoing(layout, document, noted):
            dead_man.end(armed)
            if noted:
                layout.dead_man_file.unlink(missing_ok=True)
                _clear_nothing_started(layout)
        raise


def _install(layout: Layout, document: Document, program: bytes) -> dict[str, object]:
    places.check_owner(layout, document["labels"])
    places.make_root(layout)
    with _lock(layout):
        places.make_role(layout)
        try:
            return install(layout, document, program)
        except Failure:
            _clear_nothing_started(layout)
            raise


def _needs_undoing(layout: Layout, document: Document, noted: bool) -> bool:
    """Whether a start that failed has left something that the dead man is there for."""
    if document["dead_man"]["deletes_slice"]:
        # A machine of a cloud goes away whatever happened, unless an agent is well.
        return True
    with suppress(Failure):
        if noted and service_of(layout, os.environ).status().is_up:
            # What was there before runs on.
            return False
    # A host only loses what we put there.
    return noted and layout.service_file.exists()


def _clear_nothing_started(layout: Layout) -> None:
    """A first start that failed leaves no more behind than an installed bundle."""
    if not layout.service_file.exists() and not any(layout.state.iterdir()):
        with suppress(Failure):
            clear_files(layout, forget=False, bundles=False)


def _delete_slice(document: Document) -> None:
    syslog.openlog("iris-host")

    def say(words: str) -> None:
        syslog.syslog(f"dead man: {words}")
        report_deletion(words)

    delete_own_slice(own_slice(document["files"][FACTS_FILE]), say, dead_man.pause)


def _undo(layout: Layout, document: Document) -> None:
    with _lock(layout):
        undo(layout, document)


def _locked(layout: Layout, options: argparse.Namespace, document: Document) -> dict[str, object]:
    service = service_of(layout, os.environ)
    labels = places.role_labels(layout)
    if options.command == "status":
        status = seen(layout, service)
        return {
            "status": "running" if status.is_up else "stopped" if layout.home.exists() else "absent",
            "phase": status.phase,
            "pid": status.pid,
            "detail": status.detail,
            "labels": labels,
            "manager": service.name,
            **what_runs(layout),
            "log_tail": service.log_tail() if layout.home.exists() else "",
        }
    if options.cluster_id and options.command == "remove":
        # Not waited for: they may hold the lock, or come to it after us.
        end_unfinished(layout, options.cluster_id, document.get("root", ""))
    if options.cluster_id and labels:
        places.check_owner(layout, {LABEL_CLUSTER_ID: options.cluster_id})
    if not layout.root.exists():
        return {"status": "absent", "left": []}
    with _lock(layout):
        if options.command == "stop":
            stop_role(layout, service)
            return {"status": "stopped", "left": []}
        left = remove_role(layout, service, forget=options.forget, bundles=options.bundles)
    return {"status": "removed", "left": left}


@contextmanager
def _lock(layout: Layout, timeout_s: float = LOCK_S) -> Iterator[None]:
    """Hold everything below the root, for one command at a time."""
    try:
        with file_lock.hold(layout.root / "lock", timeout_s):
            yield
    except TimeoutError as error:
        raise Failure("lock", f"another command is at work on this host: {error}", UNREACHABLE) from error


def _exec(layout: Layout) -> int:
    """Become the program, under the same process id: systemd's ExecStart."""
    service = read_json(layout.service_file)
    if not service:
        raise Failure("exec", f"{layout.service_file}: cannot read", HOST_TROUBLE)
    run_before(service, out=None)
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "LD_"))}
    if service.get("image"):
        # The client of an engine would take it for its own.
        ours.pop(SOCKET_VARIABLE, None)
    os.chdir("/")
    os.execve(service["argv"][0], service["argv"], {**ours, **service["env"]})


def _supervise(layout: Layout) -> int:
    """Leave the caller's session for good; the caller returns when the supervisor is there."""
    ready, theirs = os.pipe()
    if os.fork():
        os.close(theirs)
        return DONE if os.read(ready, 1) else HOST_TROUBLE
    os.setsid()
    # Twice, so that no terminal can ever become ours.
    if os.fork():
        os._exit(0)
    status = HOST_TROUBLE
    try:
        _detach_streams(layout)
        status = _be_supervisor(layout, theirs)
    finally:
        # Never back into what forked us.
        os._exit(status)


def _be_supervisor(layout: Layout, ready: int) -> int:
    try:
        supervisor = Supervisor(layout)
    except AlreadySupervised:
        return HOST_TROUBLE
    supervisor.announce()
    os.write(ready, b".")
    os.close(ready)
    return _left(layout) if supervisor.run() == "left" else DONE


def _detach_streams(layout: Layout) -> None:
    for number, flags in ((0, os.O_RDONLY), (1, os.O_WRONLY | os.O_APPEND), (2, os.O_WRONLY | os.O_APPEND)):
        path = os.devnull if number == 0 else str(layout.log_file)
        fd = os.open(path, flags | os.O_CREAT, 0o600)
        os.dup2(fd, number)
        os.close(fd)
    os.chdir("/")


def _left(layout: Layout) -> int:
    """After the program's end: an agent that left as an orphan takes its host's share of Iris along."""
    if layout.role != "worker" or not is_orphan(layout):
        return DONE
    # Not for long: who has the lock may be waiting for us to end.
    with _lock(layout, LEFT_LOCK_S):
        service = service_of(layout, os.environ)
        # Not stopped: it has ended, and we may run on its behalf.
        processes.clean_host(layout.work)
        service.remove()
        dead_man.disarm(layout)
        clear_files(layout, forget=True, bundles=False)
    return DONE


_SERVICE_COMMANDS = {"exec": _exec, "supervise": _supervise, "left": _left}
