"""What a stop deletes: one value, shown by `--dry-run` and then carried out. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from iris_cli.teardown.ending import Running
from iris_cli.teardown.look import Blind, Seen, zones_by
from iris_cli.text import plural, short_name
from iris_platform.local import Found
from iris_platform.names import LABEL_GROUP, group_part, parse_slice_name
from iris_proto.v1.controller_pb2 import Slice, SliceState


@dataclass(frozen=True)
class Doomed:
    """A slice that will be deleted. `state` is the controller's or the provider's word."""

    name: str
    zone: str
    scale_group: str
    state: str
    hosts: int


@dataclass(frozen=True)
class Plan:
    """Everything that a stop does.

    `controller` ends, if any; one that does not answer is `silent`, with the reason, and
    what it may have begun on hosts ends without it. `forgets` are the places that go too. In the zones
    `pauses` a controller that goes on asks for nothing any more.
    """

    cluster: str
    cluster_id: str
    zones: tuple[str, ...]
    slices: tuple[Doomed, ...]
    controller: Running | None
    blind: tuple[Blind, ...] = ()
    others: tuple[str, ...] = ()
    # Of the cluster's name, and not to be deleted: another identity's.
    foreign: tuple[Found, ...] = ()
    forgets: tuple[str, ...] = ()
    pauses: tuple[str, ...] = ()
    silent: str = ""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.slices or self.controller or self.pauses or self.silent)


def doomed_slices(
    believed: Iterable[Slice],
    looks: Iterable[Seen | Blind],
    zones: Sequence[str],
    groups: Iterable[str] = (),
) -> tuple[Doomed, ...]:
    """What the controller knows and what was seen, each slice once, by zone and name.

    `groups` are the scale groups as they were configured: names of slices and labels
    have not all of their characters.
    """
    found = {}
    whole = {group_part(group): group for group in groups}
    for look in looks:
        if isinstance(look, Seen):
            for info in look.slices:
                label = info.labels.get(LABEL_GROUP, "")
                group = whole.get(label, label)
                found[info.slice_id] = Doomed(
                    info.slice_id, info.zone, group, info.state.value.upper(), len(info.vms)
                )
        else:
            for entry in look.known:
                parts = parse_slice_name(entry.name)
                group = whole.get(parts.group, parts.group) if parts else ""
                state = "UNREADABLE" if entry.zone is None else "UNLISTED"
                found.setdefault(entry.name, Doomed(entry.name, look.zone, group, state, entry.hosts))
    for told in believed:
        if told.zone in zones:
            state = short_name(SliceState, told.state)
            found[told.name] = Doomed(told.name, told.zone, told.scale_group, state, told.hosts)
    return tuple(sorted(found.values(), key=lambda slice_: (slice_.zone, slice_.name)))


def plan_lines(plan: Plan) -> list[str]:
    """The plan for people."""
    lines = []
    for slice_ in plan.slices:
        about = f"{slice_.scale_group}, {slice_.state}, {plural(slice_.hosts, 'host')}"
        lines.append(f"delete slice {slice_.name} in zone {slice_.zone} ({about})")
    if plan.controller is not None:
        lines.append(f"stop the controller ({plan.controller.words})")
    if plan.silent:
        lines.append("end on the hosts what a controller that does not answer may have begun there")
    lines += [f"keep zone {zone} empty until the next start" for zone in plan.pauses]
    lines += [f"remove {path}, and what it knows" for path in plan.forgets]
    for zones, (provider, why) in zones_by((one.zone, (one.provider, one.why)) for one in plan.blind):
        lines.append(f"{zones} ({provider}) cannot be listed: {why}")
    for entry in plan.foreign:
        why = entry.trouble or f"it carries cluster id {entry.cluster_id or 'none'}"
        lines.append(f"slice {entry.name} is left: {why}")
    for zone in plan.others:
        lines.append(f"zone {zone} is left as it is")
    return lines or ["nothing to delete, and no controller to stop"]


def plan_document(plan: Plan) -> dict[str, Any]:
    """The plan for programs."""
    return {
        "name": plan.cluster,
        "cluster_id": plan.cluster_id,
        "zones": list(plan.zones),
        "slices": [
            {
                "name": slice_.name,
                "zone": slice_.zone,
                "scale_group": slice_.scale_group,
                "state": slice_.state,
                "hosts": slice_.hosts,
            }
            for slice_ in plan.slices
        ],
        "controller_pid": plan.controller.pid if plan.controller is not None else None,
        "forgets": list(plan.forgets),
        "pauses": list(plan.pauses),
    }
