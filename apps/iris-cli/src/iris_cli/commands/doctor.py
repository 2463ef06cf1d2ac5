"""`iris doctor`: look, before anything is started, at everything that a start needs."""

from __future__ import annotations

import threading
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from iris_cli.commands.cluster_start import refuse_unusable
from iris_cli.configs import rehearse
from iris_cli.doctor.checks import CONFIGURATION, THIS_MACHINE, Check, Report, Result
from iris_cli.doctor.hosts import PROBE_S, REACH_S, HostDoctor, Listening, Wanted
from iris_cli.doctor.local import check_machine
from iris_cli.doctor.ports import Beacon, PortTaken, endpoint_of
from iris_cli.exits import DONE, FAILED, USAGE, CliError
from iris_cli.locate import find_config, means_rehearsal, paths_of, with_storage
from iris_cli.output import Output
from iris_cli.records import read_records
from iris_cli.text import plural, safe
from iris_config import ConfigError, IrisConfig, Problem, load_config
from iris_platform.base import PlatformError
from iris_platform.controller_vm import find_controller
from iris_platform.identity import IdentityError, load_identity
from iris_platform.manual import KNOWN_HOSTS_FILE
from iris_platform.manual.script import UPLOAD_S
from iris_platform.paths import ClusterPaths
from iris_platform.ssh import (
    Connect,
    KnownHosts,
    SshConnection,
    SshTarget,
    connect,
    for_each,
    settings_of,
    targets_of,
)

HEADERS = ("HOST", "CHECK", "RESULT", "WHAT TO DO")
WIDE_HEADERS = ("HOST", "CHECK", "RESULT", "FOUND", "WHAT TO DO")
# For uploading the script, and for taking it away.
SPARE_S = 3 * UPLOAD_S


def run(options: Namespace) -> int:
    """Check everything that the configuration names; says what to fix."""
    output = Output(options)
    path = Path(options.file) if options.file else find_config(options)
    lock = threading.Lock()

    def report(check: Check) -> None:
        # Lines of many threads; none is cut in two.
        with lock:
            output.note(safe(check.line()))

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
    checks += _manual(config, paths, report)
    _show(output, checks)
    bad = [check for check in checks if check.result is Result.FAILED]
    if bad:
        output.note(f"{plural(len(bad), 'check')} failed")
        return FAILED
    return DONE


def _show(output: Output, checks: list[Check]) -> None:
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


# -- manual hosts ------------------------------------------------------------


def _manual(config: IrisConfig, paths: ClusterPaths, report: Report) -> list[Check]:
    """The ports of this machine, and every host; nothing where no group has hosts."""
    targets: dict[str, SshTarget] = {}
    for group in config.scale_groups.values():
        if group.provider.HasField("manual"):
            targets.update(targets_of(group.provider.manual))
    if not targets:
        return []
    try:
        identity = load_identity(config.name, paths.pki_dir)
        dial = _dialer(config, paths)
    except (IdentityError, PlatformError) as error:
        message, _, fix = str(error).partition("; ")
        check = Check(THIS_MACHINE, "keys", Result.FAILED, message, fix or f"look at {paths.pki_dir}")
        report(check)
        return [check]
    with _listening(config, paths) as (listening, checks):
        for check in checks:
            report(check)
        wanted = Wanted(config.name, identity.cluster_id if identity else "", listening)
        return [*checks, *examine_all(targets, HostDoctor(dial, wanted, report), config)]


def examine_all(targets: dict[str, SshTarget], doctor: HostDoctor, config: IrisConfig) -> list[Check]:
    """Every check of every host, in the order of the configuration."""
    ssh = config.proto.ssh
    most = max(1, ssh.max_parallel)
    each_s = ssh.connect_timeout.ToNanoseconds() / 1e9 + PROBE_S + REACH_S + SPARE_S
    rounds = -(-len(targets) // most)
    found = for_each(targets, lambda host: doctor.examine(host, targets[host]), most, rounds * each_s)
    checks: list[Check] = []
    for host, answer in found.items():
        if isinstance(answer, PlatformError):
            fix = "look whether it is overloaded, and run the doctor again"
            answer = [Check(host, "ssh", Result.FAILED, str(answer), fix)]
        checks += answer
    return checks


def _dialer(config: IrisConfig, paths: ClusterPaths) -> Connect:
    """How hosts are reached; their keys are compared with what is pinned, and none is pinned."""
    settings = settings_of(config.proto.ssh)
    known_hosts = KnownHosts(paths.pki_dir / KNOWN_HOSTS_FILE, pins=False)

    def dial(target: SshTarget) -> SshConnection:
        return connect(target, settings, known_hosts)

    return dial


@contextmanager
def _listening(config: IrisConfig, paths: ClusterPaths) -> Iterator[tuple[Listening | None, list[Check]]]:
    """Somebody at the address that hosts dial: the controller, or a stand-in for as long as this lasts.

    Nobody where hosts dial none: the controller's forwards bring them to it.
    """
    if not config.proto.controller.advertise_address:
        yield None, []
        return
    endpoint = endpoint_of(config.proto.controller.advertise_address)
    if running := find_controller(paths):
        message = f"the cluster's controller runs (process {running.pid})"
        yield Listening(endpoint, is_ours=True), [Check(THIS_MACHINE, "ports", Result.OK, message)]
        return
    try:
        beacon = Beacon(endpoint.ports)
    except PortTaken as error:
        fix = "stop what has it, or name another port in controller.advertise_address"
        yield Listening(endpoint), [Check(THIS_MACHINE, "ports", Result.FAILED, str(error), fix)]
        return
    with beacon:
        message = f"{endpoint.port} and {endpoint.port + 1} are free"
        yield Listening(endpoint, beacon.word), [Check(THIS_MACHINE, "ports", Result.OK, message)]
