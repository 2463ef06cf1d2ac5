"""The real client libraries, pointed at a test cloud."""

from __future__ import annotations

from typing import Any

import grpc
from google.api_core.future import polling
from google.auth.credentials import AnonymousCredentials
from google.cloud import tpu_v2
from google.cloud.tpu_v2.services.tpu.transports.grpc import TpuGrpcTransport
from google.cloud.tpu_v2.services.tpu.transports.rest import TpuRestTransport

from tests.harness.cloud import CloudServer

ZONE = "us-west4-a"
OTHER_ZONE = "us-east5-a"
CALL_S = 10.0
# google-api-core asks once a second, and then ever less.
OFTEN: Any = polling.DEFAULT_POLLING.with_delay(initial=0.02, maximum=0.05)


class TpuUser:
    """google-cloud-tpu over one transport, with what tests ask for again and again."""

    def __init__(self, cloud: CloudServer, transport: str) -> None:
        self.cloud = cloud
        if transport == "grpc":
            made: Any = TpuGrpcTransport(channel=grpc.insecure_channel(cloud.address))
        else:
            anonymous = AnonymousCredentials()  # type: ignore[no-untyped-call]
            made = TpuRestTransport(host=cloud.address, url_scheme="http", credentials=anonymous)
        self.client: Any = tpu_v2.TpuClient(transport=made)

    def close(self) -> None:
        self.client.transport.close()

    def parent(self, zone: str = ZONE) -> str:
        return f"projects/{self.cloud.project}/locations/{zone}"

    def name(self, node: str, zone: str = ZONE) -> str:
        return f"{self.parent(zone)}/nodes/{node}"

    def queued_name(self, queued: str, zone: str = ZONE) -> str:
        return f"{self.parent(zone)}/queuedResources/{queued}"

    def create(self, node_id: str = "n1", zone: str = ZONE, **fields: Any) -> Any:
        """The operation of a creation."""
        return self.client.create_node(
            parent=self.parent(zone), node_id=node_id, node=node(**fields), timeout=CALL_S
        )

    def get(self, node_id: str = "n1", zone: str = ZONE) -> tpu_v2.Node:
        found: tpu_v2.Node = self.client.get_node(name=self.name(node_id, zone), timeout=CALL_S)
        return found

    def delete(self, node_id: str = "n1", zone: str = ZONE) -> Any:
        return self.client.delete_node(name=self.name(node_id, zone), timeout=CALL_S)

    def listed(self, zone: str = ZONE, **request: Any) -> list[str]:
        """Short names, of all pages."""
        asked = {"parent": self.parent(zone), **request}
        return [each.name.rpartition("/")[2] for each in self.client.list_nodes(asked, timeout=CALL_S)]

    def queue(self, queued_id: str = "q1", zone: str = ZONE, request_id: str = "", **fields: Any) -> Any:
        """The operation of a queued resource with one node of the same name."""
        spec = {"parent": self.parent(zone), "node_id": queued_id, "node": node()}
        resource = tpu_v2.QueuedResource(tpu={"node_spec": [spec]}, **fields)
        asked = {
            "parent": self.parent(zone),
            "queued_resource_id": queued_id,
            "queued_resource": resource,
            "request_id": request_id,
        }
        return self.client.create_queued_resource(asked, timeout=CALL_S)

    def get_queued(self, queued_id: str = "q1", zone: str = ZONE) -> tpu_v2.QueuedResource:
        name = self.queued_name(queued_id, zone)
        found: tpu_v2.QueuedResource = self.client.get_queued_resource(name=name, timeout=CALL_S)
        return found

    def delete_queued(self, queued_id: str = "q1", zone: str = ZONE, *, force: bool = False) -> Any:
        asked = {"name": self.queued_name(queued_id, zone), "force": force}
        return self.client.delete_queued_resource(asked, timeout=CALL_S)


def node(**fields: Any) -> tpu_v2.Node:
    """A good one, with some fields otherwise."""
    plain = {"accelerator_type": "v5litepod-16", "runtime_version": "v2-alpha-tpuv5-lite"}
    return tpu_v2.Node({**plain, **fields})


def result(operation: Any) -> Any:
    """What an operation ends with; raises its error."""
    return operation.result(timeout=CALL_S, polling=OFTEN)
