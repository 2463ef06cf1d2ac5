"""Google's identity tokens of machines: signed by Google, for this cluster, and still good.

Knows Google's certificates and what a token says; nothing of slices.
https://cloud.google.com/compute/docs/instances/verifying-instance-identity
"""

from __future__ import annotations

import http.client
import json
import re
import ssl
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from urllib.parse import urlsplit

from iris_controller.shell.shared import Shared
from iris_controller.shell.tokens import Denied
from iris_platform.base import Unreachable

CERTIFICATES = "https://www.googleapis.com"
CERTIFICATES_PATH = "/oauth2/v1/certs"
ISSUERS = ("https://accounts.google.com", "accounts.google.com")
FETCH_S = 8.0
# Whatever `Cache-Control` says.
LEAST_AGE_S = 60.0
MOST_AGE_S = 86_400.0
# A key that is not among them may be a new one; more often than that it is asked for by nobody honest.
AGAIN_S = 10.0
SKEW_S = 60
_MOST_BYTES = 256 * 1024
_MAX_AGE = re.compile(r"max-age=([0-9]{1,9})")


@dataclass(frozen=True)
class Machine:
    """Who a token is of: what Google says of the machine and of the account that it acts as."""

    project: str
    zone: str
    name: str
    account: str


@dataclass(frozen=True)
class _Certificates:
    by_key: Mapping[str, str]
    max_age_s: float


class TokenReader:
    """Checks tokens. For one event loop."""

    def __init__(
        self, endpoint: str, cluster_id: str, pool: ThreadPoolExecutor, clock_s: Callable[[], float]
    ) -> None:
        """`endpoint` is where Google's certificates are, `https://HOST[:PORT]`; `clock_s` never goes back."""
        self._cluster_id = cluster_id
        self._clock_s = clock_s
        where = endpoint or CERTIFICATES
        self._certificates = Shared(_fetch, pool, clock_s, keep_s=MOST_AGE_S, deadline_s=FETCH_S)
        self._where = where

    async def read(self, token: str) -> Machine:
        """The machine that a token is of.

        Raises:
            Denied: it is no such token; never quotes it.
            Unreachable: Google's certificates cannot be had.
        """
        key = _key_of(token)
        found, asked_s = await self._certificates.get(self._where)
        age_s = self._clock_s() - asked_s
        if age_s >= found.max_age_s or (key not in found.by_key and age_s >= AGAIN_S):
            found, _ = await self._certificates.get(self._where, newer_than_s=asked_s)
        if key not in found.by_key:
            raise Denied("the identity token is signed with a key that Google does not publish")
        return _machine(_claims(token, found.by_key), self._cluster_id)


def _key_of(token: str) -> str:
    from google.auth import exceptions, jwt

    try:
        header = jwt.decode_header(token)  # type: ignore[no-untyped-call]  # google-auth says no type
    except (exceptions.GoogleAuthError, ValueError) as error:
        raise Denied("the proof is no identity token") from error
    # The only way in which Google signs them.
    if not isinstance(header, dict) or header.get("alg") != "RS256" or not isinstance(header.get("kid"), str):
        raise Denied("the proof is no identity token that Google signed: expected RS256 and a key's id")
    return str(header["kid"])


def _claims(token: str, certificates: Mapping[str, str]) -> Mapping[str, object]:
    """What a token says that is signed, begun and not over."""
    from google.auth import exceptions, jwt

    try:
        claims = jwt.decode(  # type: ignore[no-untyped-call]  # as above
            token, certs=certificates, clock_skew_in_seconds=SKEW_S
        )
    except exceptions.InvalidValue as error:
        # Its words have times in them, and nothing secret.
        raise Denied(f"the identity token cannot be used: {error}") from error
    except (exceptions.GoogleAuthError, ValueError, TypeError) as error:
        raise Denied("the identity token is not signed by Google") from error
    return dict(claims)


def _machine(claims: Mapping[str, object], cluster_id: str) -> Machine:
    if claims.get("iss") not in ISSUERS:
        raise Denied(f"the identity token was issued by {claims.get('iss')!r}, not by Google")
    if claims.get("aud") != cluster_id:
        raise Denied(f"the identity token is for {claims.get('aud')!r}, not for this cluster, {cluster_id}")
    match claims:
        case {
            "email": str(account),
            "email_verified": True,
            "google": {
                "compute_engine": {"project_id": str(project), "zone": str(zone), "instance_name": str(name)}
            },
        }:
            return Machine(project, zone, name, account)
        case _:
            raise Denied("the identity token does not say which machine it is of: ask for format=full")


def _fetch(where: str) -> _Certificates:
    """Google's certificates, by their keys' ids.

    Raises:
        Unreachable: they cannot be had now.
    """
    address = urlsplit(where)
    connection: http.client.HTTPConnection
    if address.scheme == "https":
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(address.netloc, timeout=FETCH_S, context=context)
    else:
        connection = http.client.HTTPConnection(address.netloc, timeout=FETCH_S)
    try:
        with closing(connection):
            connection.request("GET", CERTIFICATES_PATH)
            with closing(connection.getresponse()) as response:
                data = response.read(_MOST_BYTES + 1)
        found = json.loads(data) if response.status == http.client.OK and len(data) <= _MOST_BYTES else None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unreachable(f"Google's certificates at {where} cannot be had: {error}") from error
    if not isinstance(found, dict) or not found or not all(isinstance(pem, str) for pem in found.values()):
        words = f"HTTP status {response.status}, {len(data)} bytes"
        raise Unreachable(f"Google's certificates at {where} cannot be had: {words}")
    said = _MAX_AGE.search(response.getheader("Cache-Control") or "")
    max_age_s = float(said.group(1)) if said else LEAST_AGE_S
    return _Certificates(found, min(max(max_age_s, LEAST_AGE_S), MOST_AGE_S))
