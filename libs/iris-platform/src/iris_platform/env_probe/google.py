"""A machine that Google's TPU API made: the slice's facts from a file, the machine's own from its metadata server.

Nothing is guessed: what is missing or contradicts the facts is an error, since a
missing worker number that is taken for 0 makes two hosts one.
"""

from __future__ import annotations

import math
import re
import select
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from iris_platform.env_probe.environment import (
    Environment,
    ProbeError,
    TpuHost,
    make_environment,
    number_of,
    read_fields,
    text_of,
)
from iris_platform.metadata import FIRST_PAUSE_S, LONGEST_PAUSE_S, MetadataError, MetadataServer

_NUMBER = re.compile(r"[0-9]{1,6}")
# `KEY: 'value'`, one to a line.
_TPU_ENV = re.compile(r"^\s*([A-Z0-9_]+):\s*'?([^'\n]*?)'?\s*$", re.MULTILINE)
_AXES = 3
# A chips' shape of one host by their number; Google's TPU VM documentation, "TPU types".
_CHIPS_BOUNDS = {1: "1,1,1", 2: "1,2,1", 4: "2,2,1", 8: "2,4,1"}


@dataclass(frozen=True)
class _Seen:
    """What the metadata server says; None where it has nothing."""

    accelerator: str | None
    number: str | None
    endpoints: str | None
    address: str | None
    zone: str | None
    tpu_env: str | None
    name: str | None
    id: str | None


def read_google(path: Path, timeout_s: float) -> Environment:
    """What this machine is, by the slice's facts in `path` and the metadata server.

    Raises:
        ProbeError: no metadata server answers within `timeout_s`, or what it says cannot be.
    """
    facts = read_fields(path)
    hosts = number_of(path, facts, "hosts", least=1)
    server = MetadataServer()
    try:
        seen = _look_until_whole(server, time.monotonic() + timeout_s)
    except MetadataError as error:
        words = f"{path}: this is a host of a TPU slice, which only a metadata server can tell which: {error}"
        raise ProbeError(words) from error
    source = server.host
    _expect(source, "accelerator-type", seen.accelerator, text_of(path, facts, "accelerator_type"))
    # projects/123/zones/us-central2-b
    zone = seen.zone.rsplit("/", 1)[-1] if seen.zone else None
    _expect(source, "zone", zone, text_of(path, facts, "zone"))
    index = _index(source, seen.number, hosts)
    if not seen.address:
        raise ProbeError(f"{source}: instance/network-interfaces/0/ip: found nothing")
    peers = _peers(source, seen, hosts)
    if peers[index] != seen.address:
        raise ProbeError(
            f"{source}: worker-network-endpoints: worker {index} is {peers[index]},"
            f" but this machine, which is worker {index}, is {seen.address}"
        )
    tpu = TpuHost(peers, _bounds(facts, seen.tpu_env or "", hosts), seen.name or "", seen.id or "")
    return make_environment(path, facts, index, seen.address, tpu)


def _look_until_whole(server: MetadataServer, deadline_s: float) -> _Seen:
    """What is needed may be there later than the machine; after the deadline, what there is."""
    pause_s = FIRST_PAUSE_S
    while True:
        seen = _look(server, deadline_s)
        is_whole = all((seen.accelerator, seen.number, seen.endpoints, seen.address, seen.zone))
        if is_whole or deadline_s - time.monotonic() <= pause_s:
            return seen
        select.select([], [], [], pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def _look(server: MetadataServer, deadline_s: float) -> _Seen:
    def read(path: str) -> str | None:
        return server.read(path, deadline_s)

    return _Seen(
        accelerator=read("instance/attributes/accelerator-type"),
        number=read("instance/attributes/agent-worker-number"),
        endpoints=read("instance/attributes/worker-network-endpoints"),
        address=read("instance/network-interfaces/0/ip"),
        zone=read("instance/zone"),
        tpu_env=read("instance/attributes/tpu-env"),
        name=read("instance/name"),
        id=read("instance/id"),
    )


def _expect(source: str, what: str, found: str | None, wanted: str) -> None:
    if found != wanted:
        raise ProbeError(f"{source}: {what}: {found or 'found nothing'}, but the slice's is {wanted}")


def _index(source: str, number: str | None, hosts: int) -> int:
    if number is None or not _NUMBER.fullmatch(number) or int(number) >= hosts:
        found = "found nothing" if number is None else f"found {number!r}"
        raise ProbeError(
            f"{source}: agent-worker-number: expected a number below {hosts}, {found};"
            " which host of the slice this is cannot be told"
        )
    return int(number)


def _peers(source: str, seen: _Seen, hosts: int) -> tuple[str, ...]:
    """`ID:PORT:ADDRESS` of each worker, between commas, in their order; both first parts may be `unknown`."""
    entries = (seen.endpoints or "").split(",")
    # An address of IPv6 has colons itself.
    peers = tuple(entry.strip().split(":", 2)[-1] for entry in entries if entry.count(":") >= 2)
    if len(peers) != len(entries) or not all(peers):
        raise ProbeError(
            f"{source}: worker-network-endpoints: expected ID:PORT:ADDRESS,…, found {seen.endpoints!r}"
        )
    if len(peers) != hosts or len(set(peers)) != hosts:
        raise ProbeError(
            f"{source}: worker-network-endpoints: expected {hosts} different hosts, found {seen.endpoints!r}"
        )
    return peers


def _bounds(facts: Mapping[str, object], tpu_env: str, hosts: int) -> Mapping[str, str]:
    """How chips and hosts lie, by the machine itself; else by the facts, as far as they say."""
    said = dict(_TPU_ENV.findall(tpu_env))
    topology = said.get("TOPOLOGY") or str(facts.get("topology") or "")
    whole = _shape(topology, "x")
    each, rest = divmod(math.prod(whole), hosts)
    chips = said.get("CHIPS_PER_HOST_BOUNDS") or ("" if rest else _CHIPS_BOUNDS.get(each, ""))
    found = {
        "TPU_CHIPS_PER_HOST_BOUNDS": chips,
        "TPU_HOST_BOUNDS": said.get("HOST_BOUNDS") or _host_bounds(whole, _shape(chips, ","), hosts),
        "TPU_TOPOLOGY": topology,
    }
    return {name: value for name, value in found.items() if value}


def _host_bounds(whole: Sequence[int], one: Sequence[int], hosts: int) -> str:
    """The shape of the hosts: that of all chips by that of one host's; empty where they do not fit."""
    if 0 in (*whole, *one) or any(everything % part for everything, part in zip(whole, one, strict=True)):
        return ""
    bounds = [everything // part for everything, part in zip(whole, one, strict=True)]
    return ",".join(map(str, bounds)) if math.prod(bounds) == hosts else ""


def _shape(text: str, between: str) -> tuple[int, ...]:
    """Three numbers, the last ones 1 where they are not said; (0, 0, 0), which fits nothing, for what is no shape."""
    parts = text.split(between)
    if len(parts) > _AXES or not all(_NUMBER.fullmatch(part) and int(part) for part in parts):
        return (0,) * _AXES
    return tuple(map(int, [*parts, *["1"] * (_AXES - len(parts))]))
