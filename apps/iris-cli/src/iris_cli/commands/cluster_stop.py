"""`iris cluster stop`: plan, ask, delete, and prove that nothing is left."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass, field, replace
from typing import Any

from iris_cli.client import Controller
from iris_cli.commands.cluster_start import controller_of
from iris_cli.consent import agreed
from iris_cli.elsewhere import configured_elsewhere
from iris_cli.exits import FAILED, INTERRUPTED, LEFT_OVER, CliError
from iris_cli.locate import Cluster, find_cluster, with_directories
from iris_cli.output import Output, can_ask
from iris_cli.reach import site_of
from iris_cli.records import forget_record, read_records
from iris_cli.teardown.again import stop_words
from iris_cli.teardown.direct import Result, clear
from iris_cli.teardown.elsewhere import left_in, look_into, refuse_to_forget
from iris_cli.teardown.ending import Ending, LocalEnding, RemoteEnding, Running
from iris_cli.teardown.live import Believed, ask_controller, shut_down
from iris_cli.teardown.look import Blind, Look, Seen, look_at, look_beyond, still_there, strays_of
from iris_cli.teardown.places import refuse_places_of_others
from iris_cli.teardown.plan import Plan, doomed_slices, plan_document, plan_lines
from iris_cli.teardown.proof import foreign_ids, left_lines, left_over, proof_lines, zone_documents
from iris_cli.teardown.scope import (
    Place,
    Scope,
    choose_zones,
    open_clouds,
    open_sites,
    open_sites_from_afar,
    read_scope,
    sites_of,
)
from iris_cli.teardown.unknown import given_site, never_started, refuse_without_keys
from iris_cli.teardown.whose import (
    ask_about,
    check_ids,
    count_local,
    own_identity,
    refuse_other_controller,
    without_keys,
)
from iris_cli.text import plural
from iris_platform.base import ClusterIdentity, PlatformError, Unreachable
from iris_platform.controller_vm import Site
from iris_platform.local import Found
from iris_proto.v1.controller_pb2 import Slice

NOWHERE = {"state_dir": "", "pki_dir": ""}


def run(options: Namespace) -> int:
    """Stop the cluster; 0 only if nothing is left."""
    output = Output(options, sees_through=True)
    cluster = find_cluster(options)
    cluster = replace(cluster, paths=with_directories(cluster.paths, options))
    refuse_places_of_others(cluster, read_records(), output.note)
    site = site_of(cluster)
    config = configured_elsewhere(cluster) if site is None else None
    if config is not None:
        site = given_site(cluster, config, controller_of(cluster, config, output, pins=False), options)
    elif site is not None:
        refuse_without_keys(cluster, site, options)
    # Where nothing is known of one elsewhere, nobody told its id either.
    stop = _prepare(cluster, site, options, output) if config is None or site is not None else None
    if stop is None:
        return never_started(cluster, config, options, output)
    for line in plan_lines(stop.plan):
        output.line(line)
    if options.dry_run:
        return stop.report(stop.looks, {}, dry_run=True)
    if stop.plan.empty and not options.forget:
        return stop.report(stop.looks, {})
    if not _agreed(cluster, stop.plan, options, output):
        return FAILED
    try:
        return stop.carry_out()
    except KeyboardInterrupt:
        output.note("")
        output.note("iris: interrupted; what was begun may go on")
        output.note(f"      see it through: {cluster.command(stop_words(options, yes=False))}")
        return INTERRUPTED


@dataclass
class Stop:
    """A stop that was planned."""

    options: Namespace
    cluster: Cluster
    output: Output
    plan: Plan
    sites: list[Place]
    looks: list[Seen | Blind]
    site: Site | None
    ending: Ending
    controller: Controller
    believed: Believed | None
    identity: ClusterIdentity
    scope: Scope
    # Whose cloud slices go too.
    other_ids: frozenset[str] = frozenset()
    # What the controller said was left when it was last asked.
    told: tuple[Slice, ...] = ()
    # Hosts that may still let a controller in that was on another machine.
    shut_out: tuple[str, ...] = ()
    # In the other zones, and hinders that the cluster is forgotten.
    elsewhere: list[dict[str, str]] = field(default_factory=list)
    forgotten: bool = False

    def carry_out(self) -> int:
        """Delete, stop the controller unless it goes on, look again, report."""
        if self.believed is not None:
            zones = self.plan.zones if self.plan.others else ()
            self.told = shut_down(self.controller, self.believed, zones, self.output.note)
        if self.plan.pauses:
            return self.report(look_at(self.sites_now(), self.plan.zones), {})
        self._stop_controller()
        # One that could not be stopped cannot come back to the hosts either.
        self.shut_out = () if self.plan.others else tuple(self.ending.shut_out(self.scope.started))
        self.sites = self.sites_now()
        result = clear(self.sites, self.plan.zones, self.cluster.paths, self.output.note)
        if self.options.forget and not self._may_be_left(result):
            # What was being made there meanwhile is seen now that nobody makes any more.
            looks = look_into(self.sites_now(), self.plan.others, self.scope)
            self.elsewhere = left_in(looks, self._census(), (), self.plan.others)
            if not self.elsewhere:
                self._forget()
        return self.report(list(result.looks), result.errors)

    def _census(self) -> list[Found]:
        """What is local and nobody's else: with a controller elsewhere that ends with it."""
        return count_local(self.cluster) if self.site is None else []

    def _may_be_left(self, result: Result) -> bool:
        """Whether somebody will need the keys once more."""
        left = left_over(result.looks, result.errors) or self.shut_out
        # What carries another id is not ours to prove; what is ours by half may be.
        halves = [stray for look in result.looks for stray in strays_of(look) if not stray.cluster_id]
        return bool(left or halves or any(self._controllers(dry_run=False)))

    def sites_now(self) -> list[Place]:
        """The places for a fresh look: one from afar remembers what was there at the last."""
        if self.site is None:
            return self.sites
        sites = open_sites_from_afar(self.scope, self.identity, self.cluster)
        return sites + open_clouds(self.scope, self.other_ids, self.cluster)

    def report(self, seen: list[Seen | Blind], errors: dict[str, str], *, dry_run: bool = False) -> int:
        """Print the proof and what stays; returns the exit status."""
        zones = self.plan.zones if self.plan.others else None
        looks: list[Look] = [*seen, *look_beyond(count_local(self.cluster), seen, zones)]
        left = [] if dry_run else left_over(looks, errors)
        left += [] if dry_run else still_there(self.told, self.sites, {entry["name"] for entry in left})
        left += [{"zone": "", "name": "", "why": why} for why in self.shut_out]
        left += self.elsewhere
        controllers, unknown = self._controllers(dry_run=dry_run)
        # What goes with them is not kept, as the plan says and the end shows.
        goes = self.forgotten or (dry_run and self.options.forget)
        kept = dict(NOWHERE) if goes else self.kept()
        jobs = 0 if goes else self._jobs(kept)
        if self.output.structured:
            document: dict[str, Any] = plan_document(self.plan)
            document |= {"dry_run": dry_run, "zones": zone_documents(looks)}
            document |= {"left": left, "kept": kept, "jobs_kept": jobs}
            self.output.document(document)
        else:
            self._print_report(looks, kept, jobs, running=bool(controllers or unknown), dry_run=dry_run)
        if dry_run:
            return LEFT_OVER if self.plan.blind or self.plan.foreign else 0
        left += [{"zone": "", "name": "", "why": why} for why in unknown]
        if not left and (not controllers or self.plan.others):
            return 0
        left += [{"zone": "", "name": "", "why": f"controller {one.words} runs"} for one in controllers]
        ids = foreign_ids(looks, [self.plan.cluster_id])
        again = self.cluster.command(stop_words(self.options, yes=True, also_ids=ids))
        raise CliError(
            LEFT_OVER,
            f"something is left of cluster {self.cluster.name}",
            details=left_lines(left, again, looks),
        )

    def _controllers(self, *, dry_run: bool) -> tuple[list[Running], list[str]]:
        """The controllers that run now, and why that is not known."""
        if dry_run or self.forgotten:
            return [], []
        try:
            return self.ending.running(), []
        except PlatformError as error:
            return [], [f"the controller: {error}"]

    def kept(self) -> dict[str, str]:
        """The places that outlive the cluster; of a host that does not answer, none is known."""
        return dict(NOWHERE) if self.forgotten else _kept(self.ending)

    def _print_report(
        self, looks: list[Look], kept: dict[str, str], jobs: int | None, *, running: bool, dry_run: bool
    ) -> None:
        if not dry_run:
            for line in proof_lines(looks):
                self.output.line(line)
            if not running:
                self.output.line("controller: not running")
        # Beforehand the plan says it.
        for zone in () if dry_run else self.plan.others:
            self.output.line(f"left as it was: zone {zone}")
        for zone in () if dry_run else self.plan.pauses:
            self.output.line(f"zone {zone} stays empty until the next start; the controller goes on")
        if jobs is None:
            self.output.line(
                "kept for the next start: any jobs that have not ended (no controller said how many)"
            )
        elif jobs:
            self.output.line(f"kept for the next start: {plural(jobs, 'job')} not ended")
        places = (("state", kept["state_dir"]), ("keys", kept["pki_dir"]))
        if words := ", ".join(f"{what} in {path}" for what, path in places if path):
            self.output.line(f"kept: {words}")

    def _jobs(self, kept: dict[str, str]) -> int | None:
        """How many jobs wait for the next start; None where only the store knows."""
        if self.believed:
            return self.believed.unfinished_jobs
        return None if kept["state_dir"] else 0

    def _stop_controller(self) -> None:
        try:
            if self.ending.stop():
                self.output.note("the controller has stopped")
        except Unreachable as error:
            if self.site is None:
                raise CliError(LEFT_OVER, str(error)) from error
            self.output.note(f"iris: {error}; going on without it")
        except PlatformError as error:
            raise CliError(LEFT_OVER, str(error)) from error

    def _forget(self) -> None:
        """Remove state and keys: the cluster might never have been."""
        try:
            self.ending.forget()
        except PlatformError as error:
            hint = f"to remove what is left: {self.cluster.command(stop_words(self.options, yes=True))}"
            raise CliError(LEFT_OVER, str(error), hint=hint) from error
        forget_record(self.cluster.name)
        self.forgotten = True


