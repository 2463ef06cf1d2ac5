"""Reads configurations for commands; problems become a `CliError`.

`iris_config` is the only parser; this only words its errors.
"""

from __future__ import annotations

from pathlib import Path

from iris_cli.exits import USAGE, CliError
from iris_config import ConfigError, IrisConfig, load_config


def load(path: Path) -> IrisConfig:
    """The configuration in a file, checked and complete.

    Raises:
        CliError: it cannot be read, or is wrong; every problem is in it.
    """
    try:
        return load_config(path)
    except ConfigError as error:
        lines = tuple(str(error).splitlines())
        raise CliError(USAGE, f"{path} cannot be used", details=lines) from error
    except OSError as error:
        raise CliError(USAGE, f"{path}: cannot read: {error.strerror}") from error
