"""The script's shell half, and the unit: what they hold, and which hosts they turn away."""

import base64
import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from iris_platform.base import Refused, StartFailed, Unreachable, VmBootstrapSpec
from iris_platform.bootstrap import NO_CONTAINER, BundleSource, DeadMan, parse_outcome, render
from iris_platform.bootstrap.host.layout import Layout
from iris_platform.bootstrap.host.service import Systemd, render_unit, unit_status
from iris_platform.bootstrap.render import LONGEST_SCRIPT
from iris_platform.bundle import Bundle
from tests.platform.bootstrap.hosts import LABELS, Host, find_python

NASTY = "'; touch pwned; '\n\"$(touch pwned)\" \\ %s"


def test_the_same_document_makes_the_same_text(host: Host, bundle: Bundle) -> None:
    assert render(host.startup(bundle)) == render(host.startup(bundle))
    assert len(render(host.startup(bundle))) < LONGEST_SCRIPT * 3 / 4


def test_only_encoded_lines_depend_on_the_document(host: Host, bundle: Bundle) -> None:
    spec = VmBootstrapSpec("worker", NO_CONTAINER, {**LABELS, NASTY: NASTY})
    other = host.startup(
        bundle, spec=spec, arguments=(NASTY,), env={"A": NASTY}, files={"f": NASTY}, root="/x"
    )
    texts = [
        re.sub(r"^#[DP] [A-Za-z0-9+/=]*$", "", render(s), flags=re.M) for s in (host.startup(bundle), other)
    ]
    assert texts[0].strip() == texts[1].strip()


@pytest.mark.parametrize("shell", ["sh", "dash", "bash", "busybox"])
def test_shells_accept_it(shell: str, host: Host, bundle: Bundle) -> None:
    if not shutil.which(shell):
        pytest.skip(f"no {shell} here")
    (host.folder / "s").write_text(render(host.startup(bundle)))
    argv: list[str | Path] = [shell, *(["sh"] if shell == "busybox" else []), "-n", host.folder / "s"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="no shellcheck: Debian's package shellcheck")
