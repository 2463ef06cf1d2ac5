"""Writes the startup script: constant shell text, and two encoded blocks behind it.

The shell's part finds a Python; everything else is `iris_platform.bootstrap.host`,
which travels as a zip file and is run from memory, so that a host on which nothing
can be written still says why.
"""

from __future__ import annotations

import base64
import json
import textwrap
from functools import cache
from importlib import resources

from iris_platform.bootstrap.document import OLDEST_MINOR, OLDEST_MINOR_OF_SCRIPT, Startup, to_document
from iris_platform.zips import make_zip

# A TPU VM's metadata value holds 256 KiB; the other half is room for names and values.
LONGEST_SCRIPT = 128 * 1024

_PARTS = (
    "__init__.py",
    "begin.py",
    "calls.py",
    "cloud.py",
    "container.py",
    "dead_man.py",
    "download.py",
    "end.py",
    "facts.py",
    "fetch.py",
    "health.py",
    "keeper.py",
    "layout.py",
    "lock.py",
    "look.py",
    "main.py",
    "outcome.py",
    "remove.py",
    "report.py",
    "serve.py",
    "service.py",
    "start.py",
    "status.py",
    "supervisor.py",
    "unfinished.py",
)
_SHARED = (
    "cgroup.py",
    "file_lock.py",
    "files.py",
    "health_port.py",
    "metadata.py",
    "names.py",
    "processes.py",
    "self_deletion.py",
    "bootstrap/notify.py",
)
_MAIN = "import sys\nfrom iris_platform.bootstrap.host.main import main\nsys.exit(main(sys.argv[1:]))\n"

# Neither holds a single quote: the shell's text has one around the loader.
_LOADER = """\
import base64, json, os, sys
with open(sys.argv[1], "rb") as script:
    lines = script.read().split(b"\\n")
def block(mark):
    return base64.b64decode(b"".join(line[len(mark):] for line in lines if line.startswith(mark)))
def fail(reason):
    print(json.dumps({"status": "failed", "step": "python", "reason": reason, "log_tail": ""}))
    sys.exit(2)
program, document = block(b"#P "), json.loads(block(b"#D ") or b"{}")
if not document:
    fail("the script has to be a file, and whole: upload it, then run sh FILE")
memory = os.memfd_create("iris-host")
with open(memory, "wb", closefd=False) as file:
    file.write(program)
sys.path.insert(0, "/proc/self/fd/%d" % memory)
try:
    from iris_platform.bootstrap.host.main import main
except ImportError as error:
    fail("this python3 lacks a part of its standard library (%s): install the full python3" % error)
sys.exit(main(sys.argv[2:], document, program))
"""
_SHELL = """\
#!/bin/sh
# Starts Iris on this host. Made by a program; all data is in the encoded lines at
# the end, and none of it is ever shell text.
#   sh FILE [start]                             a secret, where one is needed, on standard input
#   sh FILE probe|prepare|install|status|stop|remove    answers are one JSON object on standard output
set -u
umask 077
least={least}
fail() {{
  printf '{{"status": "failed", "step": "python", "reason": "%s", "log_tail": ""}}\\n' "$1"
  exit 2
}}
found='' seen=''
for name in python3 python3.13 python3.12 python3.11 python3.10 /usr/bin/python3 /usr/local/bin/python3; do
  path=$(command -v "$name") || continue
  version=$("$path" -I -S -c 'import sys; print("%d %d" % sys.version_info[:2])' 2>/dev/null </dev/null) || continue
  major=${{version%% *}} minor=${{version##* }}
  case $major$minor in '' | *[!0-9]*) continue ;; esac
  if [ "$major" -eq 3 ] && [ "$minor" -ge "$least" ]; then
    found=$path
    break
  fi
  seen=${{seen:-$major.$minor}}
done
if [ -z "$found" ]; then
  [ -z "$seen" ] || fail "python3 $seen is too old: Iris needs 3.$least or later"
  fail "there is no python3 on this host: Iris needs 3.$least or later"
fi
[ -f "$0" ] || fail "the script has to be a file, and whole: upload it, then run sh FILE"
exec "$found" -I -S -c '
{loader}' "$0" "$@"
"""


def render(startup: Startup) -> str:
    """The startup script of one role on one host, for SSH hosts and cloud machines alike.

    Upload it and run `sh FILE` with the secret, if any, on standard input; as a
    cloud machine's startup script it needs neither. `parse_outcome` reads what it
    prints. The same `startup` makes the same text.

    Raises:
        ValueError: a field cannot be used, or the script would be too long.
    """
    document = json.dumps(to_document(startup), sort_keys=True).encode("ascii")
    image = startup.spec.container.image
    least = OLDEST_MINOR_OF_SCRIPT if image else OLDEST_MINOR[startup.spec.role]
    text = _SHELL.format(least=least, loader=_LOADER)
    script = text + _block("#D ", document) + _block("#P ", host_program())
    if len(script) > LONGEST_SCRIPT:
        raise ValueError(
            f"the startup script has {len(script)} bytes, at most {LONGEST_SCRIPT}: shorten its data"
        )
    return script


@cache
def host_program() -> bytes:
    """The program that runs on hosts, as a zip file that any Python 3.10 or later runs."""
    package = resources.files("iris_platform")
    members = {
        "__main__.py": _MAIN.encode("ascii"),
        # Instead of ours, which import what no host needs.
        "iris_platform/__init__.py": b"",
        "iris_platform/bootstrap/__init__.py": b"",
    }
    for name in (*_SHARED, *(f"bootstrap/host/{part}" for part in _PARTS)):
        members[f"iris_platform/{name}"] = package.joinpath(*name.split("/")).read_bytes()
    return make_zip(members)


def _block(mark: str, data: bytes) -> str:
    # Comments to the shell, which never gets there.
    lines = textwrap.wrap(base64.b64encode(data).decode("ascii"), 100)
    return "".join(f"{mark}{line}\n" for line in lines)
