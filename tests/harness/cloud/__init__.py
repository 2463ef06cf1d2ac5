"""A cloud to test against, which answers as Google's does: see docs/test-cloud.md.

with CloudServer() as cloud:                    # paper VMs; `vms=` for real ones
    client = tpu_client(cloud)                  # google-cloud-tpu, over gRPC or REST
    cloud.client.fault("stockout", "CreateNode", zone="us-west4-a", after=True)
    cloud.client.counts("a-node")
"""

from tests.harness.cloud.client import CloudClient, VmFacts
from tests.harness.cloud.server import CloudServer
from tests.harness.cloud.settings import Settings, Timings

__all__ = ["CloudClient", "CloudServer", "Settings", "Timings", "VmFacts"]
