"""Which cluster a command means, and where that cluster keeps its files.

Looks at options, the environment, the records and configuration files; never
at the controller.
"""

from __future__ import annotations

import os
import shlex
import sys
from argparse import Namespace
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from iris_cli.exits import USAGE, CliError
from iris_cli.records import Record, Records, read_records
from iris_cli.rehearsal import is_rehearsal, real_name, rehearsal_name
from iris_platform.paths import ClusterPaths, default_paths

# Configurations are read by few commands, and reading them costs imports.
if TYPE_CHECKING:
    from iris_config import IrisConfig

SMALLEST_CONFIG = """\
name: demo
scale_groups:
  here:
    provider: { local: {} }
    max_slices: 2"""


@dataclass(frozen=True)
class Cluster:
    """A cluster that a command means.

    `named` says that the operator named it in this command or environment; it
    was not just the last one started. `option` names it in suggestions.
    """

    name: str
    paths: ClusterPaths
    config_path: Path | None
    zones: tuple[str, ...] = ()
    named: bool = True
    option: str = ""

    def command(self, words: str) -> str:
        """A command line that means this cluster, for hints."""
        return f"iris {self.option}{words}"

    def explain(self) -> None:
        """Say on stderr which cluster is meant; for `-v`."""
        how = "named" if self.named else "the last one started"
        sys.stderr.write(f"cluster {self.name} ({how}): state in {self.paths.state_dir}\n")


def find_cluster(options: Namespace) -> Cluster:
    """The cluster that a command means.

    Raises:
        CliError: none was named or started, or its configuration is wrong.
    """
    cluster = _find(options, read_records())
    if options.verbose:
        cluster.explain()
    return cluster


def _find(options: Namespace, records: Records) -> Cluster:
    if _asks_for_rehearsal(options):
        return _rehearsal(options, records)
    if options.config:
        option = f"--config {shlex.quote(options.config)} "
        return _from_config(Path(options.config), records, option)
    if options.cluster:
        return _from_name(options.cluster, records)
    if environment := os.environ.get("IRIS_CONFIG"):
        return _from_config(Path(environment), records, "")
    if records.last is None:
        raise _no_cluster()
    return replace(_from_record(records.clusters[records.last]), named=False)


def find_config(options: Namespace) -> Path:
    """The configuration file that `cluster start` means.

    Raises:
        CliError: none was named, or none is where it was looked for.
    """
    if options.config:
        return Path(options.config)
    records = read_records()
    if options.cluster:
        tried = _config_places(options.cluster)
        known = (options.cluster, real_name(options.cluster))
        tried += [Path(records.clusters[name].config) for name in known if name in records.clusters]
        return _first_file(tried, f"there is no configuration of cluster {options.cluster}")
    if environment := os.environ.get("IRIS_CONFIG"):
        return Path(environment)
    if records.last is None:
        raise _no_cluster()
    last = Path(records.clusters[records.last].config)
    return _first_file([last], f"the configuration of the last cluster, {records.last}, is gone")


def means_rehearsal(options: Namespace) -> bool:
    """Whether `cluster start` means a rehearsal: by --local, by name, or as the last one."""
    if _asks_for_rehearsal(options):
        return True
    if options.config or options.cluster:
        return is_rehearsal(options.cluster or "")
    if os.environ.get("IRIS_CONFIG"):
        return False
    return is_rehearsal(read_records().last or "")


def _asks_for_rehearsal(options: Namespace) -> bool:
    # Two verbs have the option; all of them can name the rehearsal.
    return getattr(options, "local", False)


def _rehearsal(options: Namespace, records: Records) -> Cluster:
    """The rehearsal of the cluster that the other options mean."""
    try:
        real = _find(Namespace(**{**vars(options), "local": False}), records)
    except CliError:
        # As with the real one: what was started must be stoppable although the
        # file is broken since.
        path = options.config or (not options.cluster and os.environ.get("IRIS_CONFIG"))
        record = records.of_config(Path(path).absolute(), rehearsal=True) if path else None
        if record is None:
            raise
        return replace(_from_record(record), option=f"--cluster {record.name} ")
    return _rehearsal_of(real, records)


