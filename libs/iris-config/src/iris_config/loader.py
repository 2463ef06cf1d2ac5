"""A file -> an effective, valid `IrisConfig`, or every problem that it has.

YAML nodes with positions -> normalised tree -> `ParseDict` -> fleets written
out -> defaults -> validation.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from google.protobuf.json_format import ParseDict, ParseError

from iris_config.cautions import cautions
from iris_config.config import IrisConfig
from iris_config.defaults import Defaults
from iris_config.files import read_config_text
from iris_config.fleets import Fleets, expand_fleets
from iris_config.machine import MachineFacts, read_machine_facts
from iris_config.normalise import Normalised, normalise
from iris_config.origins import Origins
from iris_config.problems import ConfigError, FieldPath, Finding, Problem, field_name, in_order
from iris_config.validate import validate
from iris_config.yaml_nodes import compose
from iris_proto.v1 import config_pb2


def load_config(
    path: str | os.PathLike[str],
    *,
    machine: MachineFacts | None = None,
    environment: Mapping[str, str] | None = None,
) -> IrisConfig:
    """Read a cluster's configuration.

    `machine` stands in for the facts of this machine, which local groups
    default to, and `environment` for its environment variables.

    Raises:
        ConfigError: with every problem, each with file, line and column.
    """
    text = read_config_text(path)
    return parse_config(text, source=os.fspath(path), machine=machine, environment=environment)


def parse_config(
    text: str,
    *,
    source: str = "<text>",
    machine: MachineFacts | None = None,
    environment: Mapping[str, str] | None = None,
) -> IrisConfig:
    """`load_config` for text; `source` stands for the file in messages.

    Raises:
        ConfigError: with every problem.
    """
    root = compose(text, source)
    known = os.environ if environment is None else environment
    tree = normalise(root, config_pb2.IrisClusterConfig.DESCRIPTOR, known)
    config = config_pb2.IrisClusterConfig()
    try:
        ParseDict(tree.value, config)
    except ParseError as error:
        # What the normaliser lets through and the proto does not.
        raise ConfigError(source, [*tree.problems, Problem(None, "", str(error))]) from error
    fleets = expand_fleets(config)
    defaults = Defaults(machine or read_machine_facts(), lambda path: tree.is_written(fleets.source(path)))
    defaults.apply(config)
    problems = tree.problems + _problems([*fleets.findings, *validate(config)], tree, fleets)
    literals = [path for path in tree.named if path not in tree.variables]
    warnings = _problems(cautions(config, literals), tree, fleets, are_warnings=True)
    if problems:
        raise ConfigError(source, problems, warnings)
    return IrisConfig(config, in_order(warnings), Origins(source, tree, fleets, defaults.derived))


def _problems(
    findings: Iterable[Finding], tree: Normalised, fleets: Fleets, *, are_warnings: bool = False
) -> list[Problem]:
    reported = {problem.field for problem in tree.problems}
    problems = []
    for found, message in findings:
        path = fleets.source(found)
        if not _is_reported(path, reported):
            problems.append(
                Problem(tree.position(path), field_name(path), tree.redacted(message), are_warnings)
            )
    return problems


def _is_reported(path: FieldPath, reported: set[str]) -> bool:
    """What could not be read is not also missing or out of range."""
    if not reported:
        return False
    above = {field_name(path[:end]) for end in range(1, len(path) + 1)}
    inside = tuple(f"{field_name(path)}{mark}" for mark in ".[")
    return bool(above & reported) or any(field.startswith(inside) for field in reported)