def test_shellcheck_has_nothing_to_say(host: Host, bundle: Bundle) -> None:
    (host.folder / "s").write_text(render(host.startup(bundle)))
    done = subprocess.run(["shellcheck", host.folder / "s"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")


def pretend_python(host: Host, version: str, name: str = "python3") -> None:
    path = host.tools / name
    path.unlink(missing_ok=True)
    path.write_text(f"#!/bin/sh\nprintf '%s\\n' '{version}'\n")
    path.chmod(0o755)


def run_without_others(host: Host, script: str) -> tuple[int, dict[str, str]]:
    """Run a script that finds no Python but those on PATH."""
    path = host.folder / "s.sh"
    # The two fixed places have this machine's interpreter.
    path.write_text(script.replace("/usr/bin/python3 /usr/local/bin/python3;", ";"))
    argv = ["/bin/sh", str(path)]
    done = subprocess.run(
        argv, capture_output=True, env=host.environment(), timeout=60, stdin=subprocess.DEVNULL
    )
    answer: dict[str, str] = json.loads(done.stdout)
    return done.returncode, answer


@pytest.mark.parametrize(("version", "said"), [("3 8", "3.8"), ("3 9", "3.9"), ("2 7", "2.7")])
def test_too_old_a_python_is_refused(version: str, said: str, host: Host, bundle: Bundle) -> None:
    pretend_python(host, version)
    status, answer = run_without_others(host, render(host.startup(bundle)))
    assert (status, answer["status"]) == (2, "failed")
    assert answer["reason"] == f"python3 {said} is too old: Iris needs 3.10 or later"
    assert not host.root.exists()


@pytest.mark.parametrize("version", ["3.6", "3.8", "3.9"])
def test_a_real_old_python_is_refused(version: str, tmp_path: Path, bundle: Bundle) -> None:
    host = Host(tmp_path / "h", find_python(version))
    status, answer = run_without_others(host, render(host.startup(bundle)))
    assert (status, answer["reason"]) == (2, f"python3 {version} is too old: Iris needs 3.10 or later")


def test_a_controller_needs_a_newer_one(host: Host, bundle: Bundle) -> None:
    pretend_python(host, "3 10")
    _, answer = run_without_others(host, render(host.controller(bundle)))
    assert answer["reason"] == "python3 3.10 is too old: Iris needs 3.11 or later"


@pytest.mark.parametrize("version", ["", "nonsense", "$(touch pwned)", "3 x"])
def test_no_python_at_all_is_said(version: str, host: Host, bundle: Bundle) -> None:
    pretend_python(host, version)
    if not version:
        (host.tools / "python3").unlink()
    status, answer = run_without_others(host, render(host.startup(bundle)))
    assert (status, answer["reason"]) == (2, "there is no python3 on this host: Iris needs 3.10 or later")
    with pytest.raises(Refused, match="h1: python: there is no python3"):
        parse_outcome(json.dumps(answer), status).check("h1")


def test_a_newer_one_beside_an_old_one_is_found(host: Host, bundle: Bundle) -> None:
    pretend_python(host, "3 8")
    (host.tools / "python3.11").symlink_to(host.python)
    status, answer = run_without_others(host, render(host.startup(bundle)))
    assert (status, answer["status"]) == (0, "running")


def test_a_script_that_is_no_file_says_so(host: Host, bundle: Bundle) -> None:
    script = render(host.startup(bundle)).encode()
    done = subprocess.run(
        ["/bin/sh", "-s"], input=script, capture_output=True, env=host.environment(), timeout=30
    )
    assert "the script has to be a file" in json.loads(done.stdout)["reason"]


def test_half_a_standard_library_is_said(host: Host, bundle: Bundle) -> None:
    script = render(host.startup(bundle))
    data = base64.b64encode(b"no zip").decode()
    cut = re.sub(r"(^#P .*\n)+", f"#P {data}\n", script, flags=re.M)
    outcome = host.run(cut)
    assert (outcome.exit_status, outcome.step) == (2, "python")
    assert "install the full python3" in outcome.reason


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bundle": None}, "neither a container image nor a bundle"),
        ({"bundle": BundleSource("abc", path="/x")}, "64 hexadecimal digits"),
        ({"bundle": BundleSource("a" * 64)}, "a path or a url"),
        ({"bundle": BundleSource("a" * 64, url="http://x/y", ca="x")}, "https://"),
        ({"files": {"../x": ""}}, "plain names"),
        ({"secret": "a/b"}, "plain names"),
        ({"env": {"A=B": ""}}, "environment variable"),
        ({"arguments": ("a\0b",)}, "null byte"),
        ({"health_s": 0.0}, "health_s"),
        ({"bundle": BundleSource(kinds={"3.10 x86_64": "abc"})}, "64 hexadecimal digits"),
        ({"bundle": BundleSource(kinds={"3.10 x86_64": "a" * 64}, url="https://x/y", ca="x")}, "ends in /"),
        ({"dead_man": DeadMan(1, deletes_slice=True)}, "needs slice-facts.json"),
        (
            {"dead_man": DeadMan(1, deletes_slice=True), "files": {"slice-facts.json": {"zone": "z"}}},
            "endpoint: expected",
        ),
        ({"files": {"x": os.urandom(LONGEST_SCRIPT).hex()}}, "at most"),
    ],
)
def test_documents_that_cannot_work_are_refused_here(
    changes: dict[str, object], words: str, host: Host, bundle: Bundle
) -> None:
    with pytest.raises(ValueError, match=words):
        # Each of its own type, which a dict of all of them does not tell.
        render(replace(host.startup(bundle), **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "root", ["relative", "/with space", "/with%percent", "/$(x)", "/a/../b", "/" + "x" * 100]
)
def test_roots_that_a_unit_cannot_hold_are_refused(root: str, host: Host, bundle: Bundle) -> None:
    outcome = host.run(replace(host.startup(bundle), root=root))
    assert (outcome.exit_status, outcome.step) == (2, "root")


@pytest.mark.parametrize(
    ("text", "status", "error"),
    [
        ("", 255, Unreachable),
        ("Welcome!\n", 0, Unreachable),
        ('{"status": "failed", "step": "s", "reason": "r", "log_tail": ""}', 1, StartFailed),
        ('{"status": "failed", "step": "s", "reason": "r", "log_tail": ""}', 2, Refused),
        ('{"status": "failed", "step": "s", "reason": "r", "log_tail": ""}', 3, StartFailed),
        ('{"status": "failed", "step": "s", "reason": "r", "log_tail": ""}', 4, Unreachable),
    ],
)
def test_answers_become_errors_by_the_callers_next_move(
    text: str, status: int, error: type[Exception]
) -> None:
    with pytest.raises(error):
        parse_outcome(text, status).check("h1")


def test_an_answer_is_found_behind_what_login_files_say() -> None:
    assert parse_outcome('Welcome\n{"a": 1}\n{"status": "running"}\n', 0).check("h1").status == "running"


# systemd.

SYSTEMCTL = """#!{python} -I
import json, sys
with open({calls!r}, "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
if sys.argv[1] == "show":
    print("ActiveState=active\\nSubState=running\\nResult=success\\nMainPID=42")
"""


def systemd(host: Host, role: str = "worker", **service: object) -> tuple[Systemd, Path, Layout]:
    layout = Layout(host.root, role)
    layout.home.mkdir(parents=True)
    layout.service_file.write_text(json.dumps({"stop_s": 45.0, "health_s": 60.0, **service}))
    units, program = host.folder / "units", host.tools / "systemctl"
    units.mkdir()
    program.write_text(SYSTEMCTL.format(python=host.python, calls=str(host.folder / "calls")))
    program.chmod(0o755)
    return Systemd(layout, str(program), units), units / f"iris-{role}.service", layout


def systemctl_calls(host: Host) -> list[list[str]]:
    path = host.folder / "calls"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return [json.loads(line) for line in lines]


def test_a_unit_is_written_started_and_taken_away(host: Host) -> None:
    service, unit, _ = systemd(host)
    service.start()
    name = "iris-worker.service"
    assert systemctl_calls(host) == [
        ["daemon-reload"],
        ["reset-failed", name],
        ["enable", "--quiet", name],
        ["--no-block", "start", name],
    ]
    assert unit.stat().st_mode & 0o777 == 0o644
    status = service.status()
    assert (status.phase, status.pid) == ("running", 42)
    service.start()
    assert ["daemon-reload"] not in systemctl_calls(host)
    service.stop()
    service.remove()
    assert systemctl_calls(host)[:2] == [["stop", name], ["disable", "--quiet", name]]
    assert not unit.exists()
    service.stop()
    service.remove()
    assert systemctl_calls(host) == []


GOLDEN = """\
[Unit]
Description=Iris controller
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=300
StartLimitBurst=6

[Service]
Type=notify
NotifyAccess=main
ExecStart=/usr/bin/python3.11 -I -S /var/lib/iris-host/host.pyz exec --role controller --root /var/lib/iris-host
ExecStopPost=-/usr/bin/python3.11 -I -S /var/lib/iris-host/host.pyz left --role controller --root /var/lib/iris-host
Restart=on-failure
RestartPreventExitStatus=79
RestartSec=1
KillMode=mixed
TimeoutStartSec=61
TimeoutStopSec=65
OOMPolicy=continue
Delegate=yes

[Install]
WantedBy=multi-user.target
"""


def test_the_unit_is_what_it_should_be() -> None:
    layout = Layout(Path("/var/lib/iris-host"), "controller")
    facts = {"notifies": True, "stop_s": 45.0, "health_s": 60.0}
    assert render_unit(layout, "/usr/bin/python3.11", facts) == GOLDEN
    unit = render_unit(layout, "/usr/bin/python3.11", facts | {"places": ["/var/lib/iris", '/a b/50%"\\']})
    assert 'RequiresMountsFor="/var/lib/iris" "/a b/50%%\\"\\\\"\n' in unit


@pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="no systemd-analyze: Debian's package systemd"
)
@pytest.mark.parametrize("role", ["worker", "controller"])
def test_systemd_understands_the_unit(role: str, host: Host) -> None:
    service, unit, layout = systemd(host, role, notifies=role == "controller")
    layout.program.touch()
    service.start()
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=60)
    about_ours = [line for line in done.stderr.splitlines() if unit.name in line]
    assert (done.returncode, about_ours) == (0, [])


