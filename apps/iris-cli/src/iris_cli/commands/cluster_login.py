"""`iris cluster login`: a certificate of a cluster that others started, by SSH access to its controller's host."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from typing import cast

from iris_cli.commands.cluster_start import controller_of, remember_start
from iris_cli.configs import load
from iris_cli.exits import FAILED, USAGE, CliError
from iris_cli.locate import Cluster, find_config, paths_of
from iris_cli.output import Output
from iris_cli.records import read_records
from iris_cli.there import is_here
from iris_platform.base import PlatformError
from iris_platform.controller_vm import ElsewhereVm


def run(options: Namespace) -> int:
    """Get this operator a certificate."""
    output = Output(options)
    path = find_config(options)
    config = load(path)
    if is_here(config):
        raise CliError(
            USAGE,
            f"the controller of cluster {config.name} is on this machine: who may read its files needs no login",
        )
    cluster = Cluster(config.name, paths_of(config.name, read_records().clusters.get(config.name)), path)
    cluster = replace(cluster, option=f"--cluster {config.name} ")
    vm = controller_of(cluster, config, output)
    try:
        cast("ElsewhereVm", vm).log_in()
    except PlatformError as error:
        raise CliError(FAILED, str(error)) from error
    remember_start(cluster, config)
    output.note(f"logged in to cluster {config.name}; next: {cluster.command('cluster status')}")
    return 0
