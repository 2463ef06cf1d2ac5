"""`iris cluster start`: bring the controller up, or find that it is up."""

from __future__ import annotations

import shlex
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from iris_cli import there
from iris_cli.client import Controller
from iris_cli.configs import load, rehearse
from iris_cli.credentials import credentials_problem
from iris_cli.exits import FAILED, INTERRUPTED, LEFT_OVER, USAGE, CliError
from iris_cli.health import is_serving
from iris_cli.locate import Cluster, find_config, means_rehearsal, paths_of, with_directories, with_storage
from iris_cli.operator import this_operator
from iris_cli.output import Output
from iris_cli.records import Record, read_records, remember
from iris_cli.rehearsal import is_rehearsal
from iris_cli.sizes import with_sizes
from iris_cli.steps import Steps
from iris_cli.teardown.places import refuse_places_of_others
from iris_cli.teardown.whose import own_identity, refuse_other_controller, refuse_other_identity
from iris_cli.text import plural, safe
from iris_cli.there import comparable, config_there, is_at_google, is_here, manual_hosts
from iris_config import IrisConfig, diff_configs
from iris_config.cautions import reach_problem
from iris_platform.base import NoCredentials, PlatformError, Refused
from iris_platform.controller_file import ControllerFileError
from iris_platform.controller_vm import (
    ControllerState,
    ControllerVm,
    Recipe,
    StateTaken,
    create_controller_vm,
    find_controller,
)
from iris_platform.files import make_private_dir, write_atomic
from iris_platform.paths import ClusterPaths
from iris_platform.ssh import load_user_config
from iris_platform.state_lock import StateDirError
from iris_proto.v1.controller_pb2 import ClusterPhase, GetClusterStatusRequest, GetClusterStatusResponse


def run(options: Namespace) -> int:
    """Start the cluster that the options mean."""
    output = Output(options, sees_through=True)
    path = find_config(options)
    config = load(path)
    for problem in config.warnings:
        output.note(problem.render(str(path)))
    if means_rehearsal(options):
        config = _rehearsal(config, output)
    refuse_unusable(config, path)
    earlier = read_records().clusters.get(config.name)
    paths = with_directories(with_storage(paths_of(config.name, earlier), config), options)
    refuse_second_controller(config.name, paths, earlier)
    cluster = Cluster(config.name, paths, path, option=f"--cluster {config.name} ")
    refuse_places_of_others(cluster, read_records(), output.note)
    if is_here(config):
        refuse_other_identity(cluster)
    lack = credentials_problem(config)
    if lack and is_at_google(config):
        raise CliError(FAILED, lack, hint=NoCredentials.HELP)
    if lack:
        output.note(f"iris: warning: {lack}: what is at Google's cannot be used; {NoCredentials.HELP}")
    vm = controller_of(cluster, config, output, pins=not options.dry_run)
    if options.dry_run:
        return show_plan(vm, cluster, config, output)
    return bring_up(vm, cluster, with_sizes(cluster, config, output), output)


def controller_of(cluster: Cluster, config: IrisConfig, output: Output, *, pins: bool = True) -> ControllerVm:
    """The controller that a configuration asks for; without `pins` to be looked at only.

    Raises:
        CliError: the cluster has one elsewhere, or what is known of it cannot be read.
    """
    operator = this_operator(Steps(output).step, output.note)
    try:
        return create_controller_vm(Recipe(config.proto, cluster.paths, is_serving, operator, pins))
    except Refused as error:
        raise CliError(LEFT_OVER, str(error)) from error


def show_plan(vm: ControllerVm, cluster: Cluster, config: IrisConfig, output: Output) -> int:
    """What a start would do; changes nothing."""
    with worded_errors(cluster, config):
        status = vm.status()
    hosts = sorted(manual_hosts(config))
    if status.state is not ControllerState.ABSENT:
        lines = [f"the controller is there already: process {status.pid} at {status.address}"]
    elif is_here(config):
        lines = ["start the controller on this machine"]
    else:
        lines = [*there.machines(config), f"install and start the controller {there.place(config)}"]
        lines.append("fetch the operator's certificate")
    if hosts and not is_here(config):
        lines.append(f"let the controller log in to {plural(len(hosts), 'host')}: {', '.join(hosts)}")
    for line in lines:
        output.line(line)
    if output.structured:
        output.document({"name": config.name, "dry_run": True, "steps": lines, "hosts": hosts})
    output.note("nothing was changed; `iris doctor` looks whether all of this can work")
    return 0


