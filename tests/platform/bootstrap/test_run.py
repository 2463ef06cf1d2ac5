"""The startup script runs in a directory of its own, and nothing of it stays."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from iris_platform.bootstrap.run import _RUN
from iris_platform.processes import wait_until


def begin(
    folder: Path, script: bytes, *words: str, size: int | None = None, run: str = _RUN
) -> subprocess.Popen[bytes]:
    """The command as a host runs it, with temporary files in a folder."""
    # As a host's SSH server starts it, whatever whoever runs the tests ignores.
    argv = [
        "env",
        "--default-signal=HUP,TERM,PIPE",
        "sh",
        "-c",
        run,
        "sh",
        str(len(script) if size is None else size),
        *words,
    ]
    environ = {**os.environ, "TMPDIR": str(folder)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(argv, env=environ, start_new_session=True, **pipes)  # type: ignore[call-overload,no-any-return]  # pipes


def test_the_script_has_its_words_and_its_secret(tmp_path: Path) -> None:
    script = b'echo "$# $1 $2"; cat; exit 3\n'
    with begin(tmp_path, script, "start", "a b") as process:
        out, _ = process.communicate(script + b"secret\n", timeout=20)
    assert (process.returncode, out) == (3, b"2 start a b\nsecret\n")
    assert not list(tmp_path.iterdir())


def test_half_a_script_is_not_run(tmp_path: Path) -> None:
    with begin(tmp_path, b"echo ran\n", size=100) as process:
        out, err = process.communicate(b"echo ran\n", timeout=20)
    assert (process.returncode, out) == (97, b"")
    assert b"only 9 of 100 bytes" in err
    assert not list(tmp_path.iterdir())


def test_no_place_for_it(tmp_path: Path) -> None:
    nowhere = _RUN.replace("/dev/shm", "/proc/none").replace("room /run", "room /proc/none")
    with begin(tmp_path / "none", b"echo ran\n", run=nowhere) as process:
        out, err = process.communicate(b"echo ran\n", timeout=20)
    assert (process.returncode, out) == (97, b"")
    assert b"none" in err


def test_where_the_temporary_directory_takes_nothing_it_runs_in_memory(tmp_path: Path) -> None:
    script = b'echo "$0"\n'
    with begin(tmp_path / "none", script) as process:
        out, _ = process.communicate(script, timeout=20)
    assert process.returncode == 0
    path = Path(out.decode().strip())
    assert path.parts[:2] in (("/", "dev"), ("/", "run")) and not path.parent.exists()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGPIPE])
def test_a_broken_line_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    script = b"echo up; exec sleep 1000\n"
    with begin(tmp_path, script) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(script)
        process.stdin.flush()
        assert process.stdout.readline() == b"up\n"
        os.killpg(process.pid, number)
        assert process.wait(20) != 0
    assert wait_until(lambda: not list(tmp_path.iterdir()), 20)
