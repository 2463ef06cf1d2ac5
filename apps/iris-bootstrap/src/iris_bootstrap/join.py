"""`iris-bootstrap join`: a host gets its first certificate.

The host makes its key, which never leaves it; the proof that it is the place
that it says comes on standard input and is used once, or is Google's word for a
machine of Google's. Again on a host that has joined as this place: nothing but the
address is written.
"""

from __future__ import annotations

import http.client
import io
import json
import random
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from iris_bootstrap.endpoint import Endpoint, tls_dir, write_endpoint
from iris_platform import env_probe
from iris_platform.credentials import CredentialsError
from iris_platform.metadata import MetadataError, MetadataServer
from iris_platform.pki.keyring import CHAIN_MOST_BYTES, Keyring
from iris_platform.pki.names import WorkerPlace, server_name
from iris_platform.processes import UNWANTED

# For connecting, and for each wait for the controller after that.
TIMEOUT_S = 20.0
# For the metadata server, which may come up after us.
METADATA_S = 30.0
# Between attempts of a machine that has no other to try for it.
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
CA_MOST_BYTES = 16_384
TOKEN_MOST_BYTES = 1024
# Of the kinds of proof: the identity token of a machine of Google's.
GOOGLE = "google"
# X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED, which Python has no names for.
_WRONG_TIME = (9, 10)

REFUSED = 1
UNUSABLE = 2
UNREACHABLE = 3
# What the controller calls it.
DELETED_SLICE = "deleted_slice"


class JoinError(Exception):
    """The host did not join; `status` is the exit status that says what to do."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class JoinRequest:
    """What the command line says. `place` is `SLICE/INDEX`, by default the host's own.

    `proof` is `token` or `google`.
    """

    host_dir: Path
    url: str
    ca_file: Path
    address: str
    place: str | None = None
    proof: str = "token"


def join_patiently(request: JoinRequest, say: Callable[[str], None], pause: Callable[[float], None]) -> None:
    """`join` of a machine that nobody would start again: until the controller has an answer.

    `say` hears each reason for waiting once; `pause` waits for so many seconds. What
    bounds this is the machine's dead man.

    Raises:
        JoinError: refused, or something here is wrong.
    """
    said, pause_s = "", FIRST_PAUSE_S
    while True:
        try:
            join(request, io.BytesIO())
            return
        except JoinError as error:
            if error.status != UNREACHABLE:
                raise
            if str(error) != said:
                said = str(error)
                say(said)
        # Not in step with the other hosts of the fleet.
        pause(pause_s * random.uniform(0.5, 1.0))
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def join(request: JoinRequest, standard_input: IO[bytes]) -> bool:
    """Make this host a member of its cluster; False when it was one already.

    Raises:
        JoinError: with the reason and what to do.
    """
    now_s = time.time()
    ring = Keyring(tls_dir(request.host_dir))
    try:
        with request.ca_file.open("rb") as file:
            ca_pem = file.read(CA_MOST_BYTES)
        cluster_id = ring.prepare(ca_pem)
        place = _place(request, cluster_id)
        known = ring.facts()
        joined = known is not None and known.subject == place and known.not_after_s > now_s
        if not joined:
            is_google = request.proof == GOOGLE
            proof = _identity_token(cluster_id) if is_google else _read_token(standard_input)
            chain = _ask(request.url, ca_pem, place, ring.make_csr(), (request.proof, proof))
            if ring.store(chain, now_s).subject != place:
                raise JoinError(REFUSED, "the controller's certificate is for another place")
        write_endpoint(request.host_dir, Endpoint(request.address, cluster_id))
    except (CredentialsError, env_probe.ProbeError) as error:
        raise JoinError(UNUSABLE, str(error)) from error
    except OSError as error:
        raise JoinError(UNUSABLE, f"{error.filename or request.host_dir}: {error.strerror}") from error
    return not joined


def _place(request: JoinRequest, cluster_id: str) -> WorkerPlace:
    here = env_probe.probe(request.host_dir)
    found = f"{here.slice_name}/{here.worker_index}"
    if here.cluster_id != cluster_id:
        words = f"{request.ca_file}: is of cluster {cluster_id}, but this host is of {here.cluster_id}"
        raise JoinError(UNUSABLE, words)
    if request.place not in (None, found):
        raise JoinError(UNUSABLE, f"--place: {request.place}, but this host is {found}")
    try:
        return WorkerPlace(cluster_id, here.slice_name, here.worker_index)
    except ValueError as error:
        raise JoinError(UNUSABLE, f"{request.host_dir}: {error}") from error


def _read_token(standard_input: IO[bytes]) -> str:
    token = standard_input.readline(TOKEN_MOST_BYTES).strip()
    if not token:
        raise JoinError(UNUSABLE, "expected a token on standard input; `iris` hands one over over SSH")
    return token.decode("ascii", "replace")


def _identity_token(cluster_id: str) -> str:
    """Google's word for which machine this is, for this cluster and nobody else."""
    server, path = MetadataServer(), "instance/service-accounts/default/identity"
    try:
        token = server.read(path, time.monotonic() + METADATA_S, audience=cluster_id, format="full")
    except MetadataError as error:
        raise JoinError(UNREACHABLE, str(error)) from error
    if not token:
        words = "this machine has no service account: without one Google vouches for nobody"
        raise JoinError(UNUSABLE, f"{server.host}: {path}: {words}")
    return token


