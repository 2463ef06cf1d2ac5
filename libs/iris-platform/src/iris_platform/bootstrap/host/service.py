"""How a role's program is kept running: under systemd, or under our own supervisor.

Both run what service.json says, and neither is given anything else: no value of
a document gets into a unit file.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from iris_platform import processes
from iris_platform.bootstrap.host.calls import call, find_program
from iris_platform.bootstrap.host.layout import Layout, read_json
from iris_platform.bootstrap.host.outcome import HOST_TROUBLE, TAIL_BYTES, Failure
from iris_platform.bootstrap.host.supervisor import MOST_CRASHES, read_state
from iris_platform.files import read_tail, sync_dir, write_atomic

SYSTEMD_IS_HERE = Path("/run/systemd/system")
UNIT_DIR = Path("/etc/systemd/system")
CALL_S = 60.0
# After the program's own grace: for the supervisor to see it end, or kill it.
STOP_MARGIN_S = 20.0
SUPERVISE_S = 20.0

# `exec` keeps the process id, which systemd hears the notification from.
_UNIT = """\
[Unit]
Description=Iris {role}
Wants=network-online.target
After=network-online.target
{mounts}StartLimitIntervalSec=300
StartLimitBurst={burst}

[Service]
Type={kind}
NotifyAccess=main
ExecStart={python} -I -S {program} exec --role {role} --root {root}
ExecStopPost=-{python} -I -S {program} left --role {role} --root {root}
Restart=on-failure
RestartPreventExitStatus={unwanted}
RestartSec=1
KillMode=mixed
TimeoutStartSec={start_s}
TimeoutStopSec={stop_s}
OOMPolicy=continue
Delegate=yes

[Install]
WantedBy=multi-user.target
"""


@dataclass(frozen=True)
class ServiceStatus:
    """`phase` is starting, running, ready, backing_off, stopped, left, unwanted, gave_up or absent.

    `pid` is the program's, 0 when it does not run.
    """

    phase: str
    pid: int = 0
    detail: str = ""

    @property
    def is_up(self) -> bool:
        """Whether it runs, or will without anybody's doing."""
        return self.phase in ("starting", "running", "ready", "backing_off")


class Service(Protocol):
    """What keeps one role's program running."""

    name: str

    def start(self) -> None:
        """Start what service.json says; returns before that is well."""
        ...

    def stop(self) -> None:
        """Stop it for good, by force if need be; fine when it does not run."""
        ...

    def status(self) -> ServiceStatus:
        """What can be seen of it now."""
        ...

    def log_tail(self) -> str:
        """The end of what the program said."""
        ...

    def remove(self) -> None:
        """Take away what was put on the host to keep it running; it is stopped already."""
        ...


def choose_service(layout: Layout, wanted: str, environ: Mapping[str, str]) -> Service:
    """systemd for root where it runs, else our supervisor; `wanted` is auto or one of the two."""
    systemctl = find_program("systemctl", environ)
    if wanted == "supervisor" or (wanted == "auto" and not _has_systemd(systemctl)):
        return Supervised(layout)
    if systemctl is None:
        raise Failure("service", "systemd was asked for, and there is no systemctl", HOST_TROUBLE)
    return Systemd(layout, systemctl, UNIT_DIR)


def service_of(layout: Layout, environ: Mapping[str, str]) -> Service:
    """What the role was last started under."""
    return choose_service(layout, str(read_json(layout.service_file).get("manager", "auto")), environ)


def _has_systemd(systemctl: str | None) -> bool:
    return os.geteuid() == 0 and systemctl is not None and SYSTEMD_IS_HERE.is_dir()


class Supervised:
    """Our own supervisor, in a session of its own."""

    name = "supervisor"

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def start(self) -> None:
        """See `Service.start`; returns when the supervisor has taken over."""
        layout = self._layout
        layout.state_file.unlink(missing_ok=True)
        _cut_log(layout.log_file)
        argv = [sys.executable, "-I", "-S", str(layout.program)]
        # Ends as soon as the supervisor, its grandchild, is there.
        call("service", [*argv, "supervise", "--role", layout.role, "--root", str(layout.root)], SUPERVISE_S)

    def stop(self) -> None:
        """See `Service.stop`."""
        state = read_state(self._layout)
        stop_s = float(read_json(self._layout.service_file).get("stop_s", 30.0))
        supervisor = _process(state.get("supervisor", {}))
        if supervisor is not None:
            processes.send_signal(*supervisor, signal.SIGTERM)
            processes.send_signal(*supervisor, signal.SIGCONT)
            if not processes.wait_until(lambda: not processes.is_alive(*supervisor), stop_s + STOP_MARGIN_S):
                processes.send_signal(*supervisor, signal.SIGKILL)
        # What a supervisor that was killed has left running.
        child = _process(read_state(self._layout))
        if child is not None and processes.is_alive(*child):
            processes.send_signal(*child, signal.SIGTERM)
            if not processes.wait_until(lambda: not processes.is_alive(*child), stop_s):
                processes.send_signal(*child, signal.SIGKILL)
                processes.wait_until(lambda: not processes.is_alive(*child), STOP_MARGIN_S)

    def status(self) -> ServiceStatus:
        """See `Service.status`."""
        state = read_state(self._layout)
        phase = str(state.get("phase", "absent"))
        supervisor, child = _process(state.get("supervisor", {})), _process(state)
        pid = child[0] if child is not None and processes.is_alive(*child) else 0
        if phase == "left" and state.get("exit") == processes.UNWANTED:
            return ServiceStatus("unwanted", pid)
        detail = "" if "exit" not in state else _exit_words(int(state["exit"]))
        status = ServiceStatus(phase, pid, detail)
        if status.is_up and (supervisor is None or not processes.is_alive(*supervisor)):
            return ServiceStatus("stopped", pid, "its supervisor is gone")
        return status

    def log_tail(self) -> str:
        """See `Service.log_tail`."""
        return read_tail(self._layout.log_file, TAIL_BYTES)

    def remove(self) -> None:
        """See `Service.remove`: everything is in the role's directory."""


