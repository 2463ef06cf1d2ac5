"""A configuration that was read, completed and found valid."""

from __future__ import annotations

import json
from collections.abc import Mapping

import yaml
from google.protobuf.json_format import MessageToJson, ParseDict, ParseError

from iris_config.origins import Origins
from iris_config.problems import ConfigError, Problem
from iris_config.render import escaped, plain_tree
from iris_proto.v1 import config_pb2


class IrisConfig:
    """The effective configuration of one cluster: every value is present.

    Wraps the proto, which is the only schema; it must not be changed. `warnings`
    and `origins` tell of the file that it was read from.
    """

    def __init__(
        self,
        proto: config_pb2.IrisClusterConfig,
        warnings: tuple[Problem, ...] = (),
        origins: Origins | None = None,
    ) -> None:
        self._proto = proto
        self.warnings = warnings
        self.origins = origins

    @property
    def proto(self) -> config_pb2.IrisClusterConfig:
        """The message itself."""
        return self._proto

    @property
    def name(self) -> str:
        """The cluster's name."""
        return self._proto.name

    @property
    def scale_groups(self) -> Mapping[str, config_pb2.ScaleGroupConfig]:
        """The proto's map, by the group's name."""
        return self._proto.scale_groups

    def zones(self) -> list[str]:
        """The zones of all groups, each once, in order of the groups' names."""
        groups = (self._proto.scale_groups[name] for name in sorted(self._proto.scale_groups))
        return list(dict.fromkeys(zone for group in groups for zone in group.zones))

    def to_json(self) -> str:
        """The resolved document that a controller is given (proto JSON, snake_case)."""
        # Zeros are printed: a memory of 0 is not the same as none.
        return MessageToJson(
            self._proto,
            preserving_proto_field_name=True,
            always_print_fields_with_no_presence=True,
            sort_keys=True,
        )

    def to_yaml(self) -> str:
        """A configuration file that means the same, everything spelled out."""
        tree = escaped(plain_tree(self._proto))
        return yaml.safe_dump(tree, sort_keys=False, default_flow_style=None, allow_unicode=True, width=100)

    @classmethod
    def from_json(cls, text: str, *, source: str = "<json>") -> IrisConfig:
        """Read what `to_json` wrote; fills nothing in.

        Raises:
            ConfigError: not JSON, or a field that this release does not know.
        """
        proto = config_pb2.IrisClusterConfig()
        try:
            value = json.loads(text)
            if not isinstance(value, dict):
                raise ParseError("expected an object")
            ParseDict(value, proto)
        except (ValueError, ParseError) as error:
            # The parser's lists of what it knows follow on lines of their own.
            raise ConfigError(source, [Problem(None, "", str(error).partition("\n")[0])]) from error
        return cls(proto)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IrisConfig) and self._proto == other._proto

    __hash__ = None  # type: ignore[assignment]  # messages have no hash

    def __repr__(self) -> str:
        return f"IrisConfig(name={self.name!r}, scale_groups={sorted(self.scale_groups)})"


def get_provider_config(
    group: config_pb2.ScaleGroupConfig,
) -> tuple[str, str | None, list[str] | None]:
    """A group's provider: (its name, the project of a TPU group, manual hosts).

    Raises:
        ValueError: no provider, a TPU provider without project_id, a manual
            one without hosts; the message names the group.
    """
    if not group.HasField("provider"):
        raise ValueError(f"Scale group {group.name} missing provider config")
    provider = group.provider
    which = provider.WhichOneof("provider")
    if which == "tpu":
        if not provider.tpu.project_id:
            raise ValueError(f"Scale group {group.name}: tpu provider missing project_id")
        return "tpu", provider.tpu.project_id, None
    if which == "manual":
        if not provider.manual.hosts:
            raise ValueError(f"Scale group {group.name}: manual provider missing hosts")
        return "manual", None, list(provider.manual.hosts)
    if which == "local":
        return "local", None, None
    raise ValueError(f"Unknown provider type in {group.name}")
