"""A stop of a cluster of which nothing, or not enough, is known on this machine."""

from __future__ import annotations

from argparse import Namespace

from iris_cli import there
from iris_cli.exits import LEFT_OVER, USAGE, CliError
from iris_cli.locate import Cluster
from iris_cli.operator import this_operator
from iris_cli.output import Output
from iris_cli.steps import Steps
from iris_cli.teardown.again import stop_words
from iris_cli.teardown.look import look_at, look_beyond
from iris_cli.teardown.plan import Plan, plan_document
from iris_cli.teardown.proof import foreign_ids, left_lines, left_over, proof_lines, zone_documents
from iris_cli.teardown.scope import choose_zones, open_clouds, read_scope
from iris_cli.teardown.whose import check_ids
from iris_config import IrisConfig
from iris_platform.base import PlatformError, Stray
from iris_platform.controller_vm import (
    ControllerState,
    ControllerVm,
    Site,
    has_keys,
    namesakes_at,
    site_of_id,
)


def given_site(cluster: Cluster, config: IrisConfig, vm: ControllerVm, options: Namespace) -> Site | None:
    """Where a controller is of which only the configuration and `--cluster-id` tell; None without an id.

    Raises:
        CliError: one runs there, and nothing says that it is meant; or that is not known.
    """
    ids = check_ids(options.cluster_ids)
    if ids and there.is_at_google(config):
        # Its machine has the id in its name: it cannot be another one's.
        if len(ids) > 1:
            raise CliError(USAGE, "without the cluster's keys, --cluster-id names one cluster at a time")
        return site_of_id(config.proto, ids[0])
    where = there.place(config)
    try:
        status = vm.status()
    except PlatformError as error:
        words = f"it is not known whether cluster {cluster.name} has a controller {where}: {error}"
        raise CliError(LEFT_OVER, words) from error
    if status.state is not ControllerState.ABSENT:
        raise _without_keys(cluster, f"has its controller {where}")
    return site_of_id(config.proto, ids[0]) if ids else None


def refuse_without_keys(cluster: Cluster, site: Site, options: Namespace) -> None:
    """Whoever has lost the keys of a cluster, or never had them, says its id.

    Raises:
        CliError: they are not here, and nobody did.
    """
    if not site.cluster_id or has_keys(cluster.paths) or site.cluster_id in check_ids(options.cluster_ids):
        return
    lost = cluster.command(stop_words(options, yes=False, also_ids=[site.cluster_id]))
    raise _without_keys(cluster, f"has its controller on {site.seat}", f"; if they are lost: {lost}")


def _without_keys(cluster: Cluster, where: str, more: str = "") -> CliError:
    return CliError(
        LEFT_OVER,
        f"cluster {cluster.name} {where}, and its keys are not here; nothing was changed",
        hint=f"get them, then stop it: {cluster.command('cluster login')}{more}",
    )


def never_started(cluster: Cluster, config: IrisConfig | None, options: Namespace, output: Output) -> int:
    """Looks into the clouds of the configuration for what carries the cluster's name; changes nothing.

    `config` is given where it puts the controller on another machine.

    Raises:
        CliError: something is there, or a zone cannot be looked at.
    """
    scope = read_scope(cluster)
    sites = open_clouds(scope, [""], cluster)
    zones = choose_zones(options.zones, scope.zones) if sites else ()
    looks = look_at(sites, zones)
    beyond = look_beyond((), looks, zones)
    left = left_over([*looks, *beyond], {})
    machines = [] if config is None or options.zones else _machines(cluster, config, output)
    left += [{"zone": "", "name": "", "why": stray.words} for stray in machines]
    if output.structured:
        document = plan_document(Plan(cluster.name, "", zones, (), None))
        output.document({**document, "zones": zone_documents([*looks, *beyond]), "left": left})
    else:
        for line in proof_lines([*looks, *beyond]):
            output.line(line)
    if not left:
        found = ", and nothing of its name is in its zones" if sites or config is not None else ""
        output.note(f"cluster {cluster.name} was never started from here{found}: nothing to stop")
        return 0
    ids = [*foreign_ids(beyond, []), *(stray.cluster_id for stray in machines if stray.cluster_id)]
    if any(stray.kind == "disk" for stray in machines):
        options = Namespace(**{**vars(options), "forget": True})
    raise CliError(
        LEFT_OVER,
        f"cluster {cluster.name} was never started from here; nothing was changed",
        details=left_lines(left, cluster.command(stop_words(options, yes=True, also_ids=ids[:1]))),
    )


def _machines(cluster: Cluster, config: IrisConfig, output: Output) -> list[Stray]:
    """What was made for the cluster's controller."""
    site = site_of_id(config.proto, "")
    operator = this_operator(Steps(output).step, output.note)
    try:
        return namesakes_at(cluster.name, site, cluster.paths, operator)
    except PlatformError as error:
        return [Stray("machines", there.place(config), f"not known ({error})")]
