"""What a TPU slice's specification has beyond every other's: `SliceSpec.provider_overrides`.

All that groups of one project may differ in is here, so that they share a platform.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, cast

from iris_platform.base import Refused, SliceSpec

# Not to hide a cycle: only who reads a configuration has its messages.
if TYPE_CHECKING:
    from iris_proto.v1.config_pb2 import ScaleGroupConfig


class Capacity(str, Enum):
    """How a slice is paid for."""

    ON_DEMAND = "on_demand"
    SPOT = "spot"
    RESERVED = "reserved"


# By the numbers of `Capacity` in the configuration; what was not said is on demand.
_CAPACITIES = (Capacity.ON_DEMAND, Capacity.ON_DEMAND, Capacity.SPOT, Capacity.RESERVED)


@dataclass(frozen=True)
class TpuOverrides:
    """The fields, by their names there; see `TpuProvider` in the configuration for most.

    `queued_for_s` is how long a queued resource waits in line; None: the slice is
    asked for as a node. The script is metadata, which all can read who may see the node.
    """

    runtime_version: str = ""
    capacity: Capacity = Capacity.ON_DEMAND
    network: str = ""
    subnetwork: str = ""
    external_addresses: bool = True
    service_account: str = ""
    reservation: str = ""
    queued_for_s: float | None = None
    startup_script: str = ""

    @classmethod
    def of(cls, spec: SliceSpec) -> TpuOverrides:
        """Those of a specification.

        Raises:
            Refused: one is not of here.
        """
        try:
            found = cls(**cast("dict[str, Any]", spec.provider_overrides))
            return replace(found, capacity=Capacity(found.capacity))
        except (TypeError, ValueError) as error:
            raise Refused(f"slice {spec.name}: {error}") from error

    def to_mapping(self) -> Mapping[str, object]:
        """As a specification has them."""
        return vars(self)


def group_overrides(group: ScaleGroupConfig) -> TpuOverrides:
    """What a group's (effective) configuration says of its slices; without a script."""
    tpu = group.provider.tpu
    is_queued = tpu.HasField("queued_resources")
    return TpuOverrides(
        runtime_version=group.runtime_version,
        capacity=_CAPACITIES[group.capacity],
        network=tpu.network,
        subnetwork=tpu.subnetwork,
        external_addresses=tpu.external_addresses,
        service_account=tpu.service_account,
        reservation=tpu.reservation,
        queued_for_s=tpu.queued_resources.valid_for.ToNanoseconds() / 1e9 if is_queued else None,
    )