def _prepare(cluster: Cluster, site: Site | None, options: Namespace, output: Output) -> Stop | None:
    """Look at everything and plan; changes nothing. None where nothing was ever started."""
    controller = Controller(cluster)
    ending = LocalEnding(cluster) if site is None else RemoteEnding(cluster, site, output)
    running = _running(ending, output)
    believed = ask_controller(controller, output.note) if running else None
    census = count_local(cluster) if site is None else []
    meant = _whose(cluster, site, believed, census, options, output)
    if meant is None:
        return None
    identity, ids = meant
    scope = read_scope(cluster)
    if site is None:
        sites = open_sites(scope, identity, cluster)
        sites += sites_of(census, ids, sites, cluster)
    else:
        sites = open_sites_from_afar(scope, identity, cluster)
    other_ids = frozenset(ids - {identity.cluster_id})
    sites += open_clouds(scope, other_ids, cluster)
    plan, looks = _plan(cluster, options, ending, running, believed, census, identity, scope, sites)
    return Stop(
        *(options, cluster, output, plan, sites, looks, site, ending, controller, believed),
        *(identity, scope, other_ids),
    )


def _plan(
    cluster: Cluster,
    options: Namespace,
    ending: Ending,
    running: list[Running],
    believed: Believed | None,
    census: list[Found],
    identity: ClusterIdentity,
    scope: Scope,
    sites: list[Place],
) -> tuple[Plan, list[Seen | Blind]]:
    """What a stop does, and the looks that say so."""
    told = believed.slices if believed else ()
    known = sorted({*scope.zones, *(entry.zone for entry in told), *(site.zone for site in sites)})
    zones = choose_zones(options.zones, tuple(known))
    looks = look_into(sites, zones, scope)
    others = tuple(zone for zone in known if zone not in zones)
    if options.forget:
        left = left_in(look_into(sites, others, scope), census, told, others)
        refuse_to_forget(cluster, identity.cluster_id, left)
    beyond = look_beyond(census, looks, zones if others else None)
    goes_on = _goes_on(running, believed, others, options, cluster)
    forgets = _kept(ending) if options.forget else {}
    plan = Plan(
        cluster.name,
        identity.cluster_id,
        zones,
        doomed_slices(told, looks, zones, scope.groups),
        running[0] if running and not goes_on else None,
        tuple(look for look in looks if isinstance(look, Blind)),
        others,
        tuple(entry for look in beyond for entry in look.slices),
        # Both may be on one disk.
        tuple(dict.fromkeys(path for path in forgets.values() if path)),
        pauses=zones if goes_on else (),
        silent=ending.silent,
    )
    return plan, looks


