"""`iris config schema`."""

from __future__ import annotations

from argparse import Namespace

from iris_cli.output import Output
from iris_config.schema import config_schema


def run(options: Namespace) -> int:
    """Print the JSON Schema of configuration files; as JSON where YAML is not asked for."""
    Output(options).document(config_schema())
    return 0