@pytest.mark.parametrize(
    ("facts", "phase"),
    [
        ({"ActiveState": "active", "SubState": "running", "MainPID": "1"}, "ready"),
        ({"ActiveState": "activating", "SubState": "start", "MainPID": "1"}, "starting"),
        ({"ActiveState": "activating", "SubState": "auto-restart", "MainPID": "0"}, "backing_off"),
        ({"ActiveState": "failed", "SubState": "failed", "Result": "exit-code"}, "gave_up"),
        ({"ActiveState": "failed", "SubState": "failed", "ExecMainStatus": "79"}, "unwanted"),
        ({"ActiveState": "inactive", "SubState": "dead"}, "stopped"),
        ({"ActiveState": "inactive", "SubState": "dead", "Job": "0"}, "stopped"),
        ({"ActiveState": "inactive", "SubState": "dead", "Job": "117"}, "starting"),
        ({"ActiveState": "deactivating", "SubState": "stop-post"}, "stopped"),
    ],
)
def test_systemds_words_in_ours(facts: dict[str, str], phase: str) -> None:
    assert unit_status(facts, notifies=True).phase == phase


def test_what_systemd_runs_becomes_the_program(host: Host, bundle: Bundle) -> None:
    """`exec`: the same process, with the service's arguments and environment and the manager's socket."""
    host.run(host.startup(bundle, env={"NASTY": NASTY})).check("h1")
    host.run(host.startup(bundle), "stop").check("h1")
    argv = [str(host.python), "-I", "-S", str(host.root / "host.pyz"), "exec", "--role", "worker", "--root"]
    env = {"NOTIFY_SOCKET": "/run/x", "PYTHONPATH": "/evil"}
    with subprocess.Popen([*argv, str(host.root)], env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "hello from serve\n"
        environ = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
        process.terminate()
    assert host.starts()[-1] == process.pid
    assert b"NOTIFY_SOCKET=/run/x" in environ
    assert not [entry for entry in environ if entry.startswith(b"PYTHON")]


def test_a_unit_that_was_asked_for_without_systemd_is_an_error(host: Host, bundle: Bundle) -> None:
    if shutil.which("systemctl", path="/usr/local/sbin:/usr/sbin:/sbin"):
        pytest.skip("this machine has systemctl where every host looks for it")
    outcome = host.run(host.startup(bundle, manager="systemd"))
    assert (outcome.exit_status, outcome.step) == (3, "service")
