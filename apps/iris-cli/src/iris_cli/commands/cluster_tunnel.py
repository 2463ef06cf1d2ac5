"""`iris cluster tunnel`: hold a way to a controller on another machine open, for other commands."""

from __future__ import annotations

import threading
from argparse import Namespace

from iris_cli.exits import INTERRUPTED, UNREACHABLE, USAGE, CliError
from iris_cli.locate import find_cluster
from iris_cli.output import Output
from iris_cli.reach import reach_of
from iris_cli.reach.local import LocalReach
from iris_cli.reach.remote import RemoteReach
from iris_cli.reach.tunnel_file import published, read_tunnel

LOOK_S = 1.0


def run(options: Namespace) -> int:
    """Hold a tunnel open until it breaks, or Ctrl-C."""
    output = Output(options)
    cluster = find_cluster(options)
    if (held := read_tunnel(cluster.paths)) is not None:
        raise CliError(USAGE, f"a tunnel is held open already, at {held}")
    reach = reach_of(cluster)
    if isinstance(reach, LocalReach):
        raise CliError(
            USAGE, f"the controller of cluster {cluster.name} is on this machine: no tunnel is needed"
        )
    assert isinstance(reach, RemoteReach), "there are two ways"
    address = reach.tunnel()
    with published(cluster.paths, address):
        if output.structured:
            output.document({"name": cluster.name, "address": address})
        else:
            output.line(address)
        output.note("other commands use it now; Ctrl-C ends it")
        pause = threading.Event()
        try:
            while reach.is_open:
                pause.wait(LOOK_S)
        except KeyboardInterrupt:
            return INTERRUPTED
        finally:
            reach.close()
    raise CliError(UNREACHABLE, "the tunnel broke", hint=f"again: {cluster.command('cluster tunnel')}")
