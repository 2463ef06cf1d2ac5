"""`SshConnection` without a network, for the tests of those who use one.

It behaves: files are there after `put`, unknown commands end with 127, a host
that is down is `Unreachable`. Forwards lead to ports of this machine, since in
memory there is no other. Knows nothing of threads or time: a command that would
never end fails at once as one that took too long.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from iris_platform.base import Refused, Unreachable
from iris_platform.ssh.command_line import command_line
from iris_platform.ssh.connection import FILE_TIMEOUT_S, MAX_OUTPUT_BYTES, Chunk, CommandResult
from iris_platform.ssh.errors import RemoteFileMissing
from iris_platform.ssh.remote_files import require_absolute

# What `forward_remote` gives out for port 0.
FIRST_FREE_PORT = 40_000


class MemoryFile(NamedTuple):
    data: bytes
    mode: int


# What a command does: argv and standard input in, its end out; None never ends.
# It may raise a `PlatformError` to break the call, and change the host.
Program = Callable[[tuple[str, ...], bytes], "CommandResult | None"]


@dataclass
class MemoryHost:
    """A machine: its files, programs and ports, shared by all connections to it.

    `programs` are found by the whole argv, then by its first word. `calls` has
    every argv that ran, in order. `ports` says where `host:port` of there is on
    this machine; without an entry, at the same number. `remote_ports` are the
    forwards that are held from there to here.
    """

    address: str = "root@memory:22"
    files: dict[str, MemoryFile] = field(default_factory=dict)
    directories: set[str] = field(default_factory=lambda: {"/", "/tmp"})
    programs: dict[tuple[str, ...], Program] = field(default_factory=dict)
    calls: list[tuple[str, ...]] = field(default_factory=list)
    ports: dict[tuple[str, int], int] = field(default_factory=dict)
    remote_ports: dict[int, tuple[str, int]] = field(default_factory=dict)
    is_down: bool = False

    def answer(self, argv: Sequence[str], out: bytes = b"", status: int = 0, err: bytes = b"") -> None:
        """Let a command end like this whenever it is run."""
        self.programs[tuple(argv)] = lambda argv, data: CommandResult(status, out, err)

    def connect(self) -> MemoryConnection:
        """Dial it.

        Raises:
            Unreachable: it is down.
        """
        if self.is_down:
            raise Unreachable(f"{self.address}: no SSH connection: the host is down")
        return MemoryConnection(self)


class MemoryConnection:
    """A connection to a `MemoryHost`; see `SshConnection`."""

    def __init__(self, host: MemoryHost) -> None:
        self._host = host
        self._closed = False

    @property
    def address(self) -> str:
        return self._host.address

    @property
    def is_alive(self) -> bool:
        return not (self._closed or self._host.is_down)

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        input: bytes = b"",  # noqa: A002 - its name in subprocess.run
        max_output: int = MAX_OUTPUT_BYTES,
    ) -> CommandResult:
        command_line(argv)
        self._require_alive()
        words = tuple(argv)
        self._host.calls.append(words)
        program = self._host.programs.get(words) or self._host.programs.get(words[:1])
        if program is None:
            return CommandResult(127, b"", f"sh: 1: {words[0]}: not found\n".encode())
        ended = program(words, input)
        if ended is None:
            raise Unreachable(
                f"{self.address}: {words} did not end within {timeout_s:g} s; it may still be running"
            )
        self._require_alive()
        cut = max(len(ended.out), len(ended.err)) > max_output
        return CommandResult(ended.status, ended.out[:max_output], ended.err[:max_output], cut)

    @contextmanager
    def stream(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        input: bytes = b"",  # noqa: A002 - its name in subprocess.run
        max_output: int = MAX_OUTPUT_BYTES,
    ) -> Iterator[_Played]:
        yield _Played(self.run(argv, timeout_s=timeout_s, input=input, max_output=max_output))

    def put(
        self, data: bytes | Path, path: str, mode: int = 0o600, *, timeout_s: float = FILE_TIMEOUT_S
    ) -> None:
        require_absolute(path)
        content = data if isinstance(data, bytes) else data.read_bytes()
        self._require_alive()
        if path in self._host.directories:
            raise Refused(f"{self.address}: cannot write {path}: is a directory")
        if posixpath.dirname(path) not in self._host.directories:
            raise Refused(f"{self.address}: cannot write {path}: no such directory")
        self._host.files[path] = MemoryFile(content, mode)

    def get(self, path: str, max_bytes: int, *, timeout_s: float = FILE_TIMEOUT_S) -> bytes:
        require_absolute(path)
        self._require_alive()
        if path in self._host.directories:
            raise Refused(f"{self.address}: cannot read {path}: is a directory")
        if path not in self._host.files:
            raise RemoteFileMissing(f"{self.address}: {path} does not exist")
        data = self._host.files[path].data
        if len(data) > max_bytes:
            raise Refused(f"{self.address}: {path} is larger than {max_bytes} bytes")
        return data

    @contextmanager
    def forward_local(self, host: str, port: int) -> Iterator[str]:
        self._require_alive()
        yield f"127.0.0.1:{self._host.ports.get((host, port), port)}"

    @contextmanager
    def forward_remote(self, bind_port: int, target: tuple[str, int]) -> Iterator[int]:
        self._require_alive()
        taken = self._host.remote_ports
        port = bind_port or next(p for p in range(FIRST_FREE_PORT, 65536) if p not in taken)
        if port in taken:
            raise Refused(f"{self.address}: the server forwards no port {port} to us; it is taken there")
        taken[port] = target
        try:
            yield port
        finally:
            del taken[port]

    def close(self) -> None:
        self._closed = True

    def _require_alive(self) -> None:
        if not self.is_alive:
            raise Unreachable(f"{self.address}: the connection is gone; connect again")


class _Played:
    """A command that ended before it was asked."""

    def __init__(self, result: CommandResult) -> None:
        self._result = result
        self.status: int | None = None
        self.truncated = False

    def __iter__(self) -> Iterator[Chunk]:
        for data, is_error in ((self._result.out, False), (self._result.err, True)):
            if data:
                yield Chunk(data, is_error)
        self.truncated = self._result.truncated
        self.status = self._result.status
