"""The least that a command can do with gRPC: one call to a controller, and its answer's name.

`cold_unary.py CONTROLLER_FILE`, the peer of `iris cluster status` in benchmark 7.
"""

import json
import sys
from pathlib import Path

import grpc

from iris_proto.v1.controller_pb2 import GetClusterStatusRequest
from iris_proto.v1.controller_pb2_grpc import ControllerServiceStub

record = json.loads(Path(sys.argv[1]).read_bytes())
with grpc.insecure_channel(record["address"]) as channel:
    metadata = (("authorization", f"Bearer {record['token']}"),)
    status = ControllerServiceStub(channel).GetClusterStatus(GetClusterStatusRequest(), 20.0, metadata)
print(status.name)
