"""Places that a command was told to use, and that are another cluster's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from iris_cli.exits import USAGE, CliError
from iris_cli.locate import Cluster, paths_of
from iris_cli.records import Records
from iris_cli.rehearsal import is_rehearsal, real_name, rehearsal_name
from iris_cli.teardown.scope import started_config
from iris_platform.identity import KEY_FILE


def refuse_places_of_others(cluster: Cluster, records: Records, note: Callable[[str], None]) -> None:
    """A cluster in another one's directories would take over its jobs and its identity.

    Above all a rehearsal, whose very point is that it cannot. What a start left
    there and cannot be read any more is said, and does not hinder.

    Raises:
        CliError: a directory is known to be another cluster's.
    """
    try:
        started = started_config(cluster)
    except CliError as error:
        note(f"iris: {error.message}; going by the configuration that was given")
        started = None
    if started is not None and started.name != cluster.name:
        raise _taken(cluster.paths.state_dir, started.name, cluster)
    twin = real_name(cluster.name) if is_rehearsal(cluster.name) else rehearsal_name(cluster.name)
    for name in sorted({*records.clusters, twin} - {cluster.name}):
        other = paths_of(name, records.clusters.get(name))
        if _same(other.state_dir, cluster.paths.state_dir):
            raise _taken(cluster.paths.state_dir, name, cluster)
        if _same(other.pki_dir, cluster.paths.pki_dir) and (other.pki_dir / KEY_FILE).exists():
            raise _taken(cluster.paths.pki_dir, name, cluster)


def _same(one: Path, other: Path) -> bool:
    return one.exists() and one.resolve() == other.resolve()


def _taken(path: Path, name: str, cluster: Cluster) -> CliError:
    return CliError(
        USAGE,
        f"{path} is cluster {name}'s, not {cluster.name}'s; nothing was changed",
        hint="--state-dir and --pki-dir name directories of this cluster alone",
    )
