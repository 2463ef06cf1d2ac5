"""Runs a command where hosts can be made: in namespaces that no packet leaves and nothing survives.

    python -m tests.harness.hosts.sealed [--no-bases] COMMAND [ARGUMENT..]

The command gets a network of its own (loopback, down to nothing else), mounts of
its own with an empty /run, and a process tree of its own, which the kernel kills
as a whole when this process ends, however it ends. Its exit status is passed on.
Before that, bare base trees are built if the cache has none; that takes a few
minutes once, and the network; not with `--no-bases`, for hosts like this machine. Where no host can be made anyway, the command runs
as it is, and its tests skip.
"""

from __future__ import annotations

import json
import os
import sys

from tests.harness.hosts import bases, cgroups
from tests.harness.hosts.needs import SEALED, programs_missing

SEAL = """\
set -eu
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/netns
ip link set lo up
exec "$@"
"""


def main(command: list[str]) -> int:
    no_bases = command[:1] == ["--no-bases"]
    command = command[1:] if no_bases else command
    if not command:
        print(__doc__, file=sys.stderr)
        return 2
    # `ip` and `nft` are not on everybody's path.
    os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    if why := programs_missing():
        print(f"sealed: runs as it is, since {why}", file=sys.stderr)
        os.execvp(command[0], command)
    missing = [] if no_bases else bases.missing()
    if missing:
        print(f"sealed: building bare {' and '.join(missing)}, once", file=sys.stderr, flush=True)
    why_not = bases.build_missing() if missing else {}
    for base, why in why_not.items():
        print(f"sealed: no bare {base}: {why}", file=sys.stderr, flush=True)
    os.environ[bases.WHY_NOT] = json.dumps(why_not)
    os.environ[SEALED] = "1"
    os.environ[cgroups.RUN] = f"{cgroups.PREFIX}{os.getpid()}"
    _sweep_after_us(os.environ[cgroups.RUN])
    apart = ["unshare", "--net", "--mount", "--pid", "--ipc", "--fork", "--kill-child=KILL", "--mount-proc"]
    # The first process of a tree ignores most signals and has to reap the others: tini does both.
    os.execvp(apart[0], [*apart, "sh", "-c", SEAL, "seal", "tini-static", "-s", "-g", "--", *command])


def _sweep_after_us(run: str) -> None:
    """Leaves a process that removes our cgroups, which no namespace takes along, when we are gone.

    It holds nothing of ours but the reading end of a pipe, which ends with the
    last process that has inherited the writing end: all of them.
    """
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(nothing, stream)
        os.close(writing)
        os.read(reading, 1)
        cgroups.wait_and_remove_run(run)
        os._exit(0)
    os.close(reading)
    os.set_inheritable(writing, True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
