"""Ends what callers over SSH began here and nobody will see through: starts, and uploads to them.

A line that breaks does not end the command at its other end, and one that goes
silent not even its reading.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from iris_platform import processes
from iris_platform.bootstrap.host.layout import Layout
from iris_platform.names import UPLOAD_MARK, script_mark

END_S = 20.0
_BEGINNINGS = ("prepare", "install", "start")

_Commands = Mapping[int, Sequence[str]]


def end_unfinished(layout: Layout, cluster_id: str, root: str) -> None:
    """End the starts of a cluster's role on this host, and uploads to it; `root` as their callers had it.

    Each is left without what it waits for, and clears up after itself.

    Raises:
        StillAlive: something outlived SIGKILL.
    """
    mark = script_mark(layout.role, cluster_id, root)
    uploads = f"{layout.incoming}/"

    def shells(commands: _Commands) -> set[int]:
        return {pid for pid, words in commands.items() if _is_unfinished(words, mark, uploads)}

    def all_of_them() -> set[int]:
        return processes.with_descendants(shells(processes.command_lines()), processes.parents())

    def waited_for() -> set[int]:
        commands = processes.command_lines()
        found = shells(commands)
        cleaners = {pid for pid, words in commands.items() if words[0] == "rm"}
        return processes.with_descendants(found, processes.parents()) - found - cleaners

    def ended() -> bool:
        processes.kill_round(waited_for)
        return not shells(processes.command_lines())

    if not processes.wait_until(ended, END_S):
        processes.kill_all(all_of_them)


def _is_unfinished(words: Sequence[str], mark: str, uploads: str) -> bool:
    """Whether a command is `sh -c TEXT MARK SIZE WORD` of a start, or `sh -c TEXT MARK TEMPORARY` of an upload."""
    if list(words[:2]) != ["sh", "-c"] or len(words) < 6:
        return False
    if words[3] == mark:
        return words[5] in _BEGINNINGS
    return words[3] == UPLOAD_MARK and words[4].startswith(uploads)
