"""`iris doctor`: look, before anything is started, at everything that a start needs."""

from __future__ import annotations

import sys
import threading
from argparse import Namespace
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path

from iris_cli.commands.cluster_start import refuse_unusable
from iris_cli.configs import rehearse
from iris_cli.doctor.checks import CONFIGURATION, THIS_MACHINE, Check, Report, Result
from iris_cli.doctor.controller_host import SiteDoctor
from iris_cli.doctor.google import examine_google
from iris_cli.doctor.hosts import PROBE_S, REACH_S, HostDoctor, Wanted
from iris_cli.doctor.local import check_machine, seat_here
from iris_cli.doctor.seat import Seat
from iris_cli.exits import DONE, FAILED, USAGE, CliError
from iris_cli.locate import find_config, means_rehearsal, paths_of, with_storage
from iris_cli.output import Output, is_terminal
from iris_cli.records import read_records
from iris_cli.text import plural, safe
from iris_cli.there import is_at_google, is_here
from iris_config import ConfigError, IrisConfig, Problem, load_config
from iris_config.endpoint import advertised
from iris_platform.base import PlatformError, Refused
from iris_platform.bootstrap import container_of
from iris_platform.bootstrap.run import UPLOAD_S
from iris_platform.controller_vm import dial, kinds_of, known_site
from iris_platform.controller_vm.site import OPERATOR_DIR
from iris_platform.credentials import CredentialsError
from iris_platform.identity import IdentityError, load_identity
from iris_platform.joining import Kind
from iris_platform.manual import KNOWN_HOSTS_FILE
from iris_platform.paths import ClusterPaths
from iris_platform.pki.keyring import Keyring
from iris_platform.ssh import (
    KnownHosts,
    SshTarget,
    UserConfig,
    connect,
    for_each,
    resolve,
    settings_of,
    targets_in,
)

HEADERS = ("HOST", "CHECK", "RESULT", "WHAT TO DO")
WIDE_HEADERS = ("HOST", "CHECK", "RESULT", "FOUND", "WHAT TO DO")
# For uploading the script, and for taking it away.
SPARE_S = 3 * UPLOAD_S


def run(options: Namespace) -> int:
    """Check everything that the configuration names; says what to fix."""
    output = Output(options)
    path = Path(options.file) if options.file else find_config(options)
    report = _reporter(output)

    config, checks = _configuration(path, options)
    for check in checks:
        report(check)
    if config is None:
        _show(output, checks)
        return USAGE
    paths = with_storage(paths_of(config.name, read_records().clusters.get(config.name)), config)
    for check in check_machine(paths):
        checks.append(check)
        report(check)
    checks += examine_google(config, report, _known_id(paths))
    checks += _beyond(config, paths, report)
    _show(output, checks)
    bad = [check for check in checks if check.result is Result.FAILED]
    if bad:
        output.note(f"{plural(len(bad), 'check')} failed")
        return FAILED
    return DONE


def _lines_are_all(output: Output) -> bool:
    """Whether the lines of the checks are what is printed, since nobody sees both them and the table."""
    return output.format == "table" and not is_terminal(sys.stdout)


def _reporter(output: Output) -> Report:
    """Says of each check when it is done: on stdout where that is all, else while somebody waits."""
    lock = threading.Lock()
    say = output.line if _lines_are_all(output) else output.note

    def report(check: Check) -> None:
        # Lines of many threads; none is cut in two.
        with lock:
            say(safe(check.line()))

    return report


def _show(output: Output, checks: list[Check]) -> None:
    if _lines_are_all(output):
        return
    if output.structured:
        records = [{**vars(check), "result": check.result.value} for check in checks]
        output.document({"checks": records})
        return
    rows = [(each.subject, each.check, each.result.value, each.message, each.fix) for each in checks]
    if output.wide:
        output.table(WIDE_HEADERS, rows, "there is nothing to check")
    else:
        output.table(HEADERS, [(*row[:3], row[4]) for row in rows], "there is nothing to check")


# -- the configuration -------------------------------------------------------


def _configuration(path: Path, options: Namespace) -> tuple[IrisConfig | None, list[Check]]:
    """The configuration, None where it cannot be used, and what is to be said of it."""
    try:
        config = load_config(path)
    except ConfigError as error:
        return None, [_problem(path, problem) for problem in (*error.problems, *error.warnings)]
    checks = [_problem(path, problem) for problem in config.warnings]
    if not options.file and means_rehearsal(options):
        config = rehearse(config)
    try:
        refuse_unusable(config, path)
    except CliError as error:
        fix = f"correct {path}"
        bad = [Check(CONFIGURATION, "usable", Result.FAILED, line, fix) for line in error.details]
        return None, [*checks, *bad]
    return config, checks or [Check(CONFIGURATION, "valid", Result.OK, str(path))]


def _problem(path: Path, problem: Problem) -> Check:
    result = Result.WARNING if problem.is_warning else Result.FAILED
    where = f"{path}:{problem.position.line}" if problem.position else str(path)
    fix = f"look at {where}" if problem.is_warning else f"correct {where}"
    return Check(CONFIGURATION, "valid", result, problem.render(str(path)), fix)


# -- the controller's host, and manual hosts ----------------------------------


