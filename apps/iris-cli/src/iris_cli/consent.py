"""Asks before something is destroyed."""

from __future__ import annotations

from iris_cli.exits import USAGE, CliError
from iris_cli.locate import Cluster
from iris_cli.output import Output, can_ask


def agreed(cluster: Cluster, output: Output, question: str, *, yes: bool, again: str) -> bool:
    """Whether the operator wants it; `again` is the command, without the cluster, that says yes.

    Raises:
        CliError: nobody can be asked, and the options do not say so.
    """
    if yes and cluster.named:
        return True
    if not can_ask():
        if not cluster.named:
            raise CliError(
                USAGE,
                f"{cluster.name} is only the last cluster that was started; say which one is meant",
                hint=f"iris --cluster {cluster.name} {again}",
            )
        raise CliError(USAGE, "-y is needed where there is no terminal", hint=cluster.command(again))
    if output.ask(question):
        return True
    output.note("iris: nothing was changed")
    return False
