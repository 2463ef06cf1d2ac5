"""The image of a configuration, as what a role is to run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from iris_platform.base import ContainerSpec
from iris_platform.bootstrap.document import NO_CONTAINER, PROGRAMS

# Not to hide a cycle: protobuf must not be loaded with this package.
if TYPE_CHECKING:
    from iris_proto.v1.config_pb2 import BootstrapConfig


def container_of(bootstrap: BootstrapConfig | None, role: Literal["controller", "worker"]) -> ContainerSpec:
    """What `bootstrap.container` of an effective configuration means for a role; no image means a bundle.

    One image is for both roles: what it is started with is the role's program.
    """
    if bootstrap is None or not bootstrap.container.image:
        return NO_CONTAINER
    container = bootstrap.container
    return ContainerSpec(
        image=container.image,
        entrypoint=[PROGRAMS[role]],
        env=dict(container.env),
        ports={},
        health_port=container.health_port or None,
    )
