"""Whether there are credentials here for what a cluster asks of Google; said once, not by each zone."""

from __future__ import annotations

from iris_config import IrisConfig
from iris_platform.base import NoCredentials


def needs_credentials(config: IrisConfig) -> bool:
    """Whether anything of the cluster is at Google's; to a test cloud, at `http://`, none are sent."""
    proto = config.proto
    asked = [proto.endpoints.compute] if proto.controller.HasField("gcp") else []
    if any(group.provider.HasField("tpu") for group in proto.scale_groups.values()):
        asked.append(proto.endpoints.tpu)
    return any(url.startswith("https://") for url in asked)


def credentials_problem(config: IrisConfig) -> str:
    """Why Google cannot be asked from here; empty where it can, or need not be.

    Takes ten seconds where there are none.
    """
    if not needs_credentials(config):
        return ""
    # Here, since it takes Google's library along.
    from iris_platform.gcp.credentials import find_credentials

    try:
        find_credentials()
    except NoCredentials as error:
        return str(error)
    return ""
