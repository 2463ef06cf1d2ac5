"""Lets a controller that is elsewhere log in to a host: one line in `authorized_keys`, and its removal.

The line says what had to be made for it, so that its removal leaves the host as
it was found. The key may run commands and nothing else.
"""

from __future__ import annotations

from iris_platform.base import Refused
from iris_platform.bootstrap.run import words_of
from iris_platform.ssh import CommandResult, SshConnection

CALL_S = 20.0
# Understood by OpenSSH and Dropbear alike; `restrict` is not.
OPTIONS = "no-agent-forwarding,no-port-forwarding,no-pty,no-X11-forwarding"

# Constant text: $1 is the line without its mark, $2 the mark. Its last part tells what was
# made: d the directory, f the file, n the newline that the file did not end with.
_COMMON = """\
umask 077
dir=$HOME/.ssh
file=$(readlink -f "$dir/authorized_keys" 2>/dev/null) || file=
[ -n "$file" ] || file=$dir/authorized_keys
"""
_ADD = (
    _COMMON
    + """\
made=
if [ -f "$file" ]; then
  lines=$(grep -F -- " $2-" "$file")
  case $lines in *"
"*) ;; "$1 $2-"*) exit 0 ;; esac
  line=$(printf '%s\\n' "$lines" | head -n 1)
  made=${line##*-}
fi
set -e
if [ -n "$made" ]; then
  cp -p "$file" "$file.iris"
  grep -vF -- " $2-" "$file" >"$file.iris" || [ $? = 1 ]
  printf '%s %s-%s\\n' "$1" "$2" "$made" >>"$file.iris"
  mv "$file.iris" "$file"
  exit 0
fi
made=x
if [ ! -d "$dir" ]; then mkdir -m 700 "$dir"; made=${made}d; fi
if [ ! -e "$file" ]; then : >"$file"; made=${made}f; fi
if [ -s "$file" ] && [ -n "$(tail -c 1 "$file")" ]; then echo >>"$file"; made=${made}n; fi
printf '%s %s-%s\\n' "$1" "$2" "$made" >>"$file"
"""
)
_NONE = 96
_FIND = (
    _COMMON
    + """\
[ -f "$file" ] || exit 96
grep -qF -- " $1-" "$file" || [ $? != 1 ] || exit 96
"""
)
_REMOVE = (
    _COMMON
    + """\
[ -f "$file" ] || exit 0
line=$(grep -F -- " $1-" "$file" | head -n 1)
[ -n "$line" ] || exit 0
set -e
made=${line##*-}
cp -p "$file" "$file.iris"
grep -vF -- " $1-" "$file" >"$file.iris" || [ $? = 1 ]
case $made in *n*) if [ -s "$file.iris" ]; then truncate -s -1 "$file.iris"; fi ;; esac
mv "$file.iris" "$file"
case $made in *f*) if [ ! -s "$file" ]; then rm "$file"; fi ;; esac
case $made in *d*) rmdir "$dir" 2>/dev/null || : ;; esac
"""
)


def invite(connection: SshConnection, key: str, cluster_id: str) -> None:
    """Let who has the SSH key `key` (`ssh-ed25519 AAAA...`) log in as our user; fine if it may already.

    Another key of the same cluster is shut out: it was of a controller in whose place
    this one is.

    Raises:
        Refused: the host's file cannot be written; in its own words.
        Unreachable: no answer.
    """
    _run(connection, _ADD, f"{OPTIONS} {key}", _mark(cluster_id))


def is_invited(connection: SshConnection, cluster_id: str) -> bool:
    """Whether there is a line of a cluster.

    Raises:
        Refused: the host's file cannot be read; in its own words.
        Unreachable: no answer.
    """
    done = _call(connection, _FIND, _mark(cluster_id))
    if done.status == _NONE:
        return False
    _check(connection, done)
    return True


def uninvite(connection: SshConnection, cluster_id: str) -> None:
    """Take the line of a cluster away; fine if there is none.

    Raises:
        Refused: the host's file cannot be written; in its own words.
        Unreachable: no answer.
    """
    _run(connection, _REMOVE, _mark(cluster_id))


def _mark(cluster_id: str) -> str:
    return f"iris-{cluster_id}"


def _run(connection: SshConnection, script: str, *words: str) -> None:
    _check(connection, _call(connection, script, *words))


def _call(connection: SshConnection, script: str, *words: str) -> CommandResult:
    return connection.run(["sh", "-c", script, "sh", *words], timeout_s=CALL_S)


def _check(connection: SshConnection, done: CommandResult) -> None:
    if done.status:
        raise Refused(f"{connection.address}: ~/.ssh/authorized_keys: {words_of(done.err)}")
