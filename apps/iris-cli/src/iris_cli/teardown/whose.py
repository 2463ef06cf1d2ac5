"""Whose slices a cluster's places hold: its own, and those of keys that were lost."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

from iris_cli.exits import FAILED, LEFT_OVER, USAGE, CliError
from iris_cli.locate import Cluster
from iris_cli.output import Output
from iris_cli.text import plural
from iris_platform.base import ClusterIdentity, Unreachable
from iris_platform.controller_vm import find_controller
from iris_platform.identity import IdentityError, load_identity
from iris_platform.local import Found, take_census

_ID = re.compile(r"[a-z2-7]{10}")


def count_local(cluster: Cluster) -> list[Found]:
    """Everything under the cluster's local root.

    Raises:
        CliError: it cannot be listed.
    """
    try:
        return take_census(cluster.paths.local_root)
    except Unreachable as error:
        raise CliError(LEFT_OVER, f"what is left is not known: {error}") from error


def check_ids(ids: Iterable[str]) -> tuple[str, ...]:
    """The ids that `--cluster-id` names.

    Raises:
        CliError: one is none.
    """
    for word in ids:
        if not _ID.fullmatch(word):
            raise CliError(USAGE, f"--cluster-id {word!r}: expected ten characters of a-z and 2-7")
    return tuple(dict.fromkeys(ids))


def own_identity(cluster: Cluster, told: str, wanted: Sequence[str]) -> ClusterIdentity | None:
    """What the keys say, else what a live controller said, else what the operator says.

    Raises:
        CliError: the keys cannot be read, and nobody else says it.
    """
    try:
        found = load_identity(cluster.name, cluster.paths.pki_dir)
    except IdentityError as error:
        if not told and not wanted:
            raise CliError(FAILED, str(error), hint=_by_id("ID", cluster)) from error
        found = None
    if found is not None:
        return found
    cluster_id = told or next(iter(wanted), "")
    return ClusterIdentity(cluster.name, cluster_id) if cluster_id else None


def refuse_other_controller(
    cluster: Cluster, told: str, own: ClusterIdentity | None, wanted: Sequence[str] = ()
) -> None:
    """A controller of other keys is another cluster's, whatever its name.

    `told` is the id that the controller in the state directory says it has.

    Raises:
        CliError: it is not that of the cluster's keys, nor one that was asked for.
    """
    if not told or own is None or told in (own.cluster_id, *wanted):
        return
    raise CliError(
        LEFT_OVER,
        f"the controller in {cluster.paths.state_dir} is of cluster id {told}, but the keys in"
        f" {cluster.paths.pki_dir} are of {own.cluster_id}; nothing was changed",
        hint="say where each of the two is: --state-dir DIR and --pki-dir DIR",
    )


def ask_about(census: Iterable[Found], own: Collection[str], cluster: Cluster, output: Output) -> list[str]:
    """The other ids under the local root whose slices are to be deleted too."""
    slices: dict[str, list[str]] = {}
    for found in census:
        if found.cluster_id and found.cluster_id not in own:
            slices.setdefault(found.cluster_id, []).append(found.name)
    agreed = []
    for cluster_id, names in slices.items():
        output.note(
            f"{cluster.paths.local_root} holds {plural(len(names), 'slice')} of cluster id {cluster_id}:"
        )
        for name in names:
            output.note(f"  {name}")
        if output.ask(f"Its keys are not in {cluster.paths.pki_dir}. Stop these too?"):
            agreed.append(cluster_id)
    return agreed


def without_keys(cluster: Cluster, census: Sequence[Found]) -> ClusterIdentity | None:
    """What to stop where no identity is known; None where nothing was ever made.

    Raises:
        CliError: something is there that nobody can prove to be this cluster's.
    """
    paths = cluster.paths
    ids = sorted({found.cluster_id for found in census if found.cluster_id})
    if not ids and find_controller(paths) is not None:
        # Its process is known by its places; slices it has none.
        return ClusterIdentity(cluster.name, "")
    if not census and not paths.store_file.exists():
        return None
    where = paths.local_root if census else paths.store_file
    hint = f"say where its keys are: --pki-dir DIR{''.join(f'; or {_by_id(i, cluster)}' for i in ids)}"
    raise CliError(
        LEFT_OVER,
        f"the identity of cluster {cluster.name} is not in {paths.pki_dir}, but there is {where}",
        details=tuple(f"slice {found.name} ({plural(found.running, 'agent')})" for found in census),
        hint=hint,
    )


def refuse_other_identity(cluster: Cluster) -> None:
    """A start would mint an identity, or use one, beside what another one left.

    Raises:
        CliError: state or slices are there that are not of the keys in the pki directory.
    """
    paths = cluster.paths
    try:
        own = load_identity(cluster.name, paths.pki_dir)
    except IdentityError as error:
        raise CliError(FAILED, str(error)) from error
    census = count_local(cluster)
    others = [found for found in census if own is None or found.cluster_id != own.cluster_id]
    ids = sorted({found.cluster_id for found in others if found.cluster_id})
    if others:
        whose = ", ".join(ids) or "nobody known"
        stop = "".join(f"; or {_by_id(cluster_id, cluster)}" for cluster_id in ids)
        raise CliError(
            LEFT_OVER,
            f"{paths.local_root} holds {plural(len(others), 'slice')} of another identity of"
            f" cluster {cluster.name} ({whose}); nothing was started",
            details=tuple(f"slice {found.name} ({plural(found.running, 'agent')})" for found in others),
            hint=f"bring its keys back to {paths.pki_dir}{stop}",
        )
    if own is None and paths.store_file.exists():
        raise CliError(
            LEFT_OVER,
            f"the keys of cluster {cluster.name} are not in {paths.pki_dir}, but its state is in"
            f" {paths.state_dir}; nothing was started",
            hint="bring the keys back, or move that directory away to begin anew",
        )


def _by_id(cluster_id: str, cluster: Cluster) -> str:
    return f"stop what it left: {cluster.command(f'cluster stop --cluster-id {cluster_id}')}"
