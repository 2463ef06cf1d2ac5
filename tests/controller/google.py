"""Google's part in joining, played: a key that signs identity tokens, and where its certificate is."""

import datetime
import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from google.auth import crypt, jwt

from iris_platform.base import PlatformError
from tests.controller.worlds import CLUSTER_ID

PROJECT = "my-project"
ZONE = "us-central2-b"
ACCOUNT = "1-compute@developer.gserviceaccount.com"


class Key:
    """One of Google's keys."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._key = rsa.generate_private_key(65537, 2048)

    def certificate(self) -> str:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "federated-signon.test")])
        start = datetime.datetime.fromtimestamp(time.time() - 3600, datetime.timezone.utc)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name)
        builder = builder.public_key(self._key.public_key()).serial_number(1)
        builder = builder.not_valid_before(start).not_valid_after(start + datetime.timedelta(days=1))
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()

    def token(self, machine: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token of a machine of the group, but for what is said; a claim that is None is left out."""
        engine = {"project_id": PROJECT, "zone": ZONE, "instance_name": "t1v-n-1-w-0", **(machine or {})}
        now_s = int(time.time())
        whole = {
            "iss": "https://accounts.google.com",
            "aud": CLUSTER_ID,
            "email": ACCOUNT,
            "email_verified": True,
            "iat": now_s,
            "exp": now_s + 3600,
            "google": {"compute_engine": engine},
            **claims,
        }
        pem = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        signer = crypt.RSASigner.from_string(pem, self.name)  # type: ignore[no-untyped-call]
        said = {name: value for name, value in whole.items() if value is not None}
        return bytes(jwt.encode(signer, said)).decode()  # type: ignore[no-untyped-call]


@dataclass
class Provider:
    """What the platform answers about slices; `problem` is raised instead, `gate` is waited for."""

    slices: dict[str, tuple[frozenset[str], ...]]
    problem: PlatformError | None = None
    asked: list[tuple[str, str]] = field(default_factory=list)
    gate: threading.Event | None = None

    def host_addresses(self, slice_id: str, zone: str) -> tuple[frozenset[str], ...]:
        self.asked.append((slice_id, zone))
        if self.gate is not None:
            assert self.gate.wait(30)
        if self.problem is not None:
            raise self.problem
        return self.slices[slice_id]


@dataclass
class Certificates:
    """Where Google's certificates are. `plan` is taken from its front: a status for each request."""

    keys: list[Key]
    max_age_s: int = 3600
    plan: list[int] = field(default_factory=list)
    asked: int = 0
    url: str = ""


@contextmanager
def serve_certificates(*keys: Key) -> Iterator[Certificates]:
    told = Certificates(list(keys))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told.asked += 1
            status = told.plan.pop(0) if told.plan else 200
            found = (
                {key.name: key.certificate() for key in told.keys} if self.path == "/oauth2/v1/certs" else {}
            )
            body = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Cache-Control", f"public, max-age={told.max_age_s}, must-revalidate")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        told.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield told
        finally:
            server.shutdown()
            thread.join(10)
