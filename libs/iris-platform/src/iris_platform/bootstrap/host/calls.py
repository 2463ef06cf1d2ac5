"""Programs of the host that the script calls: argv only, each with a deadline."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from iris_platform.bootstrap.host.outcome import HOST_TROUBLE, UNREACHABLE, Failure

# Where root's tools are, also for users whose PATH leaves that out.
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
_MOST_OUTPUT = 4000
BEFORE_S = 60.0


def find_program(name: str, environ: Mapping[str, str]) -> str | None:
    """A program of the host by its name, as an absolute path."""
    return shutil.which(name, path=f"{environ.get('PATH', '/usr/bin:/bin')}:{_SBIN}")


def call(
    step: str,
    argv: Sequence[str],
    timeout_s: float,
    env: Mapping[str, str] | None = None,
    accept: Sequence[int] = (0,),
) -> tuple[int, str]:
    """Run a program; returns its exit status and what it said, both streams in one.

    Raises:
        Failure: it ended with a status that is not accepted, or not in time.
    """
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            env=None if env is None else dict(env),
        )
    except subprocess.TimeoutExpired as error:
        raise Failure(step, f"{argv[0]} did not end within {timeout_s:g} s", UNREACHABLE) from error
    except OSError as error:
        raise Failure(step, f"cannot start {argv[0]}: {error.strerror}", HOST_TROUBLE) from error
    output = done.stdout.decode("utf-8", "replace").strip()
    if done.returncode not in accept:
        words = " ".join(argv[:2])
        raise Failure(
            step, f"{words} failed with status {done.returncode}", HOST_TROUBLE, output[-_MOST_OUTPUT:]
        )
    return done.returncode, output


def run_before(service: Mapping[str, Any], out: int | None = subprocess.DEVNULL) -> None:
    """What is done before each start of a program and after its end; `out` is where that is heard.

    Whether it succeeded shows at the start.
    """
    env = {**os.environ, **service.get("env", {})}
    for argv in service.get("pre", ()):
        with suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(
                argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env, timeout=BEFORE_S, check=False
            )
