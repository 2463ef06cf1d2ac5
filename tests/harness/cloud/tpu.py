"""The TPU API: one method for each of its calls. Takes and returns protobuf messages, or raises ApiError."""

from __future__ import annotations

from typing import Any

from google.cloud import tpu_v2
from google.cloud.location import locations_pb2
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2

from iris_config.accelerators import GENERATIONS, accelerator_of
from tests.harness.cloud import errors, rules
from tests.harness.cloud.faults import Fault
from tests.harness.cloud.nodes import Life, Nodes
from tests.harness.cloud.operations import as_message
from tests.harness.cloud.queued import QueuedResources
from tests.harness.cloud.world import World, list_page

Faults = tuple[Fault, ...]


class Tpu:
    """`google.cloud.tpu.v2.Tpu`, `google.longrunning.Operations` and `google.cloud.location.Locations`."""

    def __init__(self, world: World, nodes: Nodes, queued: QueuedResources) -> None:
        self._world = world
        self._nodes = nodes
        self._queued = queued

    # Nodes

    def CreateNode(self, request: Any, faults: Faults) -> Any:
        settings = self._world.settings
        place = rules.check_place(request.parent, settings)
        rules.check_id(request.node_id, "nodeId")
        accelerator = rules.check_node(request.node, place, settings)
        name = f"{place}/nodes/{request.node_id}"
        if self._nodes.exists(name):
            raise errors.already_exists(name)
        scheduling = request.node.scheduling_config
        life = Life(accelerator, scheduling.spot or scheduling.preemptible)
        used = accelerator.chips
        for each in (self._nodes, self._queued):
            used += each.chips_used(place, accelerator.generation, life.spot)
        limits = self._world.limits
        over = limits.over_quota(place.project, place.zone, accelerator, life.spot, used)
        if over and settings.quota_at_once:
            raise over
        if over:
            late = Fault("fail", after=True, code=over.code, message=over.message)
            faults = (*faults, late)
        return as_message(self._nodes.create(name, request.node, life, faults))

    def GetNode(self, request: Any, faults: Faults) -> Any:
        return self._nodes.get(self._checked(request.name))

    def ListNodes(self, request: Any, faults: Faults) -> Any:
        place = rules.check_place(request.parent, self._world.settings, any_zone=True)
        parent = f"{place}/nodes"
        if place.zone == rules.ANY_ZONE:
            parent = str(place)
        page = list_page(
            self._world, self._nodes.shelf, parent, request.page_size, request.page_token, faults
        )
        return tpu_v2.ListNodesResponse.pb()(
            nodes=page.items, next_page_token=page.next_token, unreachable=page.unreachable
        )

    def DeleteNode(self, request: Any, faults: Faults) -> Any:
        return as_message(self._nodes.delete(self._checked(request.name), faults))

    def StopNode(self, request: Any, faults: Faults) -> Any:
        return as_message(self._nodes.stop(self._checked(request.name)))

    def StartNode(self, request: Any, faults: Faults) -> Any:
        return as_message(self._nodes.start(self._checked(request.name)))

    def UpdateNode(self, request: Any, faults: Faults) -> Any:
        name = self._checked(request.node.name)
        return as_message(self._nodes.update(name, request.node, list(request.update_mask.paths)))

    def GetGuestAttributes(self, request: Any, faults: Faults) -> Any:
        """What hosts left below a path, `NAMESPACE/` or `NAMESPACE/KEY`: an entry for each that is asked about."""
        name = self._checked(request.name)
        self._nodes.get(name)
        found = []
        for vm in self._nodes.life(name).vms:
            if request.worker_ids and str(vm.index) not in request.worker_ids:
                continue
            items = [
                {"namespace": path.partition("/")[0], "key": path.partition("/")[2], "value": value}
                for path, value in sorted(vm.left.items())
                if path.startswith(request.query_path) or path == request.query_path
            ]
            found.append({"query_path": request.query_path, "query_value": {"items": items}})
        return tpu_v2.GetGuestAttributesResponse.pb()(guest_attributes=found)

    # Queued resources

    def CreateQueuedResource(self, request: Any, faults: Faults) -> Any:
        settings = self._world.settings
        place = rules.check_place(request.parent, settings)
        rules.check_id(request.queued_resource_id, "queuedResourceId")
        now = self._world.timeline.now_ms
        asked = request.queued_resource
        accelerators = rules.check_queued(asked, place, settings, now)
        name = f"{place}/queuedResources/{request.queued_resource_id}"
        return as_message(self._queued.create(name, asked, accelerators, request.request_id, faults))

    def GetQueuedResource(self, request: Any, faults: Faults) -> Any:
        return self._queued.get(self._checked(request.name))

    def ListQueuedResources(self, request: Any, faults: Faults) -> Any:
        place = rules.check_place(request.parent, self._world.settings, any_zone=True)
        parent = f"{place}/queuedResources"
        if place.zone == rules.ANY_ZONE:
            parent = str(place)
        page = list_page(
            self._world, self._queued.shelf, parent, request.page_size, request.page_token, faults
        )
        return tpu_v2.ListQueuedResourcesResponse.pb()(
            queued_resources=page.items, next_page_token=page.next_token, unreachable=page.unreachable
        )

    def DeleteQueuedResource(self, request: Any, faults: Faults) -> Any:
        return as_message(self._queued.delete(self._checked(request.name), request.force, faults))

    def ResetQueuedResource(self, request: Any, faults: Faults) -> Any:
        return as_message(self._queued.reset(self._checked(request.name)))

    # What a zone has

    def ListAcceleratorTypes(self, request: Any, faults: Faults) -> Any:
        place = rules.check_place(request.parent, self._world.settings)
        types = self._accelerator_types(place)
        return tpu_v2.ListAcceleratorTypesResponse.pb()(accelerator_types=list(types.values()))

    def GetAcceleratorType(self, request: Any, faults: Faults) -> Any:
        name = self._checked(request.name)
        types = self._accelerator_types(rules.place_of(name))
        if name not in types:
            raise errors.not_found(name)
        return types[name]

    def _accelerator_types(self, place: rules.Place) -> dict[str, Any]:
        types = {}
        for generation in GENERATIONS.values():
            if place.zone not in generation.zones:
                continue
            for size in generation.sizes:
                accelerator = accelerator_of(generation, size)
                name = f"{place}/acceleratorTypes/{accelerator.accelerator_type}"
                config = {"type_": rules.CONFIG_TYPES[generation.name], "topology": accelerator.topology}
                types[name] = tpu_v2.AcceleratorType.pb()(
                    name=name, type_=accelerator.accelerator_type, accelerator_configs=[config]
                )
        return types

    def ListRuntimeVersions(self, request: Any, faults: Faults) -> Any:
        place = rules.check_place(request.parent, self._world.settings)
        versions = [_runtime(place, version) for version in rules.RUNTIMES]
        return tpu_v2.ListRuntimeVersionsResponse.pb()(runtime_versions=versions)

    def GetRuntimeVersion(self, request: Any, faults: Faults) -> Any:
        name = self._checked(request.name)
        version = name.rpartition("/")[2]
        if version not in rules.RUNTIMES:
            raise errors.not_found(name)
        return _runtime(rules.place_of(name), version)

    def GenerateServiceIdentity(self, request: Any, faults: Faults) -> Any:
        place = rules.check_place(request.parent, self._world.settings)
        number = self._world.settings.projects[place.project]
        email = f"service-{number}@cloud-tpu.iam.gserviceaccount.com"
        return tpu_v2.GenerateServiceIdentityResponse.pb()(identity={"email": email})

    # Locations and operations

    def ListLocations(self, request: Any, faults: Faults) -> Any:
        project = request.name.removeprefix("projects/")
        rules.check_project(project, self._world.settings)
        places = [rules.Place(project, zone) for zone in self._world.settings.zones]
        return locations_pb2.ListLocationsResponse(locations=[_location(place) for place in places])

    def GetLocation(self, request: Any, faults: Faults) -> Any:
        return _location(rules.check_place(request.name, self._world.settings))

    def GetOperation(self, request: Any, faults: Faults) -> Any:
        return as_message(self._world.operations.find(self._checked(request.name)))

    def ListOperations(self, request: Any, faults: Faults) -> Any:
        place = rules.check_place(request.name, self._world.settings)
        found = self._world.operations.of(str(place))
        return operations_pb2.ListOperationsResponse(operations=[as_message(work) for work in found])

    def DeleteOperation(self, request: Any, faults: Faults) -> Any:
        self._world.operations.forget(self._checked(request.name))
        return empty_pb2.Empty()

    def CancelOperation(self, request: Any, faults: Faults) -> Any:
        """Takes note, as Google's does, and lets it run."""
        self._world.operations.find(self._checked(request.name)).cancelled = True
        return empty_pb2.Empty()

    def _checked(self, name: str) -> str:
        """The name of a resource, where its project and zone exist."""
        parts = name.split("/")
        if len(parts) != 6:
            raise errors.invalid(f"Malformed name: '{name}'")
        rules.check_place("/".join(parts[:4]), self._world.settings)
        return name


def _runtime(place: rules.Place, version: str) -> Any:
    return tpu_v2.RuntimeVersion.pb()(name=f"{place}/runtimeVersions/{version}", version=version)


def _location(place: rules.Place) -> locations_pb2.Location:
    region = place.zone.rpartition("-")[0]
    labels = {"cloud.googleapis.com/region": region}
    return locations_pb2.Location(name=str(place), location_id=place.zone, labels=labels)
