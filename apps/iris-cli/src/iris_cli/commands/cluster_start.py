"""`iris cluster start`: bring the controller up, or find that it is up."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from iris_cli.client import Controller
from iris_cli.configs import load, rehearse
from iris_cli.exits import FAILED, INTERRUPTED, LEFT_OVER, USAGE, CliError
from iris_cli.health import is_serving
from iris_cli.locate import Cluster, find_config, means_rehearsal, paths_of, with_directories, with_storage
from iris_cli.output import Output
from iris_cli.records import Record, read_records, remember
from iris_cli.teardown.places import refuse_places_of_others
from iris_cli.teardown.whose import own_identity, refuse_other_controller, refuse_other_identity
from iris_cli.text import plural, safe
from iris_config import IrisConfig, diff_configs
from iris_config.cautions import reach_problem
from iris_platform import PROVIDER_MODULES
from iris_platform.base import PlatformError
from iris_platform.controller_file import ControllerFileError
from iris_platform.controller_vm import (
    ControllerState,
    ControllerVm,
    StateTaken,
    create_controller_vm,
    find_controller,
)
from iris_platform.paths import ClusterPaths
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
    refuse_other_identity(cluster)
    vm = create_controller_vm(config.proto.controller, paths, is_serving)
    return bring_up(vm, cluster, config, output)


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
        _remember(cluster, config)
        started.append(None)

    with _worded_errors(cluster):
        record = vm.start(config.to_json(), before)
    with Controller(cluster).connect() as connection:
        status = connection.call(connection.stub.GetClusterStatus, GetClusterStatusRequest())
    refuse_other_controller(cluster, status.cluster_id, own_identity(cluster, status.cluster_id, ()))
    _refuse_other(status, cluster, config, output)
    if not started:
        _remember(cluster, config)
    how = "is up" if started else "is running already"
    output.note(f"cluster {config.name} {how}: controller {record.pid} at {record.address}")
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
    status = vm.status()
    if status.state is ControllerState.ABSENT:
        hint = f"see that it left nothing: {cluster.command('cluster stop')}"
        return CliError(INTERRUPTED, "interrupted; no controller runs", hint=hint)
    what = "is up" if status.state is ControllerState.SERVING else "is there, but does not answer yet"
    return CliError(
        INTERRUPTED,
        f"interrupted; the controller {what} (process {status.pid})",
        hint=f"look: {cluster.command('cluster status')}; stop it: {cluster.command('cluster stop')}",
    )


def _remember(cluster: Cluster, config: IrisConfig) -> None:
    path = (cluster.config_path or Path()).absolute()
    state_dir, pki_dir = str(cluster.paths.state_dir), str(cluster.paths.pki_dir)
    remember(Record(config.name, str(path), state_dir, pki_dir, tuple(config.zones())))


def refuse_unusable(config: IrisConfig, path: Path) -> None:
    """What is valid, and cannot be started all the same.

    This release may know fewer providers than the configuration's language.

    Raises:
        CliError: a scale group has one of those, or its machines could not
            reach the controller.
    """
    lines = []
    for name, group in config.scale_groups.items():
        arm = group.provider.WhichOneof("provider") or ""
        if PROVIDER_MODULES.get(arm) is None:
            lines.append(f"{path}: scale_groups.{name}: provider {arm} is not available in this release")
    place = config.proto.controller.WhichOneof("controller")
    if place != "local":
        lines.append(f"{path}: controller: {place} is not available in this release")
    if reason := reach_problem(config.proto):
        lines.append(f"{path}: controller: {reason}")
    if lines:
        raise CliError(USAGE, f"{path} cannot be used", details=tuple(lines))


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
    changes = diff_configs(IrisConfig(status.config), config)
    if not changes:
        return
    for change in changes:
        output.line(str(change))
    raise CliError(
        LEFT_OVER,
        f"cluster {config.name} runs with another configuration; nothing was changed",
        details=tuple(map(str, changes)) if output.structured else (),
        hint=f"to take it over: {cluster.command('cluster stop')}, then start again",
    )


def _being_stopped(cluster: Cluster, how: str = "") -> CliError:
    return CliError(
        LEFT_OVER,
        f"cluster {cluster.name} is being stopped{how}",
        hint=f"see it through, then start again: {cluster.command('cluster stop')}",
    )


@contextmanager
def _worded_errors(cluster: Cluster) -> Iterator[None]:
    """What can go wrong on the way up, as one line each."""
    try:
        yield
    except StateTaken as error:
        raise _being_stopped(cluster, f": {error}") from error
    except StateDirError as error:
        raise CliError(USAGE, str(error), hint="--state-dir DIR says where else") from error
    except (PlatformError, ControllerFileError) as error:
        first, *rest = str(error).splitlines() or [type(error).__name__]
        raise CliError(FAILED, first, after=tuple(f"  {line}" for line in rest)) from error
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise CliError(FAILED, f"{where}{error.strerror or error}") from error
