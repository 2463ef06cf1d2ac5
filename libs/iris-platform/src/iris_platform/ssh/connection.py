"""What a connection to a host can do, whoever implements it.

`iris_platform.ssh.client` does it over the network, `iris_platform.ssh.memory`
in memory; both pass `tests/platform/ssh/test_contract.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from iris_platform.ssh.target import UserConfig

MAX_OUTPUT_BYTES = 1 << 20
# Enough for any wheel bundle on a slow line, and still an end.
FILE_TIMEOUT_S = 600.0


@dataclass(frozen=True)
class SshSettings:
    """How hosts are reached; the defaults are those of `SshConfig` in config.proto.

    `connect_timeout_s` is one budget for name, TCP, banner, key exchange and
    authentication, of jump hosts too. A connection without a sign of life for
    three times `keepalive_s` is given up. `user_config` is the user's own
    `~/.ssh/config`; None honours none.
    """

    connect_timeout_s: float = 30.0
    keepalive_s: float = 15.0
    user_config: UserConfig | None = None


@dataclass(frozen=True)
class CommandResult:
    """How a command ended.

    `status` is 128 + n where signal n ended it, as shells say it. `truncated`:
    one of the two was longer than asked for, and has only its beginning.
    """

    status: int
    out: bytes
    err: bytes
    truncated: bool = False


class Chunk(NamedTuple):
    """A piece of a command's output, as it came."""

    data: bytes
    is_error: bool


class CommandStream(Protocol):
    """A running command. Iterate to the end, then ask for `status`."""

    def __iter__(self) -> Iterator[Chunk]:
        """Output as it comes.

        Raises:
            Unreachable: the time is over, or the connection broke.
        """
        ...

    @property
    def status(self) -> int | None:
        """As in `CommandResult`; None before the end."""
        ...

    @property
    def truncated(self) -> bool:
        """Whether output beyond the cap was dropped so far."""
        ...


class SshConnection(Protocol):
    """An authenticated connection to one host; may be used by many threads at once.

    Every call has a deadline. After `Unreachable` it is not known what happened
    at the other end; `is_alive` says whether the connection is still of use.
    """

    @property
    def address(self) -> str:
        """`user@host:port`, for messages."""
        ...

    @property
    def is_alive(self) -> bool: ...

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        input: bytes = b"",  # noqa: A002 - its name in subprocess.run
        max_output: int = MAX_OUTPUT_BYTES,
    ) -> CommandResult:
        """Run a command to its end; no shell of ours between, quoting is done here.

        `input` is its standard input and the only way to hand over secrets.
        `max_output` bounds standard output and standard error, each, in bytes.
        The end of a command is the end of its output: what it leaves behind
        must have redirected its own.

        Raises:
            Unreachable: no end within `timeout_s`. The channel was closed, so
                the command reads end-of-file and writes into a broken pipe; it
                was not killed.
            ValueError: `argv` is empty, has a NUL, or is too long (100 kB).
        """
        ...

    def stream(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        input: bytes = b"",  # noqa: A002 - its name in subprocess.run
        max_output: int = MAX_OUTPUT_BYTES,
    ) -> AbstractContextManager[CommandStream]:
        """Like `run`, with the output as it comes; leaving the context hangs up."""
        ...

    def put(
        self, data: bytes | Path, path: str, mode: int = 0o600, *, timeout_s: float = FILE_TIMEOUT_S
    ) -> None:
        """Write a file, whole or not at all; its directory must exist and `path` is absolute.

        Raises:
            Refused: no such directory, no space, not allowed; with the host's words.
            Unreachable: it is not known whether the file is the new or the old one.
            OSError: the local file cannot be read.
            ValueError: the path is not that of a file.
        """
        ...

    def get(self, path: str, max_bytes: int, *, timeout_s: float = FILE_TIMEOUT_S) -> bytes:
        """Read a whole file; `path` is absolute.

        Raises:
            RemoteFileMissing: there is none.
            Refused: it is larger than `max_bytes`, or cannot be read.
            Unreachable: no answer.
        """
        ...

    def forward_local(self, host: str, port: int) -> AbstractContextManager[str]:
        """A loopback address (`127.0.0.1:PORT`) here that reaches `host:port` from there."""
        ...

    def forward_remote(self, bind_port: int, target: tuple[str, int]) -> AbstractContextManager[int]:
        """A port on the loopback interface there that reaches `target` from here.

        `bind_port` 0 takes a free one.

        Raises:
            Refused: the server does not forward, or the port is taken.
            Unreachable: the server does not answer.
        """
        ...

    def close(self) -> None:
        """Hang up; may be called twice."""
        ...
