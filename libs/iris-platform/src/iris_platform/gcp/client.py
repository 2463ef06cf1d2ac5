"""Every call to the Cloud TPU API: the only module that talks to Google.

The library has neither deadlines nor retries of its own, so every call has both
here. Reading is tried again, within a deadline, where the answer says that it may
help. Creations and deletions are sent once: whoever asked decides whether to send
the same again. Errors are `PlatformError`s; what is not there is None.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

import grpc
from google.api_core import exceptions as google_exceptions
from google.api_core.retry import Retry, if_exception_type
from google.api_core.timeout import ConstantTimeout
from google.auth.exceptions import GoogleAuthError
from google.cloud import tpu_v2
from google.cloud.tpu_v2.services.tpu.transports import TpuGrpcTransport
from google.longrunning import operations_pb2

from iris_platform.base import PermissionMissing, Unreachable
from iris_platform.gcp.credentials import find_credentials, words_of
from iris_platform.gcp.deadlines import DEADLINES, Deadlines
from iris_platform.gcp.errors import to_platform_error
from iris_platform.gcp.request import node_name, parent, queued_name

PAGE_SIZE = 500
# Nodes carry their startup scripts, in lists too.
_CHANNEL = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
_TRANSIENT = (
    google_exceptions.ServiceUnavailable,
    google_exceptions.InternalServerError,
    google_exceptions.Unknown,
    google_exceptions.DeadlineExceeded,
    google_exceptions.BadGateway,
    google_exceptions.Aborted,
)
Answer = TypeVar("Answer")
Page = TypeVar("Page", tpu_v2.ListNodesResponse, tpu_v2.ListQueuedResourcesResponse)


class AlreadyThere(Exception):
    """A creation met a resource of that name; whose it is, a look tells."""


class TpuApi:
    """The calls of one project; safe to use from any thread.

    `endpoint` is `https://HOST[:PORT]`, with the credentials that Google's libraries
    find by themselves; or `http://HOST[:PORT]`, without any and in the clear.
    """

    def __init__(
        self,
        endpoint: str,
        project: str,
        deadlines: Deadlines = DEADLINES,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.project = project
        self._endpoint = endpoint
        self._deadlines = deadlines
        self._now_s = now_s
        self._lock = threading.Lock()
        self._made: tpu_v2.TpuClient | None = None

    # -- reading -------------------------------------------------------------

    def get_node(self, zone: str, name: str) -> tpu_v2.Node | None:
        """A node by its id."""
        request = tpu_v2.GetNodeRequest(name=node_name(self.project, zone, name))
        with _explained(f"cannot look at TPU node {name} in {zone}"):
            return self._found(lambda: self._client.get_node(request, **self._reading()))

    def get_queued(self, zone: str, name: str) -> tpu_v2.QueuedResource | None:
        """A queued resource by its id."""
        request = tpu_v2.GetQueuedResourceRequest(name=queued_name(self.project, zone, name))
        with _explained(f"cannot look at queued resource {name} in {zone}"):
            return self._found(lambda: self._client.get_queued_resource(request, **self._reading()))

    def get_operation(self, name: str) -> operations_pb2.Operation | None:
        """An operation by its whole name; None where it is forgotten."""
        request = operations_pb2.GetOperationRequest(name=name)
        with _explained(f"cannot look at operation {name}"):
            return self._found(lambda: self._client.get_operation(request, **self._reading()))

    def list_nodes(self, zone: str) -> list[tpu_v2.Node]:
        """All nodes of a zone, whosever they are.

        Raises:
            Unreachable: also where a page, or a part of the zone, could not be had.
        """
        request = tpu_v2.ListNodesRequest(parent=parent(self.project, zone), page_size=PAGE_SIZE)
        with _explained(f"cannot list the TPU nodes in {zone}"):
            pages = self._client.list_nodes(request, **self._reading()).pages
            return [_light(node) for page in self._whole(pages, zone) for node in page.nodes]

    def list_queued(self, zone: str) -> list[tpu_v2.QueuedResource]:
        """All queued resources of a zone, whosever they are; raises as `list_nodes`."""
        request = tpu_v2.ListQueuedResourcesRequest(parent=parent(self.project, zone), page_size=PAGE_SIZE)
        with _explained(f"cannot list the queued resources in {zone}"):
            pages = self._client.list_queued_resources(request, **self._reading()).pages
            found = [queued for page in self._whole(pages, zone) for queued in page.queued_resources]
        for queued in found:
            for spec in queued.tpu.node_spec:
                _light(spec.node)
        return found

    def guest_attributes(self, request: tpu_v2.GetGuestAttributesRequest) -> Any | None:
        """What hosts left; None where the node or the path is not there."""
        with _explained(f"cannot read what is left by the hosts of {request.name}"):
            return self._found(lambda: self._client.get_guest_attributes(request, **self._reading()))

    # -- writing -------------------------------------------------------------

    def create_node(self, request: tpu_v2.CreateNodeRequest) -> str:
        """Asks for a node; the name of the operation, once it is accepted.

        Raises:
            AlreadyThere: there is something of that name.
        """
        with _explained(f"cannot create TPU node {request.node_id}"):
            return self._sent(lambda: self._client.create_node(request, **self._writing()))

    def create_queued(self, request: tpu_v2.CreateQueuedResourceRequest) -> str:
        """Asks for a queued resource; as `create_node`."""
        with _explained(f"cannot create queued resource {request.queued_resource_id}"):
            return self._sent(lambda: self._client.create_queued_resource(request, **self._writing()))

    def delete_node(self, zone: str, name: str) -> bool:
        """Asks for a node's deletion; whether there was one."""
        request = tpu_v2.DeleteNodeRequest(name=node_name(self.project, zone, name))
        with _explained(f"cannot delete TPU node {name} in {zone}"):
            return self._found(lambda: self._client.delete_node(request, **self._writing())) is not None

    def delete_queued(self, zone: str, name: str) -> bool:
        """Asks for the deletion of a queued resource and its nodes; whether there was one."""
        name_there = queued_name(self.project, zone, name)
        request = tpu_v2.DeleteQueuedResourceRequest(name=name_there, force=True)
        with _explained(f"cannot delete queued resource {name} in {zone}"):
            call = self._client.delete_queued_resource
            return self._found(lambda: call(request, **self._writing())) is not None

    # -- how -----------------------------------------------------------------

    @property
    def _client(self) -> tpu_v2.TpuClient:
        with self._lock:
            if self._made is None:
                self._made = tpu_v2.TpuClient(transport=_transport(self._endpoint))
            return self._made

    def _reading(self) -> dict[str, Any]:
        limits = self._deadlines
        retry = Retry(
            predicate=if_exception_type(*_TRANSIENT),
            initial=limits.first_pause_s,
            maximum=limits.longest_pause_s,
            timeout=limits.read_s,
        )
        return {"retry": retry, "timeout": _each_try(limits.try_s)}

    def _writing(self) -> dict[str, Any]:
        return {"retry": None, "timeout": _each_try(self._deadlines.write_s)}

    def _whole(self, pages: Iterator[Page], zone: str) -> Iterator[Page]:
        """The pages of a list, all of them and in time, or an error."""
        deadline_s = self._now_s() + self._deadlines.list_s
        for page in pages:
            if page.unreachable:
                raise Unreachable(f"zone {zone} was listed in part only: {', '.join(page.unreachable)}")
            yield page
            if self._now_s() > deadline_s and page.next_page_token:
                raise Unreachable(f"the list of zone {zone} was not whole after {self._deadlines.list_s:g} s")

    @staticmethod
    def _found(call: Callable[[], Answer]) -> Answer | None:
        try:
            return call()
        except google_exceptions.NotFound:
            return None

    @staticmethod
    def _sent(call: Callable[[], Any]) -> str:
        try:
            return str(call().operation.name)
        except google_exceptions.AlreadyExists as error:
            raise AlreadyThere from error


def _each_try(seconds: float) -> ConstantTimeout:
    return ConstantTimeout(seconds)  # type: ignore[no-untyped-call]  # api-core says no type


def _light(node: tpu_v2.Node) -> tpu_v2.Node:
    """A node without its metadata: the startup script of each would be kept as long as the list."""
    tpu_v2.Node.pb(node).ClearField("metadata")
    return node


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Google's errors as ours, with what was tried."""
    try:
        yield
    except (google_exceptions.GoogleAPIError, grpc.RpcError) as error:
        raise to_platform_error(what, error) from error
    except GoogleAuthError as error:
        raise PermissionMissing(f"{what}: {words_of(error)}") from error


def _transport(endpoint: str) -> TpuGrpcTransport:
    parts = urlsplit(endpoint)
    if parts.scheme == "http":
        return TpuGrpcTransport(channel=grpc.insecure_channel(parts.netloc, options=_CHANNEL))
    return TpuGrpcTransport(host=parts.netloc, credentials=find_credentials())
