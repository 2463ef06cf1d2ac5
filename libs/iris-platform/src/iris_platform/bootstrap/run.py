"""Runs the startup script on a host over SSH, and leaves nothing of it there."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from iris_platform.base import Refused
from iris_platform.bootstrap import Outcome, Startup, parse_outcome, render
from iris_platform.names import LABEL_CLUSTER_ID, script_mark
from iris_platform.ssh import SshConnection

# For everything beside what the script does.
UPLOAD_S = 20.0
_NO_ROOM = 97

# Constant text: $1 is the script's size in bytes, the others are its words. The script comes
# on standard input with its secret behind it. One command, with a trap of its own: whatever
# becomes of us, nothing stays on the host. A full disk must not keep anybody from stopping
# what runs there: then it goes where there is room in memory.
_RUN = """\
umask 077
size=$1
shift
directory=
trap 'rm -rf -- "$directory"' EXIT
trap 'exit 1' HUP INT TERM PIPE
room() {
  directory=$(TMPDIR=$1 mktemp -d) || return 1
  script=$directory/iris-host.sh
  head -c "$size" /dev/zero >"$script" && return
  rm -rf -- "$directory"
  return 1
}
room "${TMPDIR:-/tmp}" || room /dev/shm || room /run || exit 97
head -c "$size" >"$script" || exit 97
came=$(($(wc -c <"$script")))
if [ "$came" -ne "$size" ]; then
  echo "only $came of $size bytes of the script arrived" >&2
  exit 97
fi
sh "$script" "$@"
"""


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
    """Run the script there with `words`, in a directory of its own that goes with it.

    The outcome may be a failure: see `Outcome.check`.

    Raises:
        CannotUpload: the host keeps no temporary file; with its own words.
        Refused: the host's SSH server starts no command.
        Unreachable: no answer in time.
    """
    script = render(startup).encode("ascii")
    spec = startup.spec
    mark = script_mark(spec.role, spec.labels.get(LABEL_CLUSTER_ID, ""), startup.root)
    argv = ["sh", "-c", _RUN, mark, str(len(script)), *words]
    result = connection.run(argv, timeout_s=UPLOAD_S + timeout_s, input=script + secret)
    if result.status == _NO_ROOM:
        raise CannotUpload(
            f"{connection.address}: the script cannot be put into a temporary directory: {words_of(result.err)}"
        )
    return parse_outcome(result.out.decode("utf-8", "replace"), result.status)


def words_of(data: bytes) -> str:
    """What a command said on standard error, on one line."""
    return shlex.join(data.decode("utf-8", "replace").split())[:500] or "it said nothing"