def _rehearsal_of(real: Cluster, records: Records) -> Cluster:
    name = rehearsal_name(real.name)
    record = records.clusters.get(name)
    zones = record.zones if record else ()
    option = f"--cluster {name} "
    return Cluster(name, paths_of(name, record), real.config_path, zones, real.named, option)


def with_storage(paths: ClusterPaths, config: IrisConfig) -> ClusterPaths:
    """The same places with what the configuration says of a controller on this machine."""
    if config.proto.controller.WhichOneof("controller") != "local":
        # It is about the controller's machine, which is another one.
        return paths
    storage = config.proto.storage
    return _moved(paths, storage.state_dir, storage.pki_dir)


def with_directories(paths: ClusterPaths, options: Namespace) -> ClusterPaths:
    """The same places with what `--state-dir` and `--pki-dir` say."""
    return _moved(paths, options.state_dir, options.pki_dir)


def _moved(paths: ClusterPaths, state_dir: str | None, pki_dir: str | None) -> ClusterPaths:
    if state_dir:
        paths = replace(paths, state_dir=Path(state_dir).absolute())
    if pki_dir:
        paths = replace(paths, pki_dir=Path(pki_dir).absolute())
    return paths


def paths_of(name: str, record: Record | None) -> ClusterPaths:
    """Where a cluster keeps its files: as recorded, else the default places."""
    paths = default_paths(name)
    if record is None:
        return paths
    return replace(paths, state_dir=Path(record.state_dir), pki_dir=Path(record.pki_dir))


def _from_config(path: Path, records: Records, option: str) -> Cluster:
    from iris_cli.configs import load

    try:
        config = load(path)
    except CliError:
        # A cluster that was started from this file is still meant by it, and
        # must be stoppable although the file is broken or gone since.
        record = records.of_config(path.absolute())
        if record is None:
            raise
        return replace(_from_record(record), option=option)
    record = records.clusters.get(config.name)
    if record is None:
        paths = with_storage(default_paths(config.name), config)
        return Cluster(config.name, paths, path, option=option)
    return Cluster(config.name, paths_of(config.name, record), path, record.zones, option=option)


def _from_name(name: str, records: Records) -> Cluster:
    option = f"--cluster {shlex.quote(name)} "
    if record := records.clusters.get(name):
        return replace(_from_record(record), option=option)
    for path in _config_places(name):
        if path.is_file():
            found = _from_config(path, records, option)
            return _rehearsal_of(found, records) if is_rehearsal(name) else found
    paths = default_paths(name)
    # Without a dot or a slash it can be no way out of the state directory.
    if name.replace("-", "").isalnum() and paths.state_dir.is_dir():
        return Cluster(name, paths, None, option=option)
    known = ", ".join(records.clusters) or "none"
    looked = ", ".join(str(path) for path in _config_places(name))
    raise CliError(
        USAGE,
        f"there is no cluster {name}; looked for {looked}",
        hint=f"clusters that were started here: {known}",
    )


def _from_record(record: Record) -> Cluster:
    config = Path(record.config)
    return Cluster(record.name, paths_of(record.name, record), config, record.zones)


def _config_places(name: str) -> list[Path]:
    """Where `--cluster NAME` looks for a configuration, in order.

    A rehearsal has none of its own, but the real cluster's.
    """
    name = real_name(name)
    home = os.environ.get("XDG_CONFIG_HOME", "")
    base = Path(home) if Path(home).is_absolute() else Path.home() / ".config"
    return [Path(f"{name}.yaml"), base / "iris" / "clusters" / f"{name}.yaml"]


def _first_file(tried: list[Path], message: str) -> Path:
    for path in tried:
        if path.is_file():
            return path
    looked = ", ".join(str(path) for path in tried)
    raise CliError(USAGE, f"{message}; looked for {looked}", hint=_how_to_begin())


def _no_cluster() -> CliError:
    return CliError(
        USAGE,
        "which cluster? Neither --config, --cluster nor IRIS_CONFIG names one, and none was"
        " started from here before",
        hint=_how_to_begin(),
    )


def _how_to_begin() -> str:
    text = SMALLEST_CONFIG.replace("\n", "\n        ")
    return (
        "the smallest configuration, say in demo.yaml:\n"
        f"        {text}\n      then: iris cluster start --config demo.yaml"
    )
