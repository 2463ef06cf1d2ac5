"""Runs the startup script on a host over SSH, and leaves nothing of it there."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from iris_platform.base import Refused
from iris_platform.bootstrap import Outcome, Startup, parse_outcome, render
from iris_platform.ssh import SshConnection

# For everything beside the script itself.
UPLOAD_S = 20.0


class CannotUpload(Refused):
    """The host has no room, or no right, for a temporary file."""


def run_script(
    connection: SshConnection,
    startup: Startup,
    words: Sequence[str],
    *,
    timeout_s: float,
    secret: bytes = b"",
) -> Outcome:
    """Upload the script to a directory of its own, run it there with `words`, and take it away.

    The outcome may be a failure: see `Outcome.check`.

    Raises:
        CannotUpload: the host keeps no temporary file; with its own words.
        Refused: the host's SSH server starts no command.
        Unreachable: no answer in time.
    """
    host = connection.address
    made = connection.run(["mktemp", "-d"], timeout_s=UPLOAD_S)
    directory = made.out.decode("utf-8", "replace").strip()
    if made.status or not directory.startswith("/"):
        raise CannotUpload(f"{host}: no temporary directory can be made: {words_of(made.err)}")
    try:
        path = f"{directory}/iris-host.sh"
        try:
            connection.put(render(startup).encode("ascii"), path, timeout_s=UPLOAD_S)
        except Refused as error:
            raise CannotUpload(str(error)) from error
        result = connection.run(["sh", path, *words], timeout_s=timeout_s, input=secret)
        return parse_outcome(result.out.decode("utf-8", "replace"), result.status)
    finally:
        if connection.is_alive:
            connection.run(["rm", "-rf", directory], timeout_s=UPLOAD_S)


def words_of(data: bytes) -> str:
    """What a command said on standard error, on one line."""
    return shlex.join(data.decode("utf-8", "replace").split())[:500] or "it said nothing"
