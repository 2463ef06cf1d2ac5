"""What a cluster has that leaves this machine: an authority, a TLS port, a join port."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import grpc.aio

from iris_config import IrisConfig
from iris_config.endpoint import Endpoint, advertised
from iris_controller.core.values import Place, Reason
from iris_controller.shell.certificates import Admission, CertificateDesk
from iris_controller.shell.clock import now
from iris_controller.shell.controller import Controller
from iris_controller.shell.google_proof import GoogleProof, HostAddresses, TpuGroup, Where
from iris_controller.shell.identity import ServerIdentity
from iris_controller.shell.join import JoinServer, Limits, PortTaken
from iris_controller.shell.places import why_not_here
from iris_controller.shell.tokens import Proof, TokenStore
from iris_platform import Platform
from iris_platform.bundle import Shelf
from iris_platform.files import make_private_dir
from iris_platform.joining import Joining
from iris_platform.manual.forwards import ports_on_hosts
from iris_platform.pki.authority import Authority
from iris_proto.v1 import config_pb2

LOOPBACK = "127.0.0.1"
# For a host to be given its agent and to join.
TOKEN_TTL_S = 900.0


@dataclass(frozen=True, slots=True)
class Ports:
    """Where to listen for others; 0 takes a free port."""

    host: str
    grpc: int
    join: int


def ports_of(config: config_pb2.IrisClusterConfig) -> Ports | None:
    """Where a cluster listens beside loopback; None where nothing of it is on another machine."""
    controller = config.controller
    match controller.WhichOneof("controller"):
        case "manual":
            return _everywhere(controller.manual.port)
        case "gcp":
            return _everywhere(controller.gcp.port)
        case _:
            groups = config.scale_groups.values()
            if all(group.provider.WhichOneof("provider") in (None, "local") for group in groups):
                return None
            endpoint = advertised(controller)
            # Else hosts come through forwards that this machine holds.
            return _everywhere(endpoint.port) if endpoint else Ports(LOOPBACK, 0, 0)


def _everywhere(port: int) -> Ports:
    # The next one serves those that join: config.proto.
    host = "::" if socket.has_dualstack_ipv6() else "0.0.0.0"
    return Ports(host, port, port + 1 if port else 0)


class SecurePorts:
    """Both ports and what is behind them. `tokens` are for whoever bootstraps hosts."""

    def __init__(self, authority: Authority, bundles: Path, limits: Limits | None = None) -> None:
        self.cluster_id = authority.identity.cluster_id
        self.ca_pem = authority.ca_pem.decode("ascii")
        self.tokens = TokenStore(_boot_s)
        self.desk = CertificateDesk(authority, time.time)
        self.identity = ServerIdentity(authority, time.time)
        self._controller: Controller | None = None
        self._proofs: dict[str, Proof] = {"token": self.tokens}
        admission = Admission(self.desk, self._proofs, self._why_not)
        make_private_dir(bundles)
        self.join = JoinServer(bundles, admission, self.identity.context, limits)

    def open(self, server: grpc.aio.Server, ports: Ports, controller: Controller) -> tuple[str, str]:
        """Take both ports; returns their addresses, `HOST:PORT`, the gRPC server's first.

        Raises:
            PortTaken: one of them cannot be had.
        """
        self._controller = controller
        host = f"[{ports.host}]" if ":" in ports.host else ports.host
        try:
            bound = server.add_secure_port(f"{host}:{ports.grpc}", self.identity.grpc_credentials())
        except RuntimeError as error:
            raise PortTaken(
                f"cannot listen on port {ports.grpc} for agents and operators: in use?"
            ) from error
        return f"{host}:{bound}", self.join.bind(ports.host, ports.join)

    def believe_google(self, config: IrisConfig, platforms: Mapping[str, Platform]) -> None:
        """Let machines of TPU groups join by Google's word; before the ports are open."""
        groups = {
            name: TpuGroup(
                group.provider.tpu.project_id,
                group.provider.tpu.service_account,
                # Of this arm's platform, which is a platform and this.
                cast("HostAddresses", platforms[name]),
            )
            for name, group in config.scale_groups.items()
            if group.provider.HasField("tpu")
        }
        if groups:
            endpoint = config.proto.endpoints.certificates
            self._proofs["google"] = GoogleProof(endpoint, self.cluster_id, groups, self._find, _boot_s)

    def _find(self, slice_name: str) -> Where | None:
        controller = self._controller
        assert controller is not None, "open() comes first"
        slice_ = controller.view.slices.get(slice_name)
        return None if slice_ is None else Where(slice_.group, slice_.zone)

    def _why_not(self, place: Place) -> Reason | None:
        controller = self._controller
        assert controller is not None, "open() comes first"
        return why_not_here(controller.view, place)


def joining_of(config: config_pb2.IrisClusterConfig, secure: SecurePorts, bundles: Path) -> Joining | None:
    """How hosts join; None where nothing is on another machine."""
    if ports_of(config) is None:
        return None
    forwarded = None
    if endpoint := advertised(config.controller):
        agents, joining = endpoint, endpoint.joining
    else:
        # Ours are known only later; theirs must not change with us.
        forwarded = ports_on_hosts(secure.cluster_id)
        agents, joining = (Endpoint(LOOPBACK, port) for port in forwarded)
    return Joining(
        cluster=config.name,
        address=str(agents),
        join_url=f"https://{joining}",
        ca_pem=secure.ca_pem,
        mint=lambda slice_name, index: secure.tokens.mint(Place(slice_name, index), TOKEN_TTL_S),
        bundle_for=Shelf(bundles).bundle_for,
        forwarded=forwarded,
    )


def _boot_s() -> float:
    return now().boot_ms / 1000