def _rehearsal(real: IrisConfig, output: Output) -> IrisConfig:
    """What a rehearsal runs; says what it is, since nothing else about it differs."""
    config = rehearse(real)
    output.note(f"a rehearsal of cluster {real.name}: every group is of agents on this machine")
    output.note(f"its name is {config.name}: iris --cluster {config.name} ...")
    return config


def bring_up(vm: ControllerVm, cluster: Cluster, config: IrisConfig, output: Output) -> int:
    """Start the controller unless it runs, and see that it runs this configuration."""
    groups = plural(len(config.scale_groups), "scale group")
    output.note(f"cluster {config.name}: {groups}, state in {cluster.paths.state_dir}")
    try:
        return _bring_up(vm, cluster, config, output)
    except KeyboardInterrupt:
        raise _interrupted(vm, cluster) from None


def _bring_up(vm: ControllerVm, cluster: Cluster, config: IrisConfig, output: Output) -> int:
    started: list[None] = []

    def before() -> None:
        output.note("starting the controller")
        # Before the start: one that is cut short must be stoppable too.
        remember_start(cluster, config)
        started.append(None)

    with worded_errors(cluster, config, lambda: bool(started)):
        given = given_to(config, vm)
        found = vm.start(given.to_json(), before)
    with Controller(cluster).connect() as connection:
        status = connection.call(connection.stub.GetClusterStatus, GetClusterStatusRequest())
    if is_here(config):
        refuse_other_controller(cluster, status.cluster_id, own_identity(cluster, status.cluster_id, ()))
    _refuse_other(status, cluster, given, output)
    if status.paused_zones:
        output.note(f"zones that were stopped are filled again: {', '.join(status.paused_zones)}")
        with worded_errors(cluster, config):
            found = vm.restart(given.to_json())
    if not started:
        remember_start(cluster, config)
    how = "is up" if started else "is running already"
    output.note(f"cluster {config.name} {how}: controller {found.pid} at {found.address}")
    for problem in status.problems:
        output.note(f"iris: note: {safe(problem)}")
    if output.structured:
        output.message(status)
    else:
        output.note(f"next: {cluster.command('job run -- echo hello')}")
        output.note(f"and at the end: {cluster.command('cluster stop')}")
    return 0


def _interrupted(vm: ControllerVm, cluster: Cluster) -> CliError:
    """What an interrupted start has left: a controller that can be used, or none."""
    try:
        status = vm.status()
    except PlatformError as error:
        hint = f"see what it left: {cluster.command('cluster stop')}"
        return CliError(
            INTERRUPTED, f"interrupted; it is not known whether a controller runs: {error}", hint=hint
        )
    if status.state is ControllerState.ABSENT:
        hint = how_to_undo(cluster)
        return CliError(INTERRUPTED, "interrupted; no controller runs", hint=hint)
    if not status.pid:
        return CliError(
            INTERRUPTED,
            f"interrupted; there is a machine for the controller, and none is known to run on it: {status.detail}",
            hint=f"go on: {cluster.command('cluster start')}; {how_to_undo(cluster)}",
        )
    what = "is up" if status.state is ControllerState.SERVING else "is there, but does not answer yet"
    return CliError(
        INTERRUPTED,
        f"interrupted; the controller {what} (process {status.pid})",
        hint=f"look: {cluster.command('cluster status')}; stop it: {cluster.command('cluster stop')}",
    )


def given_to(config: IrisConfig, vm: ControllerVm) -> IrisConfig:
    """The configuration as its controller gets it.

    Raises:
        Refused: a host cannot be reached from there as it is from here.
    """
    if is_here(config):
        return config
    return config_there(config, load_user_config(config.proto.ssh.config_file), vm.known_by())


