"""A file -> an effective, valid `IrisConfig`, or every problem that it has.

YAML nodes with positions -> normalised tree -> `ParseDict` -> defaults ->
validation.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from google.protobuf.json_format import ParseDict, ParseError

from iris_config.config import IrisConfig
from iris_config.defaults import apply_defaults
from iris_config.files import read_config_text
from iris_config.machine import MachineFacts, read_machine_facts
from iris_config.normalise import Normalised, normalise
from iris_config.problems import ConfigError, FieldPath, Position, Problem, field_name
from iris_config.validate import validate
from iris_config.yaml_nodes import compose
from iris_proto.v1 import config_pb2


def load_config(path: str | os.PathLike[str], *, machine: MachineFacts | None = None) -> IrisConfig:
    """Read a cluster's configuration.

    `machine` stands in for the facts of this machine, which local groups
    default to.

    Raises:
        ConfigError: with every problem, each with file, line and column.
    """
    return parse_config(read_config_text(path), source=os.fspath(path), machine=machine)


def parse_config(text: str, *, source: str = "<text>", machine: MachineFacts | None = None) -> IrisConfig:
    """`load_config` for text; `source` stands for the file in messages.

    Raises:
        ConfigError: with every problem.
    """
    tree = normalise(compose(text, source), config_pb2.IrisClusterConfig.DESCRIPTOR)
    config = config_pb2.IrisClusterConfig()
    try:
        ParseDict(tree.value, config)
    except ParseError as error:
        # What the normaliser lets through and the proto does not.
        raise ConfigError(source, [*tree.problems, Problem(None, "", str(error))]) from error
    apply_defaults(config, machine or read_machine_facts(), tree.positions)
    problems = tree.problems + _findings(config, tree)
    if problems:
        raise ConfigError(source, problems)
    return IrisConfig(config)


def _findings(config: config_pb2.IrisClusterConfig, tree: Normalised) -> list[Problem]:
    reported = {problem.field for problem in tree.problems}
    problems = []
    for path, message in validate(config):
        name = field_name(path)
        above = {field_name(path[:end]) for end in range(1, len(path) + 1)}
        inside = any(field.startswith(f"{name}.") for field in reported)
        # What could not be read is not also missing or out of range.
        if not (above & reported or inside):
            problems.append(Problem(_nearest_position(path, tree.positions), name, message))
    return problems


def _nearest_position(path: FieldPath, positions: Mapping[FieldPath, Position]) -> Position:
    """Where a field is, or for one that is missing where its parent is."""
    while path not in positions:
        path = path[:-1]
    return positions[path]
