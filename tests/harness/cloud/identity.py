"""Google's own key: signs identity tokens of VMs, and publishes what to check them with."""

from __future__ import annotations

import base64
import datetime
import json
from functools import cached_property
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from tests.harness.cloud.machines import Vm

ISSUER = "https://accounts.google.com"
LIVES_S = 3600
DAY_MS = 24 * 3600 * 1000
KEY_BITS = 2048


class Signer:
    """One key with a self-signed certificate; `kid` is what tokens and the list of certificates call it."""

    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms

    @cached_property
    def _key(self) -> rsa.RSAPrivateKey:
        return rsa.generate_private_key(65537, KEY_BITS)

    @cached_property
    def _certificate(self) -> x509.Certificate:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "federated-signon.test")])
        start = datetime.datetime.fromtimestamp((self._now_ms - DAY_MS) / 1000, datetime.timezone.utc)
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(1)
            .not_valid_before(start)
            .not_valid_after(start + datetime.timedelta(days=365))
            .sign(self._key, hashes.SHA256())
        )

    @property
    def kid(self) -> str:
        """Of forty hexadecimal digits, as Google's."""
        return self._certificate.fingerprint(hashes.SHA1()).hex()

    def certificates(self) -> dict[str, str]:
        """What `/oauth2/v1/certs` has: key id -> certificate as PEM."""
        return {self.kid: self._certificate.public_bytes(serialization.Encoding.PEM).decode()}

    def sign(self, claims: dict[str, Any]) -> str:
        """A JSON web token, RS256."""
        header = {"alg": "RS256", "kid": self.kid, "typ": "JWT"}
        signed = f"{_part(header)}.{_part(claims)}"
        proof = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_encode(proof)}"


def claims_of(vm: Vm, project_number: int, audience: str, now_ms: int, *, full: bool) -> dict[str, Any]:
    """What Google says of a VM; the machine itself only where the full format was asked for."""
    now = now_ms // 1000
    subject = str(10**20 + vm.id)
    claims: dict[str, Any] = {
        "aud": audience,
        "azp": subject,
        "email": vm.email,
        "email_verified": True,
        "exp": now + LIVES_S,
        "iat": now,
        "iss": ISSUER,
        "sub": subject,
    }
    if full:
        claims["google"] = {
            "compute_engine": {
                "instance_creation_timestamp": vm.created_ms // 1000,
                "instance_id": str(vm.id),
                "instance_name": vm.name,
                "project_id": vm.project,
                "project_number": project_number,
                "zone": vm.zone,
            }
        }
    return claims


def _part(value: dict[str, Any]) -> str:
    return _encode(json.dumps(value, separators=(",", ":")).encode())


def _encode(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