def _kept(ending: Ending) -> dict[str, str]:
    """The places that outlive the cluster; of a host that does not answer, none is known."""
    try:
        return ending.kept()
    except PlatformError:
        return dict(NOWHERE)


def _goes_on(
    running: list[Running],
    believed: Believed | None,
    others: tuple[str, ...],
    options: Namespace,
    cluster: Cluster,
) -> bool:
    """Whether the controller stays for the sake of other zones.

    Raises:
        CliError: it would have to, and does not answer: it would fill the zone again.
    """
    if not running or not others or options.controller:
        return False
    if believed is None:
        raise CliError(
            LEFT_OVER,
            f"the controller ({running[0].words}) runs and does not answer; nothing was changed, since it"
            " would fill the zone again",
            hint=f"stop it too: {cluster.command('cluster stop --controller ...')}",
        )
    return any(entry.zone in others for entry in believed.slices)


def _running(ending: Ending, output: Output) -> list[Running]:
    """The controllers that run; a host that does not answer is said, and dealt with as one without."""
    try:
        return ending.running()
    except Unreachable as error:
        output.note(f"iris: the controller's host: {error}; the slices are looked for without it")
        return []
    except PlatformError as error:
        raise CliError(FAILED, str(error)) from error


def _whose(
    cluster: Cluster,
    site: Site | None,
    believed: Believed | None,
    census: list[Found],
    options: Namespace,
    output: Output,
) -> tuple[ClusterIdentity, set[str]] | None:
    """The cluster's identity, and all ids whose local slices go."""
    wanted = list(check_ids(options.cluster_ids))
    if site is not None:
        # Without an id no key was made there, and no slice either.
        return ClusterIdentity(cluster.name, site.cluster_id), {site.cluster_id, *wanted}
    told = believed.status.cluster_id if believed else ""
    own = own_identity(cluster, told, wanted)
    refuse_other_controller(cluster, told, own, wanted)
    ids = {told, *wanted, own.cluster_id if own else ""}
    if can_ask() and not options.yes and not options.dry_run:
        agreed = ask_about(census, ids, cluster, output)
        ids |= set(agreed)
        if own is None and agreed:
            own = ClusterIdentity(cluster.name, agreed[0])
    own = own or without_keys(cluster, census)
    return (own, ids - {""}) if own else None


def _agreed(cluster: Cluster, plan: Plan, options: Namespace, output: Output) -> bool:
    """Whether the operator wants it.

    Raises:
        CliError: see `agreed`.
    """
    what = f"Delete {plural(len(plan.slices), 'slice')} of cluster {cluster.name} and stop it"
    what += ", and forget its jobs and its keys?" if options.forget else "?"
    return agreed(cluster, output, what, yes=options.yes, again=stop_words(options, yes=True))
