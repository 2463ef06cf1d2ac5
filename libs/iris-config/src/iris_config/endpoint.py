"""Where hosts dial the controller: what a configuration's `controller` says of it, read in one place."""

from __future__ import annotations

from dataclasses import dataclass

from iris_config.defaults import CONTROLLER_PORT
from iris_proto.v1.config_pb2 import ControllerConfig


@dataclass(frozen=True)
class Endpoint:
    """A host, and two ports on it: `port` for agents and operators, the next one for hosts that join."""

    host: str
    port: int

    @property
    def ports(self) -> tuple[int, int]:
        """Both of them."""
        return self.port, self.port + 1

    @property
    def joining(self) -> Endpoint:
        """The same host with the port for those that join."""
        return Endpoint(self.host, self.port + 1)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def endpoint_of(address: str, port: int = CONTROLLER_PORT) -> Endpoint:
    """What `HOST[:PORT]` means; `port` where it names none. IPv6 addresses with a port have brackets."""
    host, colon, named = address.rpartition(":")
    if not (colon and named.isdecimal()) or (":" in host and not host.endswith("]")):
        host, named = address, str(port)
    return Endpoint(host.removeprefix("[").removesuffix("]"), int(named))


def advertised(controller: ControllerConfig) -> Endpoint | None:
    """Where hosts dial the controller of an effective configuration.

    None where nothing says where that is: then they come through forwards that
    the controller holds. Only a controller on the operator's machine takes its
    port from `advertise_address`; others have a field of their own for it.
    """
    arm = controller.WhichOneof("controller")
    address = controller.advertise_address or (controller.manual.host if arm == "manual" else "")
    if not address:
        return None
    port = {"manual": controller.manual.port, "gcp": controller.gcp.port}.get(arm or "")
    found = endpoint_of(address)
    return found if port is None else Endpoint(found.host, port)
