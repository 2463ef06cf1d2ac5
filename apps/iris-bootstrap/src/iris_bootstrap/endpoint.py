"""Where a host's controller is, on clusters that leave their machine: `HOST_DIR/tls/`.

Its files are `endpoint.json`, and what `iris_platform.credentials` reads.
Written by `join`, read at every connect. Standard library only.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from iris_platform.files import write_atomic

ENDPOINT_FILE = "endpoint.json"


class EndpointError(ValueError):
    """The file is there but cannot be used; the message names the field."""


@dataclass(frozen=True)
class Endpoint:
    """`address` is `HOST:PORT`; the controller there has to prove that it is the cluster's."""

    address: str
    cluster_id: str


def tls_dir(host_dir: Path) -> Path:
    """Where a host keeps its key, its certificate and whom it believes."""
    return host_dir / "tls"


def endpoint_file(host_dir: Path) -> Path:
    """It decides: a host without it dials the controller of its own machine."""
    return tls_dir(host_dir) / ENDPOINT_FILE


def read_endpoint(host_dir: Path) -> Endpoint | None:
    """What `write_endpoint` wrote; None where nothing did.

    Raises:
        EndpointError: it cannot be read, or a field is missing.
    """
    path = endpoint_file(host_dir)
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise EndpointError(f"{path}: cannot be used: {error}") from error
    match value:
        case {"address": str(address), "cluster_id": str(cluster_id)} if address and cluster_id:
            return Endpoint(address, cluster_id)
        case _:
            raise EndpointError(f"{path}: expected texts address and cluster_id")


def write_endpoint(host_dir: Path, endpoint: Endpoint) -> None:
    """Have `read_endpoint` return this from now on.

    Raises:
        OSError: it could not be written.
    """
    write_atomic(endpoint_file(host_dir), json.dumps(vars(endpoint)).encode("utf-8") + b"\n")