class Systemd:
    """A unit, started at boot too."""

    name = "systemd"

    def __init__(self, layout: Layout, systemctl: str, unit_dir: Path) -> None:
        self._layout = layout
        self._systemctl = systemctl
        self._unit = f"iris-{layout.role}.service"
        self._file = unit_dir / self._unit

    def start(self) -> None:
        """See `Service.start`."""
        text = render_unit(self._layout, sys.executable, read_json(self._layout.service_file))
        if not self._file.exists() or self._file.read_text() != text:
            write_atomic(self._file, text.encode("utf-8"), 0o644)
            self._call("daemon-reload")
        # One that gave up would not be started again.
        self._call("reset-failed", accept=(0, 1, 5))
        self._call("enable", "--quiet")
        self._call("--no-block", "start")

    def stop(self) -> None:
        """See `Service.stop`."""
        if self._file.exists():
            stop_s = float(read_json(self._layout.service_file).get("stop_s", 30.0))
            self._call("stop", timeout_s=stop_s + 2 * STOP_MARGIN_S, accept=(0, 5))

    def status(self) -> ServiceStatus:
        """See `Service.status`."""
        if not self._file.exists():
            return ServiceStatus("absent")
        wanted = "ActiveState,SubState,Result,MainPID,ExecMainStatus,Job"
        _, text = call("service", [self._systemctl, "show", self._unit, "--property", wanted], CALL_S)
        facts = dict(line.partition("=")[::2] for line in text.splitlines())
        return unit_status(facts, notifies=bool(read_json(self._layout.service_file).get("notifies")))

    def log_tail(self) -> str:
        """See `Service.log_tail`; what this boot's journal has."""
        journal = find_program("journalctl", os.environ)
        if journal is None:
            return ""
        with suppress(Failure):
            argv = [
                journal,
                "--unit",
                self._unit,
                "--boot",
                "--lines",
                "100",
                "--output",
                "cat",
                "--no-pager",
            ]
            return call("service", argv, CALL_S)[1][-TAIL_BYTES:]
        return ""

    def remove(self) -> None:
        """See `Service.remove`."""
        if not self._file.exists():
            return
        self._call("disable", "--quiet", accept=(0, 1, 5))
        self._file.unlink(missing_ok=True)
        sync_dir(self._file.parent)
        self._call("daemon-reload")
        self._call("reset-failed", accept=(0, 1, 5))

    def _call(self, *words: str, timeout_s: float = CALL_S, accept: tuple[int, ...] = (0,)) -> None:
        unit = [] if "daemon-reload" in words else [self._unit]
        call("service", [self._systemctl, *words, *unit], timeout_s, accept=accept)


def render_unit(layout: Layout, python: str, service: Mapping[str, Any]) -> str:
    """The unit of a role. All that goes in are numbers and paths: checked by `layout.check_root`, or quoted."""
    places = " ".join(map(_quoted, service.get("places", ())))
    stop_s = float(service.get("stop_s", 30.0))
    return _UNIT.format(
        role=layout.role,
        # A store on a disk that is not there yet would be taken for a lost one.
        mounts=f"RequiresMountsFor={places}\n" if places else "",
        root=layout.root,
        program=layout.program,
        python=os.path.realpath(python),
        kind="notify" if service.get("notifies") else "exec",
        burst=MOST_CRASHES + 1,
        unwanted=processes.UNWANTED,
        start_s=int(float(service.get("health_s", 60.0))) + 1,
        stop_s=int(stop_s + STOP_MARGIN_S),
    )


def _quoted(path: str) -> str:
    """See systemd.syntax(7), "Quoting", and systemd.unit(5), "Specifiers"."""
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") + '"'


def unit_status(facts: Mapping[str, str], notifies: bool) -> ServiceStatus:
    """What `systemctl show` says, in our words."""
    state, sub = facts.get("ActiveState", ""), facts.get("SubState", "")
    pid = int(facts.get("MainPID") or 0)
    if state in ("inactive", "failed") and facts.get("Job", "") not in ("", "0"):
        # It was asked to start, and systemd has not come to it.
        return ServiceStatus("starting", pid)
    if state == "active":
        return ServiceStatus("ready" if notifies else "running", pid)
    if state in ("activating", "reloading"):
        return ServiceStatus("backing_off" if sub == "auto-restart" else "starting", pid)
    if state == "failed" and facts.get("ExecMainStatus") == str(processes.UNWANTED):
        return ServiceStatus("unwanted", 0)
    if state == "failed":
        return ServiceStatus("gave_up", 0, facts.get("Result", ""))
    return ServiceStatus("stopped", pid, sub)


def _process(note: Mapping[str, Any]) -> tuple[int, int] | None:
    pid, started = note.get("pid"), note.get("start_time")
    return (pid, started) if isinstance(pid, int) and isinstance(started, int) else None


def _exit_words(status: int) -> str:
    return f"exit status {status}" if status >= 0 else f"signal {-status}"


def _cut_log(path: Path) -> None:
    """What was said under an earlier start would be taken for this one's."""
    with suppress(FileNotFoundError):
        os.replace(path, path.with_name(f"{path.name}.1"))
