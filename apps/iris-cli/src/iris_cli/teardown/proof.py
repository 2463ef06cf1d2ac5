"""What a fresh look shows after a stop, in words and for programs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from iris_cli.teardown.look import Blind, Foreign, Look, Seen, zones_by
from iris_cli.text import plural
from iris_platform.base import VmState


def proof_lines(looks: Iterable[Look]) -> list[str]:
    """A line for each zone: `zone local: 0 slices, 0 agents`."""
    slices: dict[str, int] = {}
    agents: dict[str, int] = {}
    blind: list[tuple[str, str]] = []
    for look in looks:
        if isinstance(look, Blind):
            blind.append((look.zone, look.why))
        else:
            zone = look.site.zone if isinstance(look, Seen) else look.zone
            slices[zone] = slices.get(zone, 0) + len(look.slices)
            agents[zone] = agents.get(zone, 0) + agents_of(look)
    seen = [
        f"zone {zone}: {plural(slices[zone], 'slice')}, {plural(agents[zone], 'agent')}" for zone in slices
    ]
    return seen + [f"{zones}: could not be listed: {why}" for zones, why in zones_by(blind)]


def agents_of(look: Seen | Foreign) -> int:
    """The hosts on which something may still run."""
    if isinstance(look, Foreign):
        return sum(found.running for found in look.slices)
    gone = (VmState.TERMINATED, VmState.FAILED)
    return sum(vm.state not in gone for info in look.slices for vm in info.vms)


def left_over(looks: Iterable[Look], why: dict[str, str]) -> list[dict[str, str]]:
    """What is still there or not known, with the reason where there is one."""
    found = []
    for look in looks:
        if isinstance(look, Blind):
            found.append({"zone": look.zone, "name": "", "why": look.why})
        elif isinstance(look, Foreign):
            for entry in look.slices:
                reason = why.get(entry.name) or entry.trouble or f"carries cluster id {entry.cluster_id}"
                found.append({"zone": look.zone, "name": entry.name, "why": reason})
        else:
            for info in look.slices:
                reason = why.get(info.slice_id) or info.detail or info.state.value
                found.append({"zone": look.site.zone, "name": info.slice_id, "why": reason})
    return found


def foreign_ids(looks: Iterable[Look], own: Iterable[str]) -> list[str]:
    """The other cluster ids of what is left."""
    ids = {entry.cluster_id for look in looks if isinstance(look, Foreign) for entry in look.slices}
    return sorted(ids - {"", *own})


def left_lines(left: Sequence[dict[str, str]], command: str, looks: Iterable[Look] = ()) -> tuple[str, ...]:
    """What is left, and the command that removes it, after what has to be done before."""
    lines = []
    unknown = [(entry["zone"], entry["why"]) for entry in left if entry["zone"] and not entry["name"]]
    for entry in left:
        where = f"left in zone {entry['zone']}" if entry["zone"] else "left"
        if entry["name"] or not entry["zone"]:
            what = f"slice {entry['name']} ({entry['why']})" if entry["name"] else entry["why"]
            lines.append(f"{where}: {what}")
    lines += [f"left in {zones}: not known ({why})" for zones, why in zones_by(unknown)]
    helps = {look.helps for look in looks if isinstance(look, Blind) and look.helps}
    return (*lines, *(f"first {words}" for words in sorted(helps)), f"to remove it: {command}")


def zone_documents(looks: Iterable[Look]) -> list[dict[str, Any]]:
    """The looks for programs."""
    found: list[dict[str, Any]] = []
    for look in looks:
        if isinstance(look, Blind):
            found.append({"zone": look.zone, "slices": None, "agents": None, "error": look.why})
        else:
            zone = look.site.zone if isinstance(look, Seen) else look.zone
            found.append({"zone": zone, "slices": len(look.slices), "agents": agents_of(look), "error": ""})
    return found
