"""What the controller signs, and for whom: hosts that join, agents that renew, people.

Decides on names and clusters' rules; the authority only signs. Safe to use from
any thread.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from iris_controller.core.values import Place, Reason
from iris_controller.shell.peers import OPERATOR, Peer, Role
from iris_controller.shell.tokens import Denied, Proof
from iris_platform.pki.authority import Authority
from iris_platform.pki.certificates import CsrRefused, certificate_from_pem, read_csr, read_facts
from iris_platform.pki.names import Person, WorkerPlace

# What nobody's place exceeds, so that logs and answers do not grow with what was sent.
NAME_MOST = 63
INDEX_MOST = 999_999

log = logging.getLogger(__name__)


class NotIssued(Exception):
    """There is no certificate; the message says why. `allowed`: somebody else may have one, or a better request."""

    def __init__(self, message: str, *, allowed: bool = True) -> None:
        super().__init__(message)
        self.allowed = allowed


class HttpError(Exception):
    """The join port's answer is a refusal; `status` and `code` for it."""

    def __init__(self, status: HTTPStatus, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class NotAdmitted(HttpError):
    """A host may not join."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A person's certificate and what belongs to it."""

    chain: bytes
    ca: bytes
    cluster_id: str
    expires_ms: int


class CertificateDesk:
    """Signs for agents and people that are known already."""

    def __init__(self, authority: Authority, clock_s: Callable[[], float]) -> None:
        """`clock_s` is Unix time."""
        self._authority = authority
        self._clock_s = clock_s

    def issue(self, peer: Peer, csr: bytes, role: Role | None, name: str) -> Issued:
        """A person's certificate. `role` None and an empty name are the caller's own.

        Raises:
            NotIssued: the caller may not have it, or the request is wrong.
        """
        own = next(iter(peer.roles)) if len(peer.roles) == 1 else OPERATOR
        wanted, for_whom = role or own, name or peer.name
        if OPERATOR not in peer.roles and (wanted is not own or for_whom != peer.name):
            words = f"{own.value} {peer.name} may renew its own certificate only; ask an operator"
            raise NotIssued(words, allowed=False)
        try:
            subject = Person(self._authority.identity.cluster_id, wanted, for_whom)
            chain = self._authority.sign_client(csr, subject, self._clock_s())
        except ValueError as error:
            raise NotIssued(str(error)) from error
        log.info("certificate for %s %s, asked for by %s", wanted.value, for_whom, peer.name)
        expires_s = read_facts(certificate_from_pem(chain)).not_after_s
        return Issued(chain, self._authority.ca_pem, subject.cluster_id, round(expires_s * 1000))

    def sign_worker(self, place: Place, csr: bytes) -> bytes:
        """A certificate for a place whose holder has shown that it is there; PEM.

        Raises:
            NotIssued: the request is wrong.
        """
        try:
            cluster_id = self._authority.identity.cluster_id
            subject = WorkerPlace(cluster_id, place.slice_name, place.worker_index)
            return self._authority.sign_client(csr, subject, self._clock_s())
        except ValueError as error:
            raise NotIssued(str(error)) from error


@dataclass(frozen=True)
class Admission:
    """`POST /join`: a signing request, a place and a proof become a certificate.

    `why_not` says why a place is none of ours, and is called in the join
    port's thread.
    """

    desk: CertificateDesk
    proofs: Mapping[str, Proof]
    why_not: Callable[[Place], Reason | None]

    async def admit(self, body: bytes, source: str) -> bytes:
        """The certificate in PEM for a request's body, which came from the address `source`.

        The proof comes last: one that can be used once is not wasted on a
        request that is wrong.

        Raises:
            NotAdmitted: with the reason.
        """
        place, csr, kind, value = _read_join(body)
        try:
            read_csr(csr)
        except CsrRefused as error:
            raise NotAdmitted(HTTPStatus.BAD_REQUEST, "bad_csr", str(error)) from error
        proof = self.proofs.get(kind)
        if proof is None:
            raise NotAdmitted(HTTPStatus.BAD_REQUEST, "bad_proof", f"proof.kind: {_one_of(self.proofs)}")
        reason = self.why_not(place)
        if reason is None:
            try:
                await proof.check(value, place, source)
            except Denied as error:
                reason = Reason("denied", str(error))
        if reason is not None:
            log.warning("join of %s from %s refused: %s: %s", place.name, source, *reason)
            raise NotAdmitted(HTTPStatus.FORBIDDEN, reason.code, reason.message)
        try:
            chain = self.desk.sign_worker(place, csr)
        except NotIssued as error:
            raise NotAdmitted(HTTPStatus.BAD_REQUEST, "bad_request", str(error)) from error
        log.info("%s joined from %s", place.name, source)
        return chain


def _read_join(body: bytes) -> tuple[Place, bytes, str, str]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _bad("expected a JSON object") from error
    match value:
        case {
            "csr": str(csr),
            "place": {"slice_name": str(slice_name), "worker_index": int(index)},
            "proof": {"kind": str(kind), "value": str(proof)},
        } if not isinstance(index, bool) and len(slice_name) <= NAME_MOST and 0 <= index <= INDEX_MOST:
            return Place(slice_name, index), csr.encode("utf-8", "replace"), kind, proof
        case _:
            raise _bad("expected csr, place {slice_name, worker_index} and proof {kind, value}")


def _bad(words: str) -> NotAdmitted:
    return NotAdmitted(HTTPStatus.BAD_REQUEST, "bad_request", words)


def _one_of(proofs: Mapping[str, Proof]) -> str:
    return f"expected one of {', '.join(sorted(proofs))}" if proofs else "nobody may join here"
