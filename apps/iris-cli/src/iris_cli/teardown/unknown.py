"""A stop of a cluster of which nothing is known on this machine."""

from __future__ import annotations

from iris_cli import there
from iris_cli.exits import LEFT_OVER, CliError
from iris_cli.locate import Cluster
from iris_cli.output import Output
from iris_cli.teardown.plan import Plan, plan_document
from iris_config import IrisConfig
from iris_platform.base import PlatformError
from iris_platform.controller_vm import ControllerState, ControllerVm


def unknown_here(cluster: Cluster, config: IrisConfig, vm: ControllerVm, output: Output) -> int:
    """Nothing to stop where there is no controller; else it takes somebody whom it knows.

    Raises:
        CliError: there is one, or that is not known.
    """
    where = there.place(config)
    try:
        status = vm.status()
    except PlatformError as error:
        words = f"it is not known whether cluster {cluster.name} has a controller {where}: {error}"
        raise CliError(LEFT_OVER, words) from error
    if status.state is ControllerState.ABSENT:
        return never_started(cluster, output)
    raise CliError(
        LEFT_OVER,
        f"cluster {cluster.name} has its controller {where}, and its keys are not here; nothing was changed",
        hint=f"get them, then stop it: {cluster.command('cluster login')}",
    )


def never_started(cluster: Cluster, output: Output) -> int:
    if output.structured:
        plan = Plan(cluster.name, "", (), (), None)
        output.document({**plan_document(plan), "left": []})
    output.note(f"cluster {cluster.name} was never started from here: nothing to stop")
    return 0
