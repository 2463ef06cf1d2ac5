"""Which calls the TPU API has, derived from the client library's own transports.

So nothing is typed by hand that could drift from the library: names and messages
come from the gRPC stubs, paths and bodies from the REST transport.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import grpc
from google.cloud.location import locations_pb2
from google.cloud.tpu_v2.services.tpu.transports.grpc import TpuGrpcTransport
from google.cloud.tpu_v2.services.tpu.transports.rest_base import _BaseTpuRestTransport
from google.longrunning import operations_pb2

MIXINS: Mapping[str, Any] = {
    "google.longrunning.Operations": operations_pb2,
    "google.cloud.location.Locations": locations_pb2,
}
VARIABLE = re.compile(r"\{([a-z._]+)=([^}]+)\}")


@dataclass(frozen=True)
class HttpRule:
    """`POST /v2/{parent=projects/*/locations/*}/nodes` and what the body is."""

    verb: str
    path: re.Pattern[str]  # without the leading /v2/
    fields: tuple[str, ...]  # of the request, for the groups of the pattern
    body: str  # a field, * for all of the request, or empty


@dataclass(frozen=True)
class Rpc:
    """One method. Messages are protobuf's own, without proto-plus around them."""

    path: str  # /google.cloud.tpu.v2.Tpu/CreateNode
    request: Any  # its class
    rules: tuple[HttpRule, ...]

    @property
    def service(self) -> str:
        return self.path.split("/")[1]

    @property
    def name(self) -> str:
        return self.path.split("/")[2]


class _Recorder(grpc.Channel):
    """Takes down what a transport would call, and calls nothing."""

    def __init__(self) -> None:
        self.requests: dict[str, Callable[[Any], bytes]] = {}

    def unary_unary(self, method: str, request_serializer: Any = None, *args: Any, **kwargs: Any) -> Any:
        self.requests[method] = request_serializer
        return lambda *args, **kwargs: None

    unary_stream = stream_unary = stream_stream = unary_unary

    def subscribe(self, *args: Any, **kwargs: Any) -> None: ...

    def unsubscribe(self, *args: Any, **kwargs: Any) -> None: ...

    def close(self) -> None: ...

    def __enter__(self) -> _Recorder:
        return self

    def __exit__(self, *args: object) -> None: ...


@cache
def table() -> tuple[Rpc, ...]:
    """Every method of the service, of operations and of locations."""
    recorder = _Recorder()
    transport: Any = TpuGrpcTransport(channel=recorder)
    # It has made its stubs already, with an interceptor in between.
    transport._logged_channel, transport._stubs = recorder, {}
    for name, _ in inspect.getmembers(type(transport), lambda value: isinstance(value, property)):
        getattr(transport, name)
    rules = dict(_http_rules())
    rpcs = []
    for path, serializer in sorted(recorder.requests.items()):
        service, name = path.split("/")[1:]
        # What proto-plus wraps says of what it is a method; protobuf's own messages are by name.
        plus = getattr(serializer, "__self__", None)
        request = plus.pb() if plus is not None else getattr(MIXINS[service], f"{name}Request")
        rpcs.append(Rpc(path, request, rules.get(name, ())))
    return tuple(rpcs)


def _http_rules() -> Iterator[tuple[str, tuple[HttpRule, ...]]]:
    for name, value in vars(_BaseTpuRestTransport).items():
        if name.startswith("_Base") and hasattr(value, "_get_http_options"):
            options = value._get_http_options()
            yield name.removeprefix("_Base"), tuple(_rule(each) for each in options)


def _rule(option: dict[str, str]) -> HttpRule:
    template = option["uri"].removeprefix("/v2/")
    fields, pattern, at = [], "", 0
    for match in VARIABLE.finditer(template):
        fields.append(match[1])
        inner = "[^/:]+".join(map(re.escape, match[2].split("*")))
        pattern += f"{re.escape(template[at : match.start()])}({inner})"
        at = match.end()
    pattern += re.escape(template[at:])
    return HttpRule(option["method"].upper(), re.compile(pattern), tuple(fields), option.get("body", ""))
