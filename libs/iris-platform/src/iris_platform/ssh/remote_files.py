"""Files of the other end, by commands alone: any host that runs commands has them.

Not SFTP: a server may lack it, its errors hide a full disk behind "Failure", it
has no open with a mode in one step, and it leaves its temporary files behind.
"""

from __future__ import annotations

import io
import os
import posixpath
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

from iris_platform.base import Refused
from iris_platform.names import UPLOAD_MARK
from iris_platform.ssh.connection import CommandResult
from iris_platform.ssh.errors import RemoteFileMissing

# argv, input, cap of the output in bytes
Run = Callable[[list[str], "bytes | BinaryIO", int], CommandResult]

# The size is compared because a connection that breaks looks like the end of the file.
_PUT = """
set -eu
umask 077
if [ ! -d "$5" ]; then
  echo "no such directory: $5" >&2
  exit 1
fi
trap 'rm -f -- "$1"' EXIT
trap 'exit 1' HUP INT TERM PIPE
cat > "$1"
size=$(($(wc -c < "$1")))
if [ "$size" -ne "$4" ]; then
  echo "only $size of $4 bytes arrived" >&2
  exit 1
fi
chmod "$3" "$1"
if [ -d "$2" ]; then
  echo "is a directory" >&2
  exit 1
fi
mv -f -- "$1" "$2"
"""
_MISSING = 44
# The mark tells the file from what the user's shell prints at its start.
_GET = """
[ -e "$1" ] || exit 44
[ ! -d "$1" ] || { echo "is a directory" >&2; exit 1; }
printf '%s\\n' "$2"
exec head -c "$3" -- "$1"
"""


def put(run: Run, where: str, data: bytes | Path, path: str, mode: int) -> None:
    """See `SshConnection.put`."""
    require_absolute(path)
    folder, name = posixpath.split(path)
    temporary = posixpath.join(folder, f".{name}.{os.urandom(8).hex()}.tmp")
    with closing(io.BytesIO(data) if isinstance(data, bytes) else data.open("rb")) as source:
        size = source.seek(0, os.SEEK_END)
        source.seek(0)
        argv = ["sh", "-c", _PUT, UPLOAD_MARK, temporary, path, f"{mode:o}", str(size), folder]
        done = run(argv, source, 1 << 16)
    if done.status:
        raise Refused(f"{where}: cannot write {path}: {_words(done)}")


def get(run: Run, where: str, path: str, max_bytes: int) -> bytes:
    """See `SshConnection.get`."""
    require_absolute(path)
    mark = os.urandom(16).hex()
    argv = ["sh", "-c", _GET, "iris-get", path, mark, str(max_bytes + 1)]
    # With room for what a shell prints at its start.
    done = run(argv, b"", max_bytes + 1 + (1 << 16))
    if done.status == _MISSING:
        raise RemoteFileMissing(f"{where}: {path} does not exist")
    _, marked, data = done.out.partition(f"{mark}\n".encode("ascii"))
    if done.status or not marked:
        raise Refused(f"{where}: cannot read {path}: {_words(done)}")
    if len(data) > max_bytes:
        raise Refused(f"{where}: {path} is larger than {max_bytes} bytes")
    return data


def require_absolute(path: str) -> None:
    # Relative to what is the server's affair, and `head` takes some names for options.
    if not path.startswith("/") or path.endswith("/"):
        raise ValueError(f"path: {path!r} is not the absolute path of a file")


def _words(done: CommandResult) -> str:
    lines = done.err.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else f"status {done.status}"
