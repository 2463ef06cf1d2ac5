"""Our own supervisor with real processes: restarts, gives up, stays away, stops."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from iris_platform import processes
from iris_platform.bootstrap import host_program, notify_ready
from iris_platform.bootstrap.host.layout import Layout, make_role, make_root
from iris_platform.bootstrap.host.service import Supervised
from iris_platform.bundle import Bundle
from tests.platform.bootstrap.hosts import DEADLINE_S, Host, eventually

# Runs a supervisor whose bounds are its arguments.
RUN = """
import sys
from pathlib import Path
from iris_platform.bootstrap.host.layout import Layout
from iris_platform.bootstrap.host.supervisor import Supervisor
layout = Layout(Path(sys.argv[1]), "worker")
print(Supervisor(layout, int(sys.argv[2]), float(sys.argv[3])).run())
"""


@pytest.fixture
def layout() -> Iterator[Layout]:
    with TemporaryDirectory(prefix="iris-sup-") as folder:
        made = Layout(Path(folder) / "r", "worker")
        make_root(made)
        make_role(made)
        yield made


def write_service(layout: Layout, code: str, **facts: Any) -> None:
    service = {"argv": [sys.executable, "-c", code, str(layout.work)], "env": {}, "stop_s": 5.0, **facts}
    layout.service_file.write_text(json.dumps(service))


@contextmanager
def supervisor(layout: Layout, most: int = 2, sound_s: float = 60.0) -> Iterator[subprocess.Popen[str]]:
    argv = [sys.executable, "-c", RUN, str(layout.root), str(most), str(sound_s)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(DEADLINE_S)


def state(layout: Layout) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(layout.state_file.read_text()) if layout.state_file.exists() else {}
    return found


def starts(layout: Layout) -> int:
    path = layout.work / "starts"
    return len(path.read_text().splitlines()) if path.exists() else 0


COUNT = "import os, sys; open(os.path.join(sys.argv[1], 'starts'), 'a').write('x\\n');"


def test_a_killed_program_is_started_again(layout: Layout) -> None:
    write_service(layout, COUNT + "import signal; signal.pause()")
    with supervisor(layout):
        eventually(lambda: starts(layout) == 1 and state(layout).get("pid"))
        os.kill(state(layout)["pid"], signal.SIGKILL)
        eventually(lambda: starts(layout) == 2 and state(layout)["phase"] == "running")
        assert state(layout)["restarts"] == 1


def test_it_gives_up_after_its_bound(layout: Layout) -> None:
    write_service(layout, COUNT + "sys.exit('boom')")
    with supervisor(layout, most=2) as process:
        assert process.communicate(timeout=DEADLINE_S)[0] == "gave_up\n"
    assert (starts(layout), state(layout)["phase"], state(layout)["exit"]) == (3, "gave_up", 1)
    assert layout.log_file.read_text() == "boom\n" * 3


def test_a_program_that_was_well_for_long_enough_has_its_restarts_back(layout: Layout) -> None:
    write_service(layout, COUNT + "sys.exit(1)")
    # Every run counts as long: it would never give up.
    with supervisor(layout, most=1, sound_s=0.0):
        eventually(lambda: starts(layout) >= 4)


def test_a_program_that_leaves_stays_away(layout: Layout) -> None:
    write_service(layout, COUNT)
    with supervisor(layout) as process:
        assert process.communicate(timeout=DEADLINE_S)[0] == "left\n"
    assert (starts(layout), state(layout)["phase"]) == (1, "left")


def test_an_agent_of_a_slice_that_is_being_deleted_stays_away(layout: Layout) -> None:
    write_service(layout, COUNT + "raise SystemExit(79)")
    with supervisor(layout) as process:
        assert process.communicate(timeout=DEADLINE_S)[0] == "left\n"
    assert starts(layout) == 1
    assert Supervised(layout).status().phase == "unwanted"


def test_what_cannot_be_started_is_in_the_log(layout: Layout) -> None:
    write_service(layout, "", argv=["/no/such/program"])
    with supervisor(layout, most=1) as process:
        assert process.communicate(timeout=DEADLINE_S)[0] == "gave_up\n"
    assert layout.log_file.read_text() == "cannot start /no/such/program: No such file or directory\n" * 2


def test_a_stop_asks_first_and_then_insists(layout: Layout) -> None:
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); signal.pause()"
    write_service(layout, COUNT + deaf, stop_s=0.5)
    with supervisor(layout) as process:
        eventually(lambda: "deaf" in layout.log_file.read_text() if layout.log_file.exists() else False)
        pid = state(layout)["pid"]
        process.terminate()
        assert process.communicate(timeout=DEADLINE_S)[0] == "stopped\n"
    assert processes.start_time(pid) is None
    assert (state(layout)["phase"], state(layout)["exit"]) == ("stopped", -signal.SIGKILL)


def test_a_stop_during_the_pause_starts_nothing(layout: Layout) -> None:
    write_service(layout, COUNT + "sys.exit(1)")
    with supervisor(layout, most=20) as process:
        eventually(lambda: state(layout).get("pause_s", 0) >= 2)
        before = starts(layout)
        process.terminate()
        assert process.communicate(timeout=DEADLINE_S)[0] == "stopped\n"
    assert starts(layout) == before


def test_it_hears_that_a_program_serves(layout: Layout) -> None:
    package = Path(notify_ready.__code__.co_filename).parents[2]
    code = (
        f"import sys; sys.path.insert(0, {str(package)!r})\n"
        "from iris_platform.bootstrap.notify import notify_ready\n"
        "print(notify_ready(), flush=True)\nimport signal; signal.pause()"
    )
    write_service(layout, code)
    with supervisor(layout):
        eventually(lambda: state(layout).get("phase") == "ready")
        assert layout.log_file.read_text() == "True\n"


def test_the_log_has_a_cap(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    # Its last line is said again and again: one that falls into a cut is lost.
    code = (
        "import time\nfor n in range(400_000): print(f'line {n:06}')\n"
        "while True: print('the end', flush=True); time.sleep(0.01)"
    )
    write_service(layout, code)
    argv = RUN.replace(
        "layout = ", "import iris_platform.bootstrap.host.supervisor as s\ns.LOOK_S = 0.05\nlayout = "
    )
    monkeypatch.setitem(globals(), "RUN", argv.replace("s.LOOK_S", "s.LOG_BYTES = 1 << 20; s.LOOK_S"))
    with supervisor(layout):
        eventually(lambda: layout.log_file.exists() and "the end" in layout.log_file.read_text()[-200:])
        # For a moment it is cut, and not yet written again.
        eventually(lambda: 0 < layout.log_file.stat().st_size <= 1 << 20)
        eventually(lambda: "line 3" in (text := layout.log_file.read_text()) and text.endswith("the end\n"))


def test_two_supervisors_are_one_too_many(layout: Layout) -> None:
    write_service(layout, "import signal; signal.pause()")
    with supervisor(layout):
        eventually(lambda: state(layout).get("phase") == "running")
        argv = [sys.executable, "-c", RUN, str(layout.root), "1", "1"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30)
        assert "AlreadySupervised" in done.stderr


def test_an_orphan_takes_its_host_along(host: Host, bundle: Bundle) -> None:
    host.work.mkdir(parents=True)
    os.mkfifo(host.work / "go")
    host.run(host.startup(bundle, "orphan")).check("h1")
    (host.work / "go").write_text("")
    eventually(lambda: not host.worker.exists() and not host.processes())
    assert sorted(os.listdir(host.root)) == ["bundles", "lock", "made.json"]


def test_an_agent_that_left_otherwise_stays_away_and_is_remembered(host: Host, bundle: Bundle) -> None:
    host.work.mkdir(parents=True)
    os.mkfifo(host.work / "go")
    host.run(host.startup(bundle, "leave")).check("h1")
    (host.work / "go").write_text("")
    eventually(lambda: host.state().get("phase") == "left" and not host.processes())
    facts = host.run(host.startup(bundle), "status").facts
    assert (facts["status"], facts["phase"], len(host.starts())) == ("stopped", "left", 1)


def test_the_supervisor_is_in_a_session_of_its_own_and_leads_none(host: Host, bundle: Bundle) -> None:
    host.run(host.startup(bundle)).check("h1")
    pid = host.state()["supervisor"]["pid"]
    assert os.getsid(pid) not in (os.getsid(0), pid)
    assert {os.readlink(f"/proc/{pid}/fd/{n}") for n in (0, 1, 2)} == {"/dev/null", str(host.worker / "log")}


def test_stop_ends_what_a_killed_supervisor_left(host: Host, bundle: Bundle) -> None:
    outcome = host.run(host.startup(bundle)).check("h1")
    os.kill(host.state()["supervisor"]["pid"], signal.SIGKILL)
    assert host.run(host.startup(bundle), "stop").check("h1").status == "stopped"
    assert outcome.facts["pid"] not in host.processes()


@pytest.mark.parametrize("abstract", [False, True])
def test_notify_speaks_the_protocol(abstract: bool, layout: Layout) -> None:
    name = f"@iris-{os.getpid()}" if abstract else str(layout.home / "n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + name[1:] if abstract else name)
        assert notify_ready({"NOTIFY_SOCKET": name})
        listener.settimeout(5)
        assert listener.recv(100) == b"READY=1"


@pytest.mark.parametrize(
    "environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "/no/such"}, {"NOTIFY_SOCKET": "x"}]
)
def test_notify_is_harmless_where_nobody_listens(environ: dict[str, str]) -> None:
    assert not notify_ready(environ)


def test_the_status_of_a_role_that_never_was(layout: Layout) -> None:
    layout.program.write_bytes(host_program())
    service = Supervised(layout)
    assert service.status().phase == "absent"
    service.stop()
    assert threading.active_count() == 1
