"""What a TPU slice's specification has beyond every other's: `SliceSpec.provider_overrides`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from iris_platform.base import Refused, SliceSpec


class Capacity(str, Enum):
    """How a slice is paid for."""

    ON_DEMAND = "on_demand"
    SPOT = "spot"
    RESERVED = "reserved"


@dataclass(frozen=True)
class TpuOverrides:
    """The fields, by their names there. The script is metadata, which all can read who may see the node."""

    runtime_version: str = ""
    capacity: Capacity = Capacity.ON_DEMAND
    startup_script: str = ""

    @classmethod
    def of(cls, spec: SliceSpec) -> TpuOverrides:
        """Those of a specification.

        Raises:
            Refused: one is not of here.
        """
        fields = spec.provider_overrides
        try:
            return cls(
                runtime_version=str(fields.get("runtime_version", "")),
                capacity=Capacity(fields.get("capacity", Capacity.ON_DEMAND)),
                startup_script=str(fields.get("startup_script", "")),
            )
        except ValueError as error:
            raise Refused(f"slice {spec.name}: {error}") from error

    def to_mapping(self) -> Mapping[str, object]:
        """As a specification has them."""
        return vars(self)
