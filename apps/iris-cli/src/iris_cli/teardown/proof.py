"""What a fresh look shows after a stop, in words and for programs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from iris_cli.teardown.look import Blind, Seen
from iris_cli.text import plural
from iris_platform.base import VmState


def proof_lines(looks: Iterable[Seen | Blind]) -> list[str]:
    """A line for each zone: `zone local: 0 slices, 0 agents`."""
    slices: dict[str, int] = {}
    agents: dict[str, int] = {}
    blind = []
    for look in looks:
        if isinstance(look, Blind):
            blind.append(f"zone {look.zone}: could not be listed: {look.why}")
        else:
            zone = look.site.zone
            slices[zone] = slices.get(zone, 0) + len(look.slices)
            agents[zone] = agents.get(zone, 0) + agents_of(look)
    seen = [
        f"zone {zone}: {plural(slices[zone], 'slice')}, {plural(agents[zone], 'agent')}" for zone in slices
    ]
    return seen + blind


def agents_of(look: Seen) -> int:
    """The hosts on which something may still run."""
    gone = (VmState.TERMINATED, VmState.FAILED)
    return sum(vm.state not in gone for info in look.slices for vm in info.vms)


def left_over(looks: Iterable[Seen | Blind], why: dict[str, str]) -> list[dict[str, str]]:
    """What is still there or not known, with the reason where there is one."""
    found = []
    for look in looks:
        if isinstance(look, Blind):
            found.append({"zone": look.zone, "name": "", "why": look.why})
        else:
            for info in look.slices:
                reason = why.get(info.slice_id) or info.detail or info.state.value
                found.append({"zone": look.site.zone, "name": info.slice_id, "why": reason})
    return found


def left_lines(left: Sequence[dict[str, str]], command: str) -> tuple[str, ...]:
    """What is left, and the command that removes it."""
    lines = []
    for entry in left:
        what = f"slice {entry['name']}" if entry["name"] else "not known"
        lines.append(f"left in zone {entry['zone']}: {what} ({entry['why']})")
    return (*lines, f"to remove it: {command}")


def zone_documents(looks: Iterable[Seen | Blind]) -> list[dict[str, Any]]:
    """The looks for programs."""
    found: list[dict[str, Any]] = []
    for look in looks:
        if isinstance(look, Blind):
            found.append({"zone": look.zone, "slices": None, "agents": None, "error": look.why})
        else:
            found.append(
                {"zone": look.site.zone, "slices": len(look.slices), "agents": agents_of(look), "error": ""}
            )
    return found
