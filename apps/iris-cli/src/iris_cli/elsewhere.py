"""A cluster whose controller is on another machine, and of which nothing is known on this one."""

from __future__ import annotations

from iris_cli.configs import load_for
from iris_cli.exits import CliError
from iris_cli.locate import Cluster
from iris_cli.there import is_here
from iris_config import IrisConfig


def configured_elsewhere(cluster: Cluster) -> IrisConfig | None:
    """The configuration, where its file puts the controller on another machine; else None."""
    if cluster.config_path is None:
        return None
    try:
        config = load_for(cluster.name, cluster.config_path)
    except CliError:
        # What is wrong with it is for those to say who need it.
        return None
    return config if config.name == cluster.name and not is_here(config) else None
