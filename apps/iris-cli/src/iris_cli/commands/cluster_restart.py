"""`iris cluster restart`: stop the controller and start it again; the fleet and its tasks go on."""

from __future__ import annotations

from argparse import Namespace

from iris_cli.client import Controller
from iris_cli.commands.cluster_start import controller_of, given_to, remember_start, worded_errors
from iris_cli.configs import load_for
from iris_cli.exits import USAGE, CliError
from iris_cli.locate import find_cluster
from iris_cli.output import Output
from iris_cli.sizes import with_sizes
from iris_proto.v1.controller_pb2 import GetClusterStatusRequest


def run(options: Namespace) -> int:
    """Start the controller anew, with the configuration as it is now."""
    output = Output(options, sees_through=True)
    cluster = find_cluster(options)
    if cluster.config_path is None:
        raise CliError(
            USAGE,
            f"it is not known which configuration cluster {cluster.name} has",
            hint="name it: --config FILE",
        )
    config = with_sizes(cluster, load_for(cluster.name, cluster.config_path), output)
    vm = controller_of(cluster, config, output)
    with worded_errors(cluster, config):
        remember_start(cluster, config)
        found = vm.restart(given_to(config, vm).to_json())
    with Controller(cluster).connect() as connection:
        status = connection.call(connection.stub.GetClusterStatus, GetClusterStatusRequest())
    output.note(f"cluster {config.name} is up again: controller {found.pid} at {found.address}")
    if output.structured:
        output.message(status)
    return 0