def _ask(url: str, ca_pem: bytes, place: WorkerPlace, csr: bytes, proof: tuple[str, str]) -> bytes:
    """The controller's answer: a certificate in PEM, not checked yet."""
    body = {
        "csr": csr.decode("ascii"),
        "place": {"slice_name": place.slice_name, "worker_index": place.worker_index},
        "proof": {"kind": proof[0], "value": proof[1]},
    }
    connection = _connection(url, ca_pem, server_name(place.cluster_id))
    try:
        connection.request("POST", "/join", json.dumps(body), {"content-type": "application/json"})
        response = connection.getresponse()
        data = response.read(2 * CHAIN_MOST_BYTES)
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in _WRONG_TIME:
            here = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            words = f"the {error.verify_message} by this machine's clock, which says {here}; set it right"
            raise JoinError(REFUSED, f"{url}: {words}, or the controller's") from error
        words = f"{url}: is not the controller of cluster {place.cluster_id}: {error.verify_message}"
        raise JoinError(REFUSED, words) from error
    except (OSError, http.client.HTTPException) as error:
        words = f"{url}: the controller cannot be reached: {error}; try again"
        raise JoinError(UNREACHABLE, words) from error
    finally:
        connection.close()
    return _read_answer(url, response.status, data)


def _read_answer(url: str, status: int, data: bytes) -> bytes:
    try:
        value = json.loads(data)
    except ValueError:
        value = None
    said = value if isinstance(value, dict) else {}
    if status == http.client.OK and isinstance(said.get("certificate"), str):
        return str(said["certificate"]).encode("utf-8", "replace")
    reason = f"{said.get('error', status)}: {said.get('message', 'it said nothing that can be read')}"
    if said.get("error") == DELETED_SLICE:
        raise JoinError(UNWANTED, f"{url}: refused: {reason[:500]}")
    is_ours = status < http.client.INTERNAL_SERVER_ERROR and status != http.client.REQUEST_TIMEOUT
    raise JoinError(REFUSED if is_ours else UNREACHABLE, f"{url}: refused: {reason[:500]}")


class _Connection(http.client.HTTPSConnection):
    """To an address whose name is not the one that its certificate proves."""

    def __init__(self, address: tuple[str, int], context: ssl.SSLContext, name: str) -> None:
        super().__init__(*address, timeout=TIMEOUT_S, context=context)
        self._inside = context
        self._name = name

    def connect(self) -> None:
        outer = socket.create_connection((self.host, self.port), self.timeout)
        try:
            self.sock = self._inside.wrap_socket(outer, server_hostname=self._name)
        except OSError:
            outer.close()
            raise


def _connection(url: str, ca_pem: bytes, name: str) -> _Connection:
    parts = urlsplit(url)
    try:
        address = (parts.hostname or "", parts.port or 443)
    except ValueError:
        address = ("", 0)
    if parts.scheme != "https" or not address[0] or parts.path not in ("", "/"):
        raise JoinError(UNUSABLE, f"--url: expected https://HOST:PORT, found {url}")
    # No more than this one authority is believed.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=ca_pem.decode("ascii"))
    return _Connection(address, context, name)
