"""Compute Engine's REST interface: paths to what is done, and JSON for what there is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.harness.cloud.cloud import About, Cloud
from tests.harness.cloud.compute_rules import chosen_by, invalid, link, timestamp
from tests.harness.cloud.errors import ApiError
from tests.harness.cloud.faults import Fault, find
from tests.harness.cloud.instances import Instances, Json, Operation
from tests.harness.cloud.timeline import Shelf
from tests.harness.cloud.world import list_page

PREFIX = "/compute/v1/"
# (verb, what is below projects/P): the method's name as Google has it.
ROUTES = [
    ("GET", r"", "projects.get"),
    ("GET", r"aggregated/(instances|disks)", "{}.aggregatedList"),
    ("GET", r"global/images/(?:family/)?([^/]+)", "images.get"),
    ("GET", r"zones/([^/]+)", "zones.get"),
    ("GET", r"zones", "zones.list"),
    ("GET", r"zones/([^/]+)/machineTypes/([^/]+)", "machineTypes.get"),
    ("GET", r"zones/([^/]+)/operations/([^/]+)", "zoneOperations.get"),
    ("POST", r"zones/([^/]+)/operations/([^/]+)/wait", "zoneOperations.wait"),
    ("GET", r"zones/([^/]+)/(instances|disks)", "{}.list"),
    ("POST", r"zones/([^/]+)/(instances|disks)", "{}.insert"),
    ("GET", r"zones/([^/]+)/(instances|disks)/([^/]+)", "{}.get"),
    ("DELETE", r"zones/([^/]+)/(instances|disks)/([^/]+)", "{}.delete"),
    ("POST", r"zones/([^/]+)/(instances)/([^/]+)/(setMetadata|setLabels|start|stop|reset)", "{}.{}"),
]
REASONS = {
    3: "invalid",
    5: "notFound",
    6: "alreadyExists",
    7: "forbidden",
    8: "rateLimitExceeded",
    9: "failedPrecondition",
    13: "internalError",
    14: "backendError",
}
Faults = tuple[Fault, ...]


@dataclass(frozen=True)
class ComputeCall:
    """A call that was understood."""

    method: str
    project: str
    zone: str
    kind: str  # instances, disks, or empty
    name: str
    query: dict[str, str]
    body: Json

    @property
    def place(self) -> str:
        return f"projects/{self.project}/zones/{self.zone}"

    def about(self, *, credentials: bool) -> About:
        """For faults and the journal."""
        return About(self.method, self.project, self.zone, self.name, "rest", credentials)


def understand(verb: str, target: str, body: bytes) -> ComputeCall | None:
    """The call that a request is; None if it is none of this API. Raises ApiError for JSON that is none."""
    url = urlsplit(target)
    match = re.fullmatch(rf"{PREFIX}projects/([^/]+)/?(.*)", unquote(url.path))
    if match is None:
        return None
    query = dict(parse_qsl(url.query, keep_blank_values=True))
    for wanted, pattern, name in ROUTES:
        found = re.fullmatch(pattern, match[2]) if wanted == verb else None
        if found is None:
            continue
        groups = [group for group in found.groups() if group]
        kind = next((group for group in groups if group in ("instances", "disks")), "")
        is_zonal = pattern.startswith("zones/")
        zone = groups[0] if is_zonal else ""
        rest = [group for group in groups[1 if is_zonal else 0 :] if group != kind]
        method = name.format(kind, rest[-1] if len(rest) > 1 else "")
        try:
            content = json.loads(body) if body else {}
        except ValueError as error:
            raise ApiError(3, f"Parse Error: {error}", "parseError") from error
        short = rest[0] if rest else str(content.get("name", "")) if verb == "POST" else ""
        return ComputeCall(method, match[1], zone, kind, short, query, content)
    return None


class Compute:
    """What the calls do, on one cloud. Raises ApiError."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._model: Instances = cloud.instances

    def serve(self, call: ComputeCall, faults: Faults) -> Json:
        """The JSON of the answer."""
        settings = self._cloud.world.settings
        if call.project not in settings.projects and "cloud" not in call.project:
            raise ApiError(5, f"The resource 'projects/{call.project}' was not found", "notFound")
        if call.zone and call.zone not in settings.zones:
            words = f"'{call.zone}'. Unknown zone."
            raise invalid("zone", words)
        again = self._model.again(call.query.get("requestId", ""))
        if again and call.method not in ("zoneOperations.get", "zoneOperations.wait"):
            return self._operation(again)
        act: dict[str, Callable[[ComputeCall, Faults], Json]] = {
            "projects.get": self._project,
            "images.get": self._image,
            "zones.get": lambda call, _: self._zone(call.place),
            "zones.list": self._zones,
            "machineTypes.get": self._machine_type,
            "zoneOperations.get": self._found_operation,
            "zoneOperations.wait": self._found_operation,
        }
        if call.method in act:
            return act[call.method](call, faults)
        verb = call.method.partition(".")[2]
        if verb in ("list", "aggregatedList"):
            return self._list(call, faults) if verb == "list" else self._aggregated(call, faults)
        if verb == "get":
            return self._model.get(self._shelf(call), f"{call.place}/{call.kind}/{call.name}")
        return self._operation(self._change(call, verb, faults))

    def _shelf(self, call: ComputeCall) -> Shelf[Json]:
        return self._model.instances if call.kind == "instances" else self._model.disks

    def _change(self, call: ComputeCall, verb: str, faults: Faults) -> Operation:
        model, request_id = self._model, call.query.get("requestId", "")
        name = f"{call.place}/{call.kind}/{call.name}"
        match call.kind, verb:
            case "instances", "insert":
                return model.insert(call.place, call.body, request_id, faults)
            case "instances", "delete":
                return model.delete(name, request_id, faults)
            case "disks", "insert":
                return model.insert_disk(call.place, call.body, request_id, faults)
            case "disks", "delete":
                return model.delete_disk(name, request_id, faults)
            case _, "setMetadata":
                return model.set_metadata(name, call.body, request_id, faults)
            case _, "setLabels":
                return model.set_labels(name, call.body, request_id, faults)
            case _:
                return model.power(name, verb, request_id, faults)

    def _list(self, call: ComputeCall, faults: Faults) -> Json:
        fits = chosen_by(call.query.get("filter", ""))
        size, token = int(call.query.get("maxResults") or 0), call.query.get("pageToken", "")
        parent = f"{call.place}/{call.kind}"
        page = list_page(self._cloud.world, self._shelf(call), parent, size, token, faults)
        found = {"kind": f"compute#{call.kind[:-1]}List", "selfLink": link(parent)}
        items = [body for body in page.items if fits(body)]
        return {
            **found,
            **({"items": items} if items else {}),
            **({"nextPageToken": page.next_token} if page.next_token else {}),
        }

    def _aggregated(self, call: ComputeCall, faults: Faults) -> Json:
        fits = chosen_by(call.query.get("filter", ""))
        by_zone: Json = {}
        for zone in self._cloud.world.settings.zones:
            scope = f"zones/{zone}"
            page = list_page(
                *(self._cloud.world, self._shelf(call), f"projects/{call.project}/{scope}/{call.kind}"),
                *(0, "", faults),
            )
            items = [body for body in page.items if fits(body)]
            empty = {"warning": {"code": "NO_RESULTS_ON_PAGE", "message": f"No results in '{scope}'."}}
            by_zone[scope] = {call.kind: items} if items else empty
        if find(faults, "unreachable"):
            by_zone = {}
        return {"kind": f"compute#{call.kind[:-1]}AggregatedList", "items": by_zone}

    def _project(self, call: ComputeCall, faults: Faults) -> Json:
        number = self._cloud.world.settings.projects[call.project]
        return {
            "kind": "compute#project",
            "id": str(number),
            "name": call.project,
            "commonInstanceMetadata": {"kind": "compute#metadata", "fingerprint": "none="},
            "defaultServiceAccount": f"{number}-compute@developer.gserviceaccount.com",
            "selfLink": link(f"projects/{call.project}"),
        }

    def _image(self, call: ComputeCall, faults: Faults) -> Json:
        name = f"projects/{call.project}/global/images/{call.name}"
        return {
            "kind": "compute#image",
            "name": call.name,
            "family": call.name,
            "status": "READY",
            "selfLink": link(name),
        }

    def _zone(self, place: str) -> Json:
        return {
            "kind": "compute#zone",
            "name": place.rpartition("/")[2],
            "status": "UP",
            "selfLink": link(place),
        }

    def _zones(self, call: ComputeCall, faults: Faults) -> Json:
        places = (f"projects/{call.project}/zones/{zone}" for zone in self._cloud.world.settings.zones)
        return {"kind": "compute#zoneList", "items": [self._zone(place) for place in places]}

    def _machine_type(self, call: ComputeCall, faults: Faults) -> Json:
        name = f"{call.place}/machineTypes/{call.name}"
        return {"kind": "compute#machineType", "name": call.name, "selfLink": link(name), "guestCpus": 2}

    def _found_operation(self, call: ComputeCall, faults: Faults) -> Json:
        name = f"{call.place}/operations/{call.name}"
        if name not in self._model.operations:
            raise ApiError(5, f"The resource '{name}' was not found", "notFound")
        return self._operation(self._model.operations[name])

    def is_done(self, call: ComputeCall) -> bool:
        """Whether what a call waits for is over, or there is no such thing."""
        operation = self._model.operations.get(f"{call.place}/operations/{call.name}")
        return operation is None or operation.ended_ms is not None

    def _operation(self, operation: Operation) -> Json:
        place = operation.name.partition("/operations/")[0]
        found: Json = {
            "kind": "compute#operation",
            "id": str(operation.number),
            "name": operation.name.rpartition("/")[2],
            "zone": link(place),
            "operationType": operation.kind,
            "targetLink": link(operation.target),
            "targetId": operation.target_id,
            "status": "RUNNING" if operation.ended_ms is None else "DONE",
            "progress": 0 if operation.ended_ms is None else 100,
            "insertTime": timestamp(operation.begun_ms),
            "startTime": timestamp(operation.begun_ms),
            "selfLink": link(operation.name),
        }
        if operation.ended_ms is not None:
            found["endTime"] = timestamp(operation.ended_ms)
        if operation.error:
            error = operation.error
            found["error"] = {"errors": [{"code": error.reason, "message": error.message}]}
            found |= {"httpErrorStatusCode": error.http, "httpErrorMessage": error.status.replace("_", " ")}
        return found


def error_json(error: ApiError) -> bytes:
    """An error as Compute Engine has it."""
    reason = error.reason or REASONS.get(error.code, "unknown")
    one = {"message": error.message, "domain": "global", "reason": reason}
    return json.dumps(
        {"error": {"code": error.http, "message": error.message, "errors": [one], "status": error.status}}
    ).encode()
