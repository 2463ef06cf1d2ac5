"""Everything under a local root, whoever's it is and whatever its records say.

For the proof that nothing is left: what a platform lists is only what carries
its own identity and can be read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from iris_platform import processes
from iris_platform.base import Unreachable
from iris_platform.local.agents import START_MARK
from iris_platform.local.disk import SliceStore
from iris_platform.names import LABEL_CLUSTER_ID, parse_slice_name


@dataclass(frozen=True)
class Found:
    """A slice that is on disk or in the process table.

    `zone` is None where its record cannot be read; `trouble` then says why.
    `running` counts its hosts of which some process lives.
    """

    name: str
    cluster_id: str
    zone: str | None
    hosts: int
    running: int
    trouble: str = ""


def take_census(root: Path) -> list[Found]:
    """Every slice under a root, by name.

    Raises:
        Unreachable: the root is there but cannot be listed.
    """
    store = SliceStore(root.absolute())
    running = _running(root.resolve())
    names = {*store.names(), *running}
    return [_found(store, name, len(running.get(name, ()))) for name in sorted(names)]


def _found(store: SliceStore, name: str, running: int) -> Found:
    parts = parse_slice_name(name)
    cluster_id = parts.cluster_id if parts else ""
    hosts = max(len(store.host_dirs(name)), running)
    try:
        record = store.read(name)
    except Unreachable as error:
        return Found(name, cluster_id, None, hosts, running, str(error))
    if record is None:
        trouble = f"{store.root / name} is gone, but not all of its processes"
        return Found(name, cluster_id, None, hosts, running, trouble)
    labelled = record.spec.labels.get(LABEL_CLUSTER_ID, "none")
    trouble = "" if labelled == cluster_id else f"its labels carry cluster id {labelled}"
    return Found(name, cluster_id, record.zone, record.spec.hosts, running, trouble)


def _running(root: Path) -> dict[str, set[str]]:
    """The hosts under the root of which something runs, by slice."""
    found: dict[str, set[str]] = {}
    for mark in (processes.HOST_MARK, START_MARK):
        for value in processes.marks(mark).values():
            path = Path(value)
            if path.parent.parent == root:
                found.setdefault(path.parent.name, set()).add(path.name)
    return found
