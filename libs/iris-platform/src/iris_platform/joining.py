"""What a host is given so that its agent can join: where, whom to believe, a token, a bundle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

# Not to hide a cycle: only who makes bundles has what reads wheels.
if TYPE_CHECKING:
    from iris_platform.bundle import Bundle


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
