"""The slices of one project: what `TpuPlatform` does, zone by zone.

Every look at a slice asks for it by name: its node, and its queued resource where
there may be one. A list asks for the whole zone. What was asked for here before
saves calls, and explains what is seen; none of it is taken for an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from iris_platform.base import (
    HOST_LOG_BYTES,
    ClusterIdentity,
    HostLog,
    NotOurs,
    PlatformError,
    Refused,
    SliceCloudState,
    SliceInfo,
    SliceSpec,
    Stray,
)
from iris_platform.files import last_lines
from iris_platform.gcp import request
from iris_platform.gcp.client import AlreadyThere, TpuApi
from iris_platform.gcp.errors import Cause, cause_of
from iris_platform.gcp.ledger import Asked, Ledger, ZoneView
from iris_platform.gcp.overrides import TpuOverrides
from iris_platform.gcp.reply import (
    Sighting,
    differs,
    host_words,
    is_deleting,
    last_word,
    looks_bad,
    node_ids,
    orphaned,
    sightings,
    slice_info,
    stands,
    vanished,
)
from iris_platform.names import LABEL_CLUSTER_ID, is_ours, parse_slice_name
from iris_platform.vm_platform import has_labels


class TpuSlices:
    """See the module; safe to use from any thread."""

    def __init__(self, api: TpuApi, identity: ClusterIdentity, now_ms: Callable[[], int]) -> None:
        """`now_ms`: milliseconds since the epoch."""
        self._api = api
        self._identity = identity
        self._cluster_id = identity.cluster_id
        self._now_ms = now_ms
        self._ledger = Ledger()

    # -- looking -------------------------------------------------------------

    def list_slices(self, labels: Mapping[str, str], zone: str) -> list[SliceInfo]:
        """This cluster's slices in a zone that carry all `labels`, by name."""
        # Queued resources first: what is active then has its node in the second list.
        queued = self._api.list_queued(zone)
        nodes = self._api.list_nodes(zone)
        found, strays = sightings(nodes, queued, self._identity)
        self._ledger.note_view(zone, ZoneView(found, tuple(strays)))
        infos = [self._listed(name, zone, found[name]) for name in sorted(found)]
        return [info for info in infos if has_labels(info.labels, labels)]

    def _listed(self, name: str, zone: str, sighting: Sighting) -> SliceInfo:
        try:
            return self._told(name, zone, sighting)
        except PlatformError:
            # Why it failed is not known yet; the list is whole all the same.
            return slice_info(name, zone, sighting)

    def get_slice(self, name: str, zone: str) -> SliceInfo | None:
        """One slice by name; see `Platform.get_slice`."""
        if parse_slice_name(name) is None:
            return None
        sighting = self._look(name, zone)
        if not sighting.exists:
            return self._what_came_of_it(name, zone)
        self._check_ours(name, sighting)
        info = self._told(name, zone, sighting)
        return info if sighting.is_settled else orphaned(info)

    def troubles(self) -> list[str]:
        """What the last lists showed and nobody touches, in words; what is a namesake's in one for each id."""
        lines = []
        of_others: dict[tuple[str, str], list[str]] = {}
        for zone, stray in self._ledger.strays():
            if stray.cluster_id:
                of_others.setdefault((zone, stray.cluster_id), []).append(f"{stray.kind} {stray.name}")
            else:
                lines.append(f"zone {zone}: {stray.words}")
        for (zone, cluster_id), things in of_others.items():
            more = f" and {len(things) - 1} more" if len(things) > 1 else ""
            lines.append(
                f"zone {zone}: {things[0]}{more}: of another cluster of this name, id {cluster_id}; if it is"
                f" of yours: `iris cluster stop --cluster-id {cluster_id}` deletes it, and stops this one too"
            )
        return lines

    def strays(self, zone: str) -> list[Stray]:
        """What the last list of a zone showed and nobody touches."""
        return [stray for where, stray in self._ledger.strays() if where == zone]

    def _look(self, name: str, zone: str) -> Sighting:
        """A slice, asked for by name; also the nodes that the last list showed of it."""
        asked = self._ledger.asked(zone, name)
        maybe_alone = asked is None or not asked.is_queued
        node = self._api.get_node(zone, name) if maybe_alone else None
        if node is not None and not node.queued_resource:
            return Sighting((node,))
        listed = self._ledger.sighting(zone, name)
        if node is None and asked is not None and asked.is_lone and listed.queued is None:
            return Sighting()
        # Before its nodes: one that is active then has them.
        queued = self._api.get_queued(zone, name)
        ids = dict.fromkeys([*node_ids(name, queued), *(last_word(each.name) for each in listed.nodes)])
        if node is not None or (maybe_alone and queued is None):
            # That one has been asked for.
            ids.pop(name, None)
        nodes = [node, *(self._api.get_node(zone, node_id) for node_id in ids)]
        return Sighting(tuple(each for each in nodes if each is not None), queued)

    def _told(self, name: str, zone: str, sighting: Sighting) -> SliceInfo:
        """What is seen; of what failed, also what the end of its creation said."""
        info = slice_info(name, zone, sighting)
        if info.state is SliceCloudState.RUNNING:
            self._settle(zone, name, None)
        if info.failure is not None or not looks_bad(info.state, sighting):
            return info
        _, ended = self._ended(name, zone)
        return slice_info(name, zone, sighting, ended)

    def _what_came_of_it(self, name: str, zone: str) -> SliceInfo | None:
        """Of a slice that is not there: why not, where its creation was accepted here."""
        asked = self._ledger.asked(zone, name)
        if asked is None:
            return None
        is_under_way, ended = self._ended(name, zone)
        if is_under_way or ended is not None:
            return vanished(name, zone, asked.labels, asked.asked_ms, ended)
        self._ledger.forget(zone, name)
        return None

    def _ended(self, name: str, zone: str) -> tuple[bool, Cause | None]:
        """Whether a slice's creation is under way, and why it failed; each end is asked for once."""
        asked = self._ledger.asked(zone, name)
        if asked is None or asked.is_deleted or not asked.operation:
            return False, asked.ended if asked is not None and not asked.is_deleted else None
        operation = self._api.get_operation(asked.operation)
        if operation is not None and not operation.done:
            return True, None
        failed = operation is not None and operation.WhichOneof("result") == "error"
        cause = cause_of(operation.error) if operation is not None and failed else None
        self._settle(zone, name, cause)
        return False, cause

    def _settle(self, zone: str, name: str, ended: Cause | None) -> None:
        asked = self._ledger.asked(zone, name)
        if asked is not None and asked.operation:
            self._ledger.note(zone, name, replace(asked, operation="", ended=ended))

    def _check_ours(self, name: str, sighting: Sighting) -> None:
        if not is_ours(name, sighting.labels, self._cluster_id):
            other = sighting.labels.get(LABEL_CLUSTER_ID, "none")
            raise NotOurs(f"slice {name}: carries cluster id {other}, not {self._cluster_id}")

    # -- creating ------------------------------------------------------------

    def create_slice(self, spec: SliceSpec, zone: str) -> None:
        """Ask for a slice; see `Platform.create_slice`. Does not wait for the operation."""
        if not is_ours(spec.name, spec.labels, self._cluster_id) or spec.hosts < 1:
            words = "name, labels or number of hosts are not a slice's of this cluster"
            raise Refused(f"slice {spec.name}: {words}")
        is_queued = TpuOverrides.of(spec).queued_for_s is not None
        project = self._api.project
        try:
            if is_queued:
                operation = self._api.create_queued(request.create_queued(project, spec, zone))
            else:
                operation = self._api.create_node(request.create_node(project, spec, zone))
        except AlreadyThere:
            self._check_same(spec, zone)
            operation = ""
        asked = self._ledger.asked(zone, spec.name)
        if not operation and asked is not None and not asked.is_deleted:
            # That is the one whose operation we know.
            return
        is_lone = bool(operation) and not is_queued
        made = Asked(dict(spec.labels), self._now_ms(), is_queued, operation, is_lone=is_lone)
        self._ledger.note(zone, spec.name, made)

    def _check_same(self, spec: SliceSpec, zone: str) -> None:
        """What has the name already is what is asked for."""
        sighting = self._look(spec.name, zone)
        match differs(sighting, spec) if sighting.exists else "":
            case "labels":
                raise NotOurs(f"slice {spec.name}: exists with other labels: {dict(sighting.labels)}")
            case "shape":
                raise Refused(f"slice {spec.name}: exists as {sighting.accelerator_type}")
        if not sighting.exists:
            raise Refused(f"slice {spec.name}: its name is taken by something that cannot be looked at")
        if slice_info(spec.name, zone, sighting).state is SliceCloudState.DELETING:
            raise Refused(f"slice {spec.name}: is being deleted")

    # -- deleting ------------------------------------------------------------

    def delete_slice(self, name: str, zone: str) -> None:
        """Ask for a slice's deletion; see `Platform.delete_slice`. `get_slice` follows it to the end."""
        parts = parse_slice_name(name)
        if parts is None or parts.cluster_id != self._cluster_id:
            raise NotOurs(f"slice {name}: not a name of cluster {self._cluster_id}")
        asked = self._ledger.asked(zone, name)
        if asked is not None and not asked.is_deleted:
            # We made it, and know as what it was made.
            self._send_deletion(name, zone, asked.is_queued, (name,), asked.labels)
            return
        # Its name and its labels are for good, whatever else has changed since.
        sighting = self._ledger.sighting(zone, name) if asked is None else Sighting()
        self._delete_seen(name, zone, sighting if sighting.exists else self._look(name, zone))

    def _delete_seen(self, name: str, zone: str, sighting: Sighting) -> None:
        """Delete what is there and not on its way out."""
        if sighting.exists:
            self._check_ours(name, sighting)
        if stands(sighting):
            standing = tuple(last_word(node.name) for node in sighting.nodes if not is_deleting(node))
            self._send_deletion(name, zone, sighting.queued is not None, standing, sighting.labels)

    def _send_deletion(
        self,
        name: str,
        zone: str,
        is_queued: bool,
        nodes: tuple[str, ...],
        labels: Mapping[str, str],
    ) -> None:
        """A queued resource goes with its nodes; without one they go one by one."""
        if not (is_queued and self._api.delete_queued(zone, name)):
            for node in nodes:
                self._api.delete_node(zone, node)
        asked = self._ledger.asked(zone, name)
        is_lone = asked is not None and asked.is_lone
        self._ledger.note(zone, name, Asked(labels, is_queued=is_queued, is_deleted=True, is_lone=is_lone))

    # -- hosts ---------------------------------------------------------------

    def host_addresses(self, name: str, zone: str) -> tuple[frozenset[str], ...]:
        """Where each host is, by its index: inside the network, and outside where it is there too.

        Without those that are not known yet. A host proves its place with it.

        Raises:
            NotOurs: the slice carries another identity.
        """
        # Its queued resource, where it has one, says nothing of that.
        node = self._api.get_node(zone, name) if parse_slice_name(name) is not None else None
        if node is None:
            return ()
        self._check_ours(name, Sighting((node,)))
        return tuple(
            frozenset(filter(None, (endpoint.ip_address, endpoint.access_config.external_ip)))
            for endpoint in node.network_endpoints
        )

    def host_log(self, name: str, index: int, zone: str) -> HostLog:
        """What one host left of a start that failed; see `Platform.host_log`."""
        if parse_slice_name(name) is None:
            raise Refused(f"there is no slice {name} in zone {zone}")
        sighting = self._look(name, zone)
        if not sighting.exists:
            raise Refused(f"there is no slice {name} in zone {zone}")
        self._check_ours(name, sighting)
        hosts = [
            (last_word(node.name), number, endpoint.ip_address)
            for node in sighting.nodes
            for number, endpoint in enumerate(node.network_endpoints)
        ]
        if not 0 <= index < len(hosts):
            raise Refused(f"slice {name} has no host {index}")
        node_id, number, address = hosts[index]
        wanted = request.get_log(self._api.project, zone, node_id, number)
        answer = self._api.guest_attributes(wanted)
        words = host_words(answer) if answer is not None else ""
        if not words:
            told = "only one whose start failed leaves its log with Google"
            raise Refused(f"host {index} of slice {name} left nothing: {told}")
        return HostLog(address, last_lines(words, HOST_LOG_BYTES))
