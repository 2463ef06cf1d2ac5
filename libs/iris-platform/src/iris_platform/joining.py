"""What a host is given so that its agent can join: where, whom to believe, a token, a bundle."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iris_platform.base import Refused
from iris_platform.bootstrap.document import BundleSource
from iris_platform.pki.names import server_name

# Not to hide a cycle: only who makes bundles has what reads wheels.
if TYPE_CHECKING:
    from iris_platform.bundle import Bundle

log = logging.getLogger(__name__)

# A Python's version and a machine type. What machines of a cloud have is known only there.
Kind = tuple[str, str]
CLOUD_KINDS: tuple[Kind, ...] = tuple((f"3.{minor}", "x86_64") for minor in range(10, 14))


@dataclass(frozen=True)
class Joining:
    """One controller's side of joining.

    `address` is `HOST:PORT` for agents, `join_url` the join port's
    (`https://HOST:PORT`), `ca_pem` the only authority to believe. `mint` makes
    the one-use token of a slice's host by its index; `bundle_for` has the bundle
    for a Python version and a machine type, such as ("3.11", "x86_64").
    `forwarded` are the ports of both on every host, where forwards lead from
    there to the controller; None where hosts dial it themselves.
    """

    cluster: str
    address: str
    join_url: str
    ca_pem: str
    mint: Callable[[str, int], str]
    bundle_for: Callable[[str, str], Bundle]
    forwarded: tuple[int, int] | None = None


def bundles_for_any(joining: Joining, cluster_id: str, kinds: Sequence[Kind] = CLOUD_KINDS) -> BundleSource:
    """The agent's bundle for a machine that nobody has looked at: it fetches the one that it can use.

    Raises:
        Refused: there is none at all. One that is missing fails only those machines, which say so.
    """
    made: dict[str, str] = {}
    last = Refused("no kind of machine was asked for")
    for python, machine in kinds:
        try:
            made[f"{python} {machine}"] = joining.bundle_for(python, machine).sha256
        except Refused as error:
            log.warning("machines with Python %s on %s will not start: %s", python, machine, error)
            last = error
    if not made:
        raise last
    return BundleSource(
        url=f"{joining.join_url}/bundle/",
        ca=joining.ca_pem,
        server_name=server_name(cluster_id),
        kinds=made,
    )
