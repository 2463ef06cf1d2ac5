"""Who is at the other end of a call: read from the certificate that gRPC has verified, never from metadata.

The port on loopback has no certificates; whoever shows its token is on this
machine and may do everything.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import grpc.aio

from iris_controller.core.values import Place
from iris_controller.shell.clock import now
from iris_platform.pki import certificates
from iris_platform.pki.names import Person, Role, WorkerPlace

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]

# For handlers, which import nothing of platforms.
OPERATOR, USER, WORKER = Role.OPERATOR, Role.USER, Role.WORKER

# As many as agents and people have streams; parsing one costs 100 us.
MOST_KNOWN = 16_384


__all__ = ["LOCAL", "OPERATOR", "USER", "WORKER", "Context", "Peer", "Role", "Stranger", "peer_of"]


class Stranger(Exception):
    """The certificate says nothing that we understand, or not any more; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A caller. `place` is a worker's own; `expires_s` in Unix seconds."""

    roles: frozenset[Role]
    name: str
    place: Place | None = None
    expires_s: float = math.inf

    def has_expired(self) -> bool:
        """Whether its certificate is over; connections may outlive it."""
        return now().wall_ms >= self.expires_s * 1000


# Whoever has the token: clients and agents on this machine.
LOCAL = Peer(frozenset(Role), "local")


def peer_of(context: Context, cluster_id: str) -> Peer:
    """Who calls.

    Raises:
        Stranger: its certificate is of another cluster, names nobody, or is over.
    """
    facts = context.auth_context()
    if b"ssl" not in facts.get("transport_security_type", ()):
        return LOCAL
    shown = list(facts.get("x509_pem_cert", ()))
    if len(shown) != 1:
        raise Stranger("this port needs a client certificate of the cluster")
    peer = _read(bytes(shown[0]), cluster_id)
    if peer is None:
        raise Stranger(f"the certificate names nobody of cluster {cluster_id}")
    if peer.has_expired():
        raise Stranger("the certificate is over; get another: iris cluster login")
    return peer


@lru_cache(MOST_KNOWN)
def _read(pem: bytes, cluster_id: str) -> Peer | None:
    facts = certificates.read_facts(certificates.certificate_from_pem(pem))
    match facts.subject:
        case Person(cluster, role, name) if cluster == cluster_id:
            return Peer(frozenset({role}), name, None, facts.not_after_s)
        case WorkerPlace(cluster, slice_name, index) if cluster == cluster_id:
            place = Place(slice_name, index)
            return Peer(frozenset({Role.WORKER}), place.name, place, facts.not_after_s)
        case _:
            return None
