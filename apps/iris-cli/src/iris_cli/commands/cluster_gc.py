"""`iris cluster gc`: what carries the cluster's identity and is nobody's."""

from __future__ import annotations

import shlex
from argparse import Namespace
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from iris_cli.client import Controller, RpcFailed
from iris_cli.consent import agreed
from iris_cli.exits import FAILED, LEFT_OVER, UNREACHABLE, CliError
from iris_cli.locate import Cluster, find_cluster
from iris_cli.output import Output
from iris_cli.reach import site_of
from iris_cli.teardown.direct import delete_and_follow
from iris_cli.teardown.live import Believed, believed_by
from iris_cli.teardown.look import Blind, Seen, look_at
from iris_cli.teardown.proof import left_lines, left_over
from iris_cli.teardown.scope import Place, choose_zones, open_sites, open_sites_from_afar, read_scope
from iris_cli.text import plural
from iris_platform.base import ClusterIdentity, SliceInfo


def run(options: Namespace) -> int:
    """Name what has no owner, and with --delete remove it; 0 only if there is none any more."""
    output = Output(options, sees_through=True)
    cluster = find_cluster(options)
    controller = Controller(cluster)
    sites, zones = _places(cluster, controller, options)
    # First what is there and then what is known: a slice is written down before it is asked for.
    looks = look_at(sites, zones)
    orphans = _without_owner(looks, _known(cluster, controller))
    for info in _slices(orphans):
        output.line(f"slice {info.slice_id} in zone {info.zone} ({info.state.value}) has no owner")
    if options.delete and _slices(orphans):
        count = plural(len(_slices(orphans)), "slice")
        words = "cluster gc --delete -y" + "".join(f" --zone {shlex.quote(zone)}" for zone in options.zones)
        question = f"Delete {count} of cluster {cluster.name} that no controller knows?"
        if not agreed(cluster, output, question, yes=options.yes, again=words):
            return FAILED
        return _delete(cluster, controller, sites, zones, orphans, output)
    return _report(cluster, orphans, {}, (), output)


def _places(
    cluster: Cluster, controller: Controller, options: Namespace
) -> tuple[list[Place], tuple[str, ...]]:
    believed = _believed(cluster, controller)
    scope = read_scope(cluster)
    identity = ClusterIdentity(cluster.name, believed.status.cluster_id)
    openly = open_sites if site_of(cluster) is None else open_sites_from_afar
    sites = openly(scope, identity, cluster)
    known = sorted({*scope.zones, *(site.zone for site in sites)})
    return sites, choose_zones(options.zones, tuple(known))


def _known(cluster: Cluster, controller: Controller) -> set[str]:
    """The slices that are the controller's.

    Raises:
        CliError: it does not say; then everything would seem to be nobody's.
    """
    believed = _believed(cluster, controller)
    return {entry.name for entry in believed.slices}


def _believed(cluster: Cluster, controller: Controller) -> Believed:
    try:
        return believed_by(controller)
    except RpcFailed as error:
        raise CliError(
            UNREACHABLE,
            f"only the controller knows what has an owner: {error.message}",
            hint=f"bring it back: {cluster.command('cluster start')}",
        ) from error


def _without_owner(looks: Iterable[Seen | Blind], known: set[str]) -> list[Seen | Blind]:
    """The looks with what is nobody's alone; a place that could not be seen stays one."""
    return [
        replace(look, slices=tuple(info for info in look.slices if info.slice_id not in known))
        if isinstance(look, Seen)
        else replace(look, known=())
        for look in looks
    ]


def _slices(looks: Iterable[Seen | Blind]) -> list[SliceInfo]:
    return [info for look in looks if isinstance(look, Seen) for info in look.slices]


def _delete(
    cluster: Cluster,
    controller: Controller,
    sites: Sequence[Place],
    zones: Sequence[str],
    orphans: list[Seen | Blind],
    output: Output,
) -> int:
    # Somebody was asked meanwhile: what was adopted since is not ours to take.
    doomed = _without_owner(orphans, _known(cluster, controller))
    names = {info.slice_id for info in _slices(doomed)}
    for name in sorted(names):
        output.note(f"deleting slice {name}")

    def look() -> list[Seen | Blind]:
        return [
            replace(one, slices=tuple(info for info in one.slices if info.slice_id in names))
            if isinstance(one, Seen)
            else one
            for one in look_at(sites, zones)
        ]

    looks, errors = delete_and_follow(doomed, look, output.note)
    return _report(cluster, looks, errors, sorted(names), output)


def _report(
    cluster: Cluster,
    looks: Sequence[Seen | Blind],
    errors: dict[str, str],
    asked: Sequence[str],
    output: Output,
) -> int:
    left = left_over(looks, errors)
    there = {entry["name"] for entry in left}
    deleted = [name for name in asked if name not in there]
    if output.structured:
        document: dict[str, Any] = {"name": cluster.name, "orphans": left, "deleted": deleted}
        output.document(document)
    for name in deleted:
        output.line(f"deleted: slice {name}")
    if not left:
        output.note("nothing of this cluster is without an owner")
        return 0
    raise _found(cluster, left)


def _found(cluster: Cluster, left: Sequence[dict[str, str]]) -> CliError:
    """What ends the command; of a zone that was not seen, nobody knows whether all in it has an owner."""
    unseen = tuple(
        f"zone {entry['zone']}: could not be listed: {entry['why']}" for entry in left if not entry["name"]
    )
    orphans = [entry for entry in left if entry["name"]]
    if not orphans:
        words = f"not every zone of cluster {cluster.name} could be listed; nothing without an owner was seen"
        hint = f"look again when they can be: {cluster.command('cluster gc')}"
        return CliError(LEFT_OVER, words, details=unseen, hint=hint)
    details = (*unseen, *left_lines(orphans, cluster.command("cluster gc --delete")))
    return CliError(LEFT_OVER, f"something of cluster {cluster.name} has no owner", details=details)
