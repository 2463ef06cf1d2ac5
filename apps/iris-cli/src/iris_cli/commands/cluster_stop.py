"""`iris cluster stop`: plan, ask, delete, and prove that nothing is left."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from iris_cli.client import Controller
from iris_cli.exits import FAILED, INTERRUPTED, LEFT_OVER, USAGE, CliError
from iris_cli.locate import Cluster, find_cluster, with_directories
from iris_cli.output import Output, can_ask
from iris_cli.teardown.direct import clear
from iris_cli.teardown.live import Believed, ask_controller, shut_down
from iris_cli.teardown.look import Blind, Seen, look_at
from iris_cli.teardown.plan import Plan, doomed_slices, plan_document, plan_lines
from iris_cli.teardown.proof import left_lines, left_over, proof_lines, zone_documents
from iris_cli.teardown.scope import Site, choose_zones, open_sites, read_scope
from iris_cli.text import plural
from iris_platform.base import ClusterIdentity, Unreachable
from iris_platform.controller_vm import STOP_S, find_controller, stop_controller
from iris_platform.identity import IdentityError, load_identity


def run(options: Namespace) -> int:
    """Stop the cluster; 0 only if nothing is left."""
    output = Output(options)
    cluster = find_cluster(options)
    cluster = replace(cluster, paths=with_directories(cluster.paths, options))
    identity = _identity(cluster)
    if identity is None:
        return _never_started(cluster, output)
    stop = _prepare(cluster, identity, options, output)
    for line in plan_lines(stop.plan):
        output.line(line)
    if options.dry_run:
        return stop.report(stop.looks, {}, dry_run=True)
    if stop.plan.empty:
        return stop.report(stop.looks, {})
    stop.refuse_single_zones()
    if not _agreed(cluster, stop.plan, options, output):
        return FAILED
    try:
        return stop.carry_out()
    except KeyboardInterrupt:
        output.note("")
        output.note("iris: interrupted; what was begun may go on")
        output.note(f"      see it through: {cluster.command('cluster stop')}")
        return INTERRUPTED


@dataclass
class Stop:
    """A stop that was planned."""

    cluster: Cluster
    output: Output
    plan: Plan
    sites: list[Site]
    looks: list[Seen | Blind]
    controller: Controller
    believed: Believed | None

    def refuse_single_zones(self) -> None:
        """The controller would fill again what is deleted behind its back.

        Raises:
            CliError: only some zones are meant and the controller runs.
        """
        if self.plan.others and self.plan.controller is not None:
            others = ", ".join(self.plan.others)
            raise CliError(
                USAGE,
                f"this release stops single zones only while the controller is not running;"
                f" other zones are: {others}",
                hint=f"stop all of them: {self.cluster.command('cluster stop')}",
            )

    def carry_out(self) -> int:
        """Delete, stop the controller, look again, report."""
        if self.believed is not None:
            shut_down(self.controller, self.believed, self.output.note)
        self._stop_controller()
        result = clear(self.sites, self.plan.zones, self.cluster.paths, self.output.note)
        return self.report(list(result.looks), result.errors)

    def report(self, looks: list[Seen | Blind], errors: dict[str, str], *, dry_run: bool = False) -> int:
        """Print the proof and what stays; returns the exit status."""
        left = [] if dry_run else left_over(looks, errors)
        controller = find_controller(self.cluster.paths)
        kept = {
            "state_dir": str(self.cluster.paths.state_dir),
            "pki_dir": str(self.cluster.paths.pki_dir),
        }
        if self.output.structured:
            document: dict[str, Any] = plan_document(self.plan)
            document |= {"dry_run": dry_run, "zones": zone_documents(looks)}
            document |= {"left": left, "kept": kept, "jobs_kept": self._jobs()}
            self.output.document(document)
        else:
            self._print_report(looks, kept, running=controller is not None, dry_run=dry_run)
        blind = any(isinstance(look, Blind) for look in looks)
        if dry_run:
            return LEFT_OVER if blind else 0
        if not left and (controller is None or self.plan.others):
            return 0
        if controller is not None:
            left.append({"zone": "", "name": "", "why": f"controller process {controller.pid} runs"})
        again = self.cluster.command("cluster stop -y")
        raise CliError(
            LEFT_OVER,
            f"something is left of cluster {self.cluster.name}",
            details=left_lines(left, again),
        )

    def _print_report(
        self, looks: list[Seen | Blind], kept: dict[str, str], *, running: bool, dry_run: bool
    ) -> None:
        if not dry_run:
            for line in proof_lines(looks):
                self.output.line(line)
            if not running:
                self.output.line("controller: not running")
        for zone in self.plan.others:
            self.output.line(f"left as it was: zone {zone}")
        if jobs := self._jobs():
            self.output.line(f"kept for the next start: {plural(jobs, 'job')} not ended")
        self.output.line(f"kept: state in {kept['state_dir']}, keys in {kept['pki_dir']}")

    def _jobs(self) -> int:
        return self.believed.unfinished_jobs if self.believed else 0

    def _stop_controller(self) -> None:
        try:
            if stop_controller(self.cluster.paths, STOP_S):
                self.output.note("the controller has stopped")
        except Unreachable as error:
            raise CliError(LEFT_OVER, str(error)) from error


def _prepare(cluster: Cluster, identity: ClusterIdentity, options: Namespace, output: Output) -> Stop:
    """Look at everything and plan; changes nothing."""
    scope = read_scope(cluster)
    controller = Controller(cluster)
    process = find_controller(cluster.paths)
    believed = ask_controller(controller, output.note) if process else None
    known = sorted({*scope.zones, *(entry.zone for entry in (believed.slices if believed else ()))})
    zones = choose_zones(options.zones, tuple(known))
    sites = open_sites(scope, identity, cluster)
    looks = look_at(sites, zones)
    looks += [
        Blind(zone, "unknown", "no scale group of the configuration is there any more")
        for zone in scope.untold
        if zone in zones
    ]
    others = tuple(zone for zone in known if zone not in zones)
    plan = Plan(
        cluster.name,
        identity.cluster_id,
        zones,
        doomed_slices(believed.slices if believed else (), looks, zones),
        process.pid if process else None,
        tuple(look for look in looks if isinstance(look, Blind)),
        others,
    )
    return Stop(cluster, output, plan, sites, looks, controller, believed)


def _agreed(cluster: Cluster, plan: Plan, options: Namespace, output: Output) -> bool:
    """Whether the operator wants it.

    Raises:
        CliError: nobody can be asked, and the options do not say so.
    """
    if options.yes and cluster.named:
        return True
    if not can_ask():
        if not cluster.named:
            raise CliError(
                USAGE,
                f"{cluster.name} is only the last cluster that was started; say which one to stop",
                hint=f"iris --cluster {cluster.name} cluster stop -y",
            )
        raise CliError(
            USAGE, "-y is needed where there is no terminal", hint=cluster.command("cluster stop -y")
        )
    what = f"Delete {plural(len(plan.slices), 'slice')} of cluster {cluster.name} and stop it?"
    if output.ask(what):
        return True
    output.note("iris: nothing was changed")
    return False


def _identity(cluster: Cluster) -> ClusterIdentity | None:
    try:
        return load_identity(cluster.name, cluster.paths.pki_dir)
    except IdentityError as error:
        raise CliError(FAILED, str(error)) from error


def _never_started(cluster: Cluster, output: Output) -> int:
    """Without an identity nothing was ever made; unless the identity is lost.

    Raises:
        CliError: something is there that nobody can prove to be this cluster's.
    """
    paths = cluster.paths
    traces = [place for place in (paths.config_file, paths.local_root) if _holds_something(place)]
    if traces or find_controller(paths):
        where = ", ".join(str(place) for place in traces) or str(paths.state_dir)
        raise CliError(
            LEFT_OVER,
            f"the identity of cluster {cluster.name} is not in {paths.pki_dir}, but there is {where}",
            hint="say where its keys are: --pki-dir DIR",
        )
    if output.structured:
        plan = Plan(cluster.name, "", (), (), None)
        output.document({**plan_document(plan), "left": []})
    output.note(f"cluster {cluster.name} was never started from here: nothing to stop")
    return 0


def _holds_something(place: Path) -> bool:
    return any(place.iterdir()) if place.is_dir() else place.exists()
