"""Cluster configuration: YAML -> `iris.v1.IrisClusterConfig`, checked and complete.

`load_config` is the only parser of configuration files in the repository.
Importing this package imports neither grpc nor any Google client.
"""

from __future__ import annotations

from iris_config.compare import diff_configs, effective_values, fingerprint
from iris_config.config import IrisConfig, get_provider_config
from iris_config.files import read_config_text
from iris_config.loader import load_config, parse_config
from iris_config.machine import MachineFacts, read_machine_facts
from iris_config.problems import ConfigError, Position, Problem, in_order

__version__ = "0.1.0"

__all__ = [
    "ConfigError",
    "IrisConfig",
    "MachineFacts",
    "Position",
    "Problem",
    "diff_configs",
    "effective_values",
    "fingerprint",
    "get_provider_config",
    "in_order",
    "load_config",
    "parse_config",
    "read_config_text",
    "read_machine_facts",
]