def _beyond(config: IrisConfig, paths: ClusterPaths, report: Report) -> list[Check]:
    """The controller's place, and every host from there; nothing where all is on this machine."""
    targets = targets_in(config.proto)
    if not targets and (is_here(config) or is_at_google(config)):
        return _wheels(config, (), None, report)
    try:
        settings = settings_of(config.proto.ssh)
        known_hosts = KnownHosts(paths.pki_dir / KNOWN_HOSTS_FILE, pins=False)
        place = _place(config, paths, _longest_s(config, len(targets)), report)
    except (IdentityError, CredentialsError, PlatformError) as error:
        message, _, fix = str(error).partition("; ")
        check = Check(THIS_MACHINE, "keys", Result.FAILED, message, fix or f"look at {paths.pki_dir}")
        report(check)
        return [check]
    with place as seat:
        doctor = HostDoctor(lambda target: connect(target, settings, known_hosts), seat.wanted, report)
        found = examine_all(targets, doctor, config)
        reached = seat.reached(_addresses(targets, settings.user_config))
    packing = _wheels(config, doctor.kinds, seat.kind, report)
    by_host = [[*checks, *reached.get(host, ())] for host, checks in found.items()]
    return [*seat.checks, *chain.from_iterable(by_host), *packing]


def _wheels(config: IrisConfig, hosts: Iterable[Kind], seat: Kind | None, report: Report) -> list[Check]:
    """What is to be packed on this machine, for hosts and for TPU machines; an image is pulled by its host."""
    if container_of(config.proto.bootstrap, "worker").image:
        return []
    # Here, since it takes what packs bundles along.
    from iris_cli.doctor.wheels import check_wheels
    from iris_platform.bundle import AGENT, PROGRAMS

    agents = {*hosts, *kinds_of(config.proto)}
    check = check_wheels({PROGRAMS: {seat} if seat else set(), AGENT: agents})
    if check is not None:
        report(check)
    return [check] if check is not None else []


def _known_id(paths: ClusterPaths) -> str:
    """The id of the cluster if it was started from here; what is wrong with the keys `_place` says."""
    with suppress(CredentialsError):
        return Keyring(paths.pki_dir / OPERATOR_DIR).cluster_id()
    return ""


def _place(
    config: IrisConfig, paths: ClusterPaths, most_s: float, report: Report
) -> AbstractContextManager[Seat]:
    """Where the controller is to be.

    Raises:
        IdentityError, CredentialsError: the cluster's keys here cannot be used.
        PlatformError: it is known to be elsewhere.
    """
    endpoint = advertised(config.proto.controller)
    bootstrap = config.proto.bootstrap
    agents, own = container_of(bootstrap, "worker"), container_of(bootstrap, "controller")
    if is_here(config):
        identity = load_identity(config.name, paths.pki_dir)
        wanted = Wanted(config.name, identity.cluster_id if identity else "", container=agents)
        return seat_here(wanted, endpoint, paths, report)
    if is_at_google(config):
        # It may not be there yet: its machine is made by the start.
        ring = Keyring(paths.pki_dir / OPERATOR_DIR)
        return nullcontext(Seat(Wanted(config.name, ring.cluster_id(), container=agents)))
    site = known_site(config.proto, paths)
    if not site.cluster_id:
        # After a lost host: the keys here are all that is known of it.
        site = replace(site, cluster_id=Keyring(paths.pki_dir / OPERATOR_DIR).cluster_id())
    assert endpoint is not None, "a manual controller has a host"
    # Keys are compared with what is pinned, and none is pinned.
    reach = partial(dial, site, paths.pki_dir, pins=False)
    return SiteDoctor(
        config.name, site, endpoint, reach, most_s, report, container=own, hosts_container=agents
    ).seat()


def examine_all(
    targets: Mapping[str, SshTarget], doctor: HostDoctor, config: IrisConfig
) -> dict[str, list[Check]]:
    """Every check of every host, in the order of the configuration."""
    most_s, most = _longest_s(config, len(targets)), max(1, config.proto.ssh.max_parallel)
    found = for_each(targets, lambda host: doctor.examine(host, targets[host]), most, most_s)
    checks: dict[str, list[Check]] = {}
    for host, answer in found.items():
        if isinstance(answer, PlatformError):
            fix = "look whether it is overloaded, and run the doctor again"
            answer = [Check(host, "ssh", Result.FAILED, str(answer), fix)]
        checks[host] = answer
    return checks


def _longest_s(config: IrisConfig, hosts: int) -> float:
    """How long looking at so many hosts may take."""
    ssh = config.proto.ssh
    each_s = ssh.connect_timeout.ToNanoseconds() / 1e9 + PROBE_S + REACH_S + SPARE_S
    return max(1, -(-hosts // max(1, ssh.max_parallel))) * each_s


def _addresses(
    targets: Mapping[str, SshTarget], user_config: UserConfig | None
) -> dict[str, tuple[str, int]]:
    """Where a controller elsewhere dials each host; without those that `ssh` says cannot be dialled."""
    found: dict[str, tuple[str, int]] = {}
    for host, target in targets.items():
        with suppress(Refused):
            there = resolve(target, user_config)
            found[host] = there.host, there.port
    return found
