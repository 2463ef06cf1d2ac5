"""Joining of a cloud's machines: Google's word for who it is, and the platform's for where.

A token alone is not enough, since every machine of a project can have one; an
address alone is not, since whoever shares it could. Nothing is used up: a token
may come again, from the same machine.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from iris_controller.core.values import Place
from iris_controller.shell.google_tokens import Machine, TokenReader
from iris_controller.shell.shared import Shared
from iris_controller.shell.tokens import Denied
from iris_platform.base import Unreachable

THREADS = 4
# All hosts of a slice, which may boot minutes apart, are one question to the platform. Where
# a host is stays so while its slice lives, and names of slices never come twice.
KEEP_S = 900.0
# But what an older answer than this does not have yet is asked for again.
FRESH_S = 2.0
LOOK_S = 8.0


class HostAddresses(Protocol):
    """What a platform of cloud machines knows of where they are."""

    def host_addresses(self, slice_id: str, zone: str) -> tuple[frozenset[str], ...]:
        """The addresses, internal and external, of each host of a slice by its index.

        Fewer hosts than the slice has, or none of them, where that is not known
        yet. Asked from its provider, by name.

        Raises:
            PlatformError: it cannot be known now, or the slice is not ours.
        """
        ...


@dataclass(frozen=True)
class TpuGroup:
    """A scale group of such machines. `account` is empty where the project's default one is used."""

    project: str
    account: str
    platform: HostAddresses


class Where(NamedTuple):
    """The group and the zone of a slice."""

    group: str
    zone: str


class _Question(NamedTuple):
    slice_name: str
    where: Where


class GoogleProof:
    """The proof of kind `google`: an identity token for this cluster. See `Proof`. For one event loop."""

    def __init__(
        self,
        endpoint: str,
        cluster_id: str,
        groups: Mapping[str, TpuGroup],
        find: Callable[[str], Where | None],
        clock_s: Callable[[], float],
    ) -> None:
        """`find` says where a slice is, None where there is none; `endpoint` is of Google's certificates."""
        pool = ThreadPoolExecutor(THREADS, thread_name_prefix="google-proof")
        self._tokens = TokenReader(endpoint, cluster_id, pool, clock_s)
        self._addresses = Shared(self._ask, pool, clock_s, keep_s=KEEP_S, deadline_s=LOOK_S)
        self._clock_s = clock_s
        self._groups = groups
        self._find = find

    async def check(self, value: str, place: Place, source: str) -> None:
        """See `Proof`.

        Raises:
            PlatformError: it cannot be checked now.
        """
        where = self._find(place.slice_name)
        group = self._groups.get(where.group) if where is not None else None
        if where is None or group is None:
            raise Denied(f"{place.slice_name} is not of Google's machines; it joins with a token of ours")
        _check_machine(await self._tokens.read(value), group, where)
        question = _Question(place.slice_name, where)
        hosts, asked_s = await self._addresses.get(question)
        if _is_at(hosts, place, source):
            return
        if self._clock_s() - asked_s >= FRESH_S:
            # It may have got its address after that was asked for.
            hosts, _ = await self._addresses.get(question, newer_than_s=asked_s)
            if _is_at(hosts, place, source):
                return
        if place.worker_index >= len(hosts) or not hosts[place.worker_index]:
            raise Unreachable(f"{place.name}: its provider does not say yet where that host is")
        known = ", ".join(sorted(hosts[place.worker_index]))
        raise Denied(f"{place.name} is at {known}, and this came from {source}")

    def _ask(self, question: _Question) -> tuple[frozenset[str], ...]:
        platform = self._groups[question.where.group].platform
        return platform.host_addresses(question.slice_name, question.where.zone)


def _check_machine(machine: Machine, group: TpuGroup, where: Where) -> None:
    if group.account and machine.account != group.account:
        raise Denied(f"the machine acts as {machine.account}, not as the group's {group.account}")
    # Nobody but the operator can have a machine act as an account of his, wherever it is.
    if machine.project != group.project and not group.account:
        raise Denied(
            f"the machine is of project {machine.project}, not of the group's {group.project};"
            " where that is right, name the group's service_account"
        )
    if machine.zone != where.zone:
        raise Denied(f"the machine is in zone {machine.zone}, not in {where.zone} as its slice is")


def _is_at(hosts: tuple[frozenset[str], ...], place: Place, source: str) -> bool:
    if place.worker_index >= len(hosts):
        return False
    return _plain(source) in {_plain(address) for address in hosts[place.worker_index]}


def _plain(address: str) -> str:
    """An address in one spelling; one of IPv4 is no other when it comes over a socket of IPv6."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(mapped or found)
