"""Where a cluster keeps its files on this machine (DESIGN 4, 6 and 11).

Makes no directory and reads no file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ClusterPaths:
    """The three places of a cluster; apart, so that losing one loses one.

    `state_dir` holds the controller's store and files, `pki_dir` its keys and
    the mirror of its epoch, `local_root` the hosts of local slices.
    """

    state_dir: Path
    pki_dir: Path
    local_root: Path

    @property
    def controller_file(self) -> Path:
        """How clients and agents on this machine find the controller."""
        return self.state_dir / "controller.json"

    @property
    def controller_log(self) -> Path:
        """What the local controller writes to stdout and stderr."""
        return self.state_dir / "controller.log"

    @property
    def store_file(self) -> Path:
        """The controller's database; made only after the cluster's keys were."""
        return self.state_dir / "iris.db"

    @property
    def config_file(self) -> Path:
        """The resolved configuration that the controller was last given."""
        return self.state_dir / "cluster.json"


def base_directory(variable: str, default: str, environ: Mapping[str, str] | None = None) -> Path:
    """What `variable` says, by default `default` below the home directory.

    A relative value is ignored, as the XDG base directory specification says.
    """
    environ = os.environ if environ is None else environ
    value = environ.get(variable, "")
    if value and Path(value).is_absolute():
        return Path(value)
    return Path(environ.get("HOME") or Path.home()) / default


def state_home(environ: Mapping[str, str] | None = None) -> Path:
    """`$XDG_STATE_HOME`, by default `~/.local/state`."""
    return base_directory("XDG_STATE_HOME", ".local/state", environ)


def default_paths(cluster: str, environ: Mapping[str, str] | None = None) -> ClusterPaths:
    """The places of the cluster named `cluster` where nothing else is said."""
    home = state_home(environ)
    return ClusterPaths(home / "iris" / cluster, home / "iris-pki" / cluster, home / "iris-local" / cluster)
