"""Whether a controller answers, as its standard health service says.

The messages of `grpc.health.v1` are two fields; the package for them would be
one more dependency.
"""

from __future__ import annotations

import grpc

from iris_cli.reach.link import CHANNEL_OPTIONS
from iris_platform.controller_file import ControllerRecord

METHOD = "/grpc.health.v1.Health/Check"
TIMEOUT_S = 1.0
# HealthCheckRequest with no service: the server as a whole.
REQUEST = b""
# HealthCheckResponse: field 1 (status), SERVING = 1.
SERVING = b"\x08\x01"


def is_serving(record: ControllerRecord) -> bool:
    """Whether the controller of that record answers that it serves."""
    channel = grpc.insecure_channel(record.address, options=CHANNEL_OPTIONS)
    try:
        check = channel.unary_unary(METHOD, request_serializer=bytes, response_deserializer=bytes)
        metadata = (("authorization", f"Bearer {record.token}"),)
        answer: bytes = check(REQUEST, timeout=TIMEOUT_S, metadata=metadata)
    except grpc.RpcError:
        return False
    finally:
        channel.close()
    return answer == SERVING