def remember_start(cluster: Cluster, config: IrisConfig) -> None:
    """Write down what a stop has to know, before anything is started."""
    path = (cluster.config_path or Path()).absolute()
    if not is_here(config):
        # For a stop, from here and with the keys of this machine.
        make_private_dir(cluster.paths.state_dir)
        write_atomic(cluster.paths.config_file, config.to_json().encode("utf-8"))
    state_dir, pki_dir = str(cluster.paths.state_dir), str(cluster.paths.pki_dir)
    remember(Record(config.name, str(path), state_dir, pki_dir, tuple(config.zones())))


def refuse_unusable(config: IrisConfig, path: Path) -> None:
    """What is valid, and cannot be started all the same.

    Raises:
        CliError: its machines could not reach the controller.
    """
    if reason := reach_problem(config.proto):
        raise CliError(USAGE, f"{path} cannot be used", details=(f"{path}: controller: {reason}",))


def refuse_second_controller(name: str, paths: ClusterPaths, earlier: Record | None) -> None:
    """Two state directories of one cluster would be two controllers of one identity.

    Raises:
        CliError: the cluster runs with another directory.
    """
    if earlier is None:
        return
    before = paths_of(name, earlier)
    if before.state_dir.resolve() == paths.state_dir.resolve():
        return
    process = find_controller(before)
    if process is not None:
        raise CliError(
            LEFT_OVER,
            f"cluster {name} runs with another state directory: {before.state_dir} (process {process.pid})",
            hint=f"stop it first: iris --cluster {name} cluster stop",
        )


def _refuse_other(
    status: GetClusterStatusResponse, cluster: Cluster, config: IrisConfig, output: Output
) -> None:
    if status.phase == ClusterPhase.CLUSTER_PHASE_STOPPING:
        raise _being_stopped(cluster)
    changes = diff_configs(comparable(IrisConfig(status.config)), comparable(config))
    if not changes:
        return
    for change in changes:
        output.line(str(change))
    raise CliError(
        LEFT_OVER,
        f"cluster {config.name} runs with another configuration; nothing was changed",
        details=tuple(map(str, changes)) if output.structured else (),
        hint=f"to take it over without a stop: {_restart_words(cluster)}",
    )


def _restart_words(cluster: Cluster) -> str:
    """The command that takes over the file which was meant here; it need not be the last start's."""
    if cluster.config_path is None or is_rehearsal(cluster.name):
        return cluster.command("cluster restart")
    return f"iris --config {shlex.quote(str(cluster.config_path))} cluster restart"


def how_to_undo(cluster: Cluster) -> str:
    """What removes all that a start has left, and what does not."""
    forget = cluster.command("cluster stop --forget")
    return f"to leave nothing behind: {forget} (without --forget, keys and state stay for the next start)"


def _being_stopped(cluster: Cluster, how: str = "") -> CliError:
    return CliError(
        LEFT_OVER,
        f"cluster {cluster.name} is being stopped{how}",
        hint=f"see it through, then start again: {cluster.command('cluster stop')}",
    )


@contextmanager
def worded_errors(
    cluster: Cluster, config: IrisConfig, leaves: Callable[[], bool] = lambda: False
) -> Iterator[None]:
    """What can go wrong on the way up, as one line each; `leaves`: whether something is there by then."""
    # On this machine the errors say all that the doctor could.
    file = shlex.quote(str(cluster.config_path or ""))
    hint = "" if is_here(config) else f"see what is wrong there, and what to fix: iris doctor {file}"
    try:
        yield
    except StateTaken as error:
        raise _being_stopped(cluster, f": {error}") from error
    except StateDirError as error:
        raise CliError(USAGE, str(error), hint="--state-dir DIR says where else") from error
    except (PlatformError, ControllerFileError) as error:
        first, *rest = str(error).splitlines() or [type(error).__name__]
        if hint and leaves():
            hint = f"{hint}; {how_to_undo(cluster)}"
        raise CliError(FAILED, first, after=tuple(f"  {line}" for line in rest), hint=hint) from error
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise CliError(FAILED, f"{where}{error.strerror or error}") from error
