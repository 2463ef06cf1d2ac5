"""Controllers in the process table, whatever became of the files that name them.

A controller is known by its command line: it is `iris-controller`, or has its
options, and was given one of the cluster's places.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from iris_platform import processes
from iris_platform.launch import ProcessId
from iris_platform.paths import ClusterPaths

PROGRAMS = frozenset({"iris-controller", "iris_controller"})
# Of a controller's options only; `iris` has the other two as well.
OWN_OPTION = "--local-root"


def controllers_in_table(paths: ClusterPaths) -> list[ProcessId]:
    """The live controllers of this user that were given a place of the cluster."""
    wanted = {
        "--state-dir": os.path.realpath(paths.state_dir),
        "--pki-dir": os.path.realpath(paths.pki_dir),
        OWN_OPTION: os.path.realpath(paths.local_root),
    }
    pids = {pid for pid, words in processes.command_lines().items() if _is_controller(pid, words, wanted)}
    pids.discard(os.getpid())
    if not pids:
        return []
    # Between fork and exec a controller's child looks like one itself.
    parents = processes.parents()
    heads = sorted(pid for pid in pids if parents.get(pid) not in pids)
    found = [(pid, processes.start_time(pid)) for pid in heads]
    return [ProcessId(pid, started) for pid, started in found if started is not None]


def _is_controller(pid: int, words: Sequence[str], wanted: Mapping[str, str]) -> bool:
    # What starts a detached program has that program's command line in its own.
    if "-c" in words[1:4]:
        return False
    given = _options(words)
    if OWN_OPTION not in given and not any(os.path.basename(word) in PROGRAMS for word in words[:4]):
        return False
    return any(_full(pid, given[name]) == path for name, path in wanted.items() if name in given)


def _options(words: Sequence[str]) -> dict[str, str]:
    found = {}
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, joined, value = word.partition("=")
        found[name] = value if joined else following
    return found


def _full(pid: int, path: str) -> str:
    if not os.path.isabs(path):
        try:
            path = str(Path(f"/proc/{pid}/cwd").readlink() / path)
        except OSError:
            return ""
    return os.path.realpath(path)
