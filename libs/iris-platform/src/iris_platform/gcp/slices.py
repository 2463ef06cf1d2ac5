"""The slices of one project: what `TpuPlatform` does, zone by zone.

Looks are answered from a list of the zone that is a few seconds old at most and
later than what was asked for that slice: many slices in transit then cost no more
calls than one. That a slice is not there is only ever said after a look by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from iris_platform.base import (
    HOST_LOG_BYTES,
    HostLog,
    NotOurs,
    PlatformError,
    Refused,
    SliceCloudState,
    SliceInfo,
    SliceSpec,
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

# A list that is younger answers looks too.
FRESH_S = 5.0


@dataclass(frozen=True)
class Clocks:
    """Now: monotonic seconds, and milliseconds since the epoch."""

    now_ms: Callable[[], int]
    now_s: Callable[[], float]


class TpuSlices:
    """See the module; safe to use from any thread."""

    def __init__(self, api: TpuApi, cluster_id: str, clocks: Clocks) -> None:
        self._api = api
        self._cluster_id = cluster_id
        self._clocks = clocks
        self._ledger = Ledger()

    # -- looking -------------------------------------------------------------

    def list_slices(self, labels: Mapping[str, str], zone: str) -> list[SliceInfo]:
        """This cluster's slices in a zone that carry all `labels`, by name: always a list of now."""
        found = self._list(zone).slices
        infos = [slice_info(name, zone, found[name]) for name in sorted(found)]
        return [info for info in infos if has_labels(info.labels, labels)]

    def get_slice(self, name: str, zone: str) -> SliceInfo | None:
        """One slice by name; see `Platform.get_slice`."""
        if parse_slice_name(name) is None:
            return None
        sighting = self._glance(name, zone)
        if sighting is not None:
            return self._told(name, zone, sighting)
        sighting = self._look(name, zone)
        if not sighting.exists:
            return self._what_came_of_it(name, zone)
        self._check_ours(name, sighting)
        info = self._told(name, zone, sighting)
        return info if sighting.is_settled else orphaned(info)

    def troubles(self) -> list[str]:
        """What the last lists showed and nobody touches."""
        return self._ledger.strays()

    def _list(self, zone: str) -> ZoneView:
        """A zone, whole. Queued resources first: what is active then has its node in the second list."""
        began_s = self._clocks.now_s()
        queued = self._api.list_queued(zone)
        nodes = self._api.list_nodes(zone)
        found, strays = sightings(nodes, queued, self._cluster_id)
        view = ZoneView(began_s, found, tuple(f"zone {zone}: {words}" for words in strays))
        self._ledger.note_view(zone, view)
        return view

    def _glance(self, name: str, zone: str) -> Sighting | None:
        """A slice in a fresh list; None where only a look by name tells."""
        view = self._fresh_view(name, zone)
        sighting = view.slices.get(name) if view is not None else None
        return sighting if sighting is not None and sighting.is_settled else None

    def _fresh_view(self, name: str, zone: str) -> ZoneView | None:
        """A list that is later than all that was asked for a slice; None where there is none to be had."""
        asked = self._ledger.asked(zone, name)
        since_s = asked.changed_s if asked is not None else 0.0
        with self._ledger.listing(zone):
            fresh_s = self._clocks.now_s() - FRESH_S
            view = self._ledger.view(zone)
            if view is not None and view.began_s > max(since_s, fresh_s):
                return view
            # Those who waited meanwhile do not try the same again, one after the other.
            if self._ledger.is_blind(zone, fresh_s):
                return None
            try:
                return self._list(zone)
            except PlatformError:
                # The look by name says what is the matter.
                self._ledger.note_blind(zone, self._clocks.now_s())
                return None

    def _look(self, name: str, zone: str) -> Sighting:
        """A slice, asked for by name; also the nodes that the last list showed of it."""
        view = self._ledger.view(zone)
        listed = view.slices.get(name, Sighting()).nodes if view is not None else ()
        queued = self._api.get_queued(zone, name)
        ids = dict.fromkeys([*node_ids(name, queued), *(last_word(node.name) for node in listed)])
        nodes = [self._api.get_node(zone, node_id) for node_id in ids]
        return Sighting(tuple(node for node in nodes if node is not None), queued)

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
        now_s, now_ms = self._clocks.now_s(), self._clocks.now_ms()
        asked = self._ledger.asked(zone, spec.name)
        if not operation and asked is not None and not asked.is_deleted:
            # That is the one whose operation we know.
            return
        self._ledger.note(zone, spec.name, Asked(now_s, dict(spec.labels), now_ms, is_queued, operation))

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
            # We made it, and what it was made as.
            self._send_deletion(name, zone, asked.is_queued, (name,))
        elif asked is not None:
            view = self._fresh_view(name, zone)
            seen = view.slices.get(name, Sighting()) if view is not None else None
            # That it is gone for good, or that a list lags behind, only a look by name says.
            if seen is None or stands(seen):
                self._delete_seen(name, zone, self._look(name, zone))
        else:
            sighting = self._glance(name, zone) or self._look(name, zone)
            self._delete_seen(name, zone, sighting)

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
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """A queued resource goes with its nodes; without one they go one by one."""
        if not (is_queued and self._api.delete_queued(zone, name)):
            for node in nodes:
                self._api.delete_node(zone, node)
        known = self._ledger.asked(zone, name) or Asked(0.0, dict(labels or {}), 0, is_queued)
        now_s = self._clocks.now_s()
        self._ledger.note(
            zone, name, replace(known, changed_s=now_s, is_deleted=True, operation="", ended=None)
        )

    # -- hosts ---------------------------------------------------------------

    def host_log(self, name: str, index: int, zone: str) -> HostLog:
        """What one host left of a start that failed; see `Platform.host_log`."""
        if parse_slice_name(name) is None:
            raise Refused(f"there is no slice {name} in zone {zone}")
        sighting = self._glance(name, zone) or self._look(name, zone)
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
