"""Whether Google Cloud lets us: each zone of TPU groups, and where the controller's machine is to be."""

from __future__ import annotations

from collections.abc import Callable

from iris_cli.credentials import credentials_problem
from iris_cli.doctor.checks import THIS_MACHINE, Check, Report, Result
from iris_config import IrisConfig
from iris_platform.base import NoCredentials, PermissionMissing, PlatformError, Refused, VmState
from iris_platform.names import controller_name
from iris_platform.ssh import for_each

# Zones that are asked at once, and how long all of them may take.
AT_ONCE = 8
LONGEST_S = 120.0


def examine_google(config: IrisConfig, report: Report, cluster_id: str = "") -> list[Check]:
    """A check for each zone; nothing where nothing of the cluster is at Google's.

    With the `cluster_id` of one that was started, its controller's machine too. Without
    credentials no zone is asked: each would say the same.
    """
    if problem := credentials_problem(config):
        check = Check(THIS_MACHINE, "credentials", Result.FAILED, problem, NoCredentials.HELP)
        report(check)
        return [check]
    machines = _controllers_machine(config, cluster_id) if cluster_id else {}
    questions = {**_tpu_zones(config), **_controllers_zone(config), **machines}
    found = for_each(questions, lambda what: questions[what](), AT_ONCE, LONGEST_S)
    checks = [
        _machine_check(what, found[what]) if what in machines else _check(what, found[what])
        for what in questions
    ]
    for check in checks:
        report(check)
    return checks


def _tpu_zones(config: IrisConfig) -> dict[str, Callable[[], object]]:
    """By project and zone, a look at the slices there."""
    groups = [group for group in config.scale_groups.values() if group.provider.HasField("tpu")]
    places = sorted({(group.provider.tpu.project_id, zone) for group in groups for zone in group.zones})
    return {f"TPU in {zone} of {project}": _lister(config, project, zone) for project, zone in places}


def _lister(config: IrisConfig, project: str, zone: str) -> Callable[[], object]:
    def look() -> object:
        # Here, since it takes Google's client along.
        from iris_platform.gcp.client import TpuApi

        api = TpuApi(config.proto.endpoints.tpu, project)
        return api.list_nodes(zone), api.list_queued(zone)

    return look


def _controllers_zone(config: IrisConfig) -> dict[str, Callable[[], object]]:
    gcp = config.proto.controller.gcp
    if not config.proto.controller.HasField("gcp"):
        return {}

    def look() -> object:
        from iris_platform.gcp.compute import Compute
        from iris_platform.gcp.session import open_session

        endpoint = config.proto.endpoints.compute
        with open_session(endpoint) as session:
            compute = Compute(endpoint, gcp.project_id, session)
            return [list(compute.list(gcp.zone, kind, {})) for kind in ("instances", "disks")]

    return {f"machines in {gcp.zone} of {gcp.project_id}": look}


def _controllers_machine(config: IrisConfig, cluster_id: str) -> dict[str, Callable[[], object]]:
    gcp = config.proto.controller.gcp
    if not config.proto.controller.HasField("gcp"):
        return {}
    name = controller_name(cluster_id)

    def look() -> object:
        from iris_platform.gcp.compute import Compute
        from iris_platform.gcp.session import open_session

        endpoint = config.proto.endpoints.compute
        with open_session(endpoint) as session:
            return Compute(endpoint, gcp.project_id, session).get(gcp.zone, "instances", name)

    return {f"machine {name}": look}


def _machine_check(what: str, answer: object) -> Check:
    """Whether the controller's machine runs; one that is not there may have been stopped on purpose."""
    from iris_platform.gcp.machine import STATES

    if isinstance(answer, PlatformError):
        return _check(what, answer)
    if not isinstance(answer, dict):
        words = "the controller's machine is not there: it was stopped, or deleted"
        return Check(what, "controller", Result.WARNING, words, "`iris cluster start` makes it again")
    status = str(answer.get("status", ""))
    if STATES.get(status, VmState.BOOTING) in (VmState.RUNNING, VmState.BOOTING):
        return Check(what, "controller", Result.OK, f"the controller's machine is {status}")
    words = f"the controller's machine is {status}"
    return Check(what, "controller", Result.FAILED, words, "`iris cluster start` starts it again")


def _check(what: str, answer: object) -> Check:
    if not isinstance(answer, PlatformError):
        return Check(what, "google", Result.OK, "can be listed")
    fix = "look whether Google Cloud is reachable from here, and try again"
    if isinstance(answer, PermissionMissing):
        fix = "grant what docs/gcp.md names to the account that you use here"
    elif isinstance(answer, Refused):
        fix = "correct project and zone in the configuration, and enable the API in the project"
    return Check(what, "google", Result.FAILED, str(answer), fix)
