"""What the service manager runs: the program itself, our own supervisor of it, and what comes after its end."""

from __future__ import annotations

import os

from iris_platform import processes
from iris_platform.bootstrap.host import dead_man, lock
from iris_platform.bootstrap.host.calls import run_before
from iris_platform.bootstrap.host.keeper import is_orphan
from iris_platform.bootstrap.host.layout import Layout, read_json
from iris_platform.bootstrap.host.outcome import DONE, HOST_TROUBLE, Failure
from iris_platform.bootstrap.host.remove import clear_files
from iris_platform.bootstrap.host.service import service_of
from iris_platform.bootstrap.host.supervisor import AlreadySupervised, Supervisor
from iris_platform.bootstrap.notify import SOCKET_VARIABLE

LEFT_LOCK_S = 5.0


def run_program(layout: Layout) -> int:
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


def supervise(layout: Layout) -> int:
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
    return clear_orphan(layout) if supervisor.run() == "left" else DONE


def _detach_streams(layout: Layout) -> None:
    for number, flags in ((0, os.O_RDONLY), (1, os.O_WRONLY | os.O_APPEND), (2, os.O_WRONLY | os.O_APPEND)):
        path = os.devnull if number == 0 else str(layout.log_file)
        fd = os.open(path, flags | os.O_CREAT, 0o600)
        os.dup2(fd, number)
        os.close(fd)
    os.chdir("/")


def clear_orphan(layout: Layout) -> int:
    """After the program's end: an agent that left as an orphan takes its host's share of Iris along."""
    if layout.role != "worker" or not is_orphan(layout):
        return DONE
    # Not for long: who has the lock may be waiting for us to end.
    with lock.hold(layout, LEFT_LOCK_S):
        service = service_of(layout, os.environ)
        # Not stopped: it has ended, and we may run on its behalf.
        processes.clean_host(layout.work)
        service.remove()
        dead_man.disarm(layout)
        clear_files(layout, forget=True, bundles=False)
    return DONE
