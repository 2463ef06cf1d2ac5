"""Keys, signing requests and certificates. Pure but for the randomness of keys and serial numbers.

Times are Unix seconds and are passed in. What a request asks for beside its key
is never read: the signer says whom a certificate is for.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from iris_platform.pki.names import Subject, parse_uri, server_name

# DESIGN 7: certificates live a week, and begin an hour back for clocks that are behind.
LIFETIME_S = 7 * 24 * 3600
BACKDATED_S = 3600
# As long as a cluster may; it is replaced by restoring another.
CA_LIFETIME_S = 20 * 365 * 24 * 3600
# A request with a P-256 key has about 400 bytes.
CSR_MOST_BYTES = 8192

PrivateKey = ec.EllipticCurvePrivateKey
_CA_PREFIX = "iris "


class CsrRefused(ValueError):
    """A signing request that is not signed; the message says what was expected."""


class NotAKey(ValueError):
    """Text that is no key or certificate of ours; the message says what was expected."""


@dataclass(frozen=True)
class CertificateFacts:
    """What a client's certificate says. Times in Unix seconds."""

    subject: Subject | None
    not_before_s: float
    not_after_s: float

    def is_due(self, now_s: float) -> bool:
        """Whether less than a third of its life is left, so that it is to be renewed."""
        return self.not_after_s - now_s < (self.not_after_s - self.not_before_s) / 3


def make_key() -> PrivateKey:
    """A new P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def key_to_pem(key: PrivateKey) -> bytes:
    """PKCS #8, not encrypted: for a file that only its owner can read."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def key_from_pem(data: bytes) -> PrivateKey:
    """The key that `key_to_pem` wrote.

    Raises:
        NotAKey: anything else. The message does not quote it.
    """
    try:
        key = serialization.load_pem_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise NotAKey("expected a P-256 private key in PEM") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise NotAKey("expected a P-256 private key in PEM")
    return key


def public_bytes(key: CertificatePublicKeyTypes) -> bytes:
    """A public key as DER SubjectPublicKeyInfo (RFC 5280)."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def certificate_from_pem(data: bytes) -> x509.Certificate:
    """The first certificate of a PEM text.

    Raises:
        NotAKey: there is none.
    """
    try:
        return x509.load_pem_x509_certificate(data)
    except ValueError as error:
        raise NotAKey("expected a certificate in PEM") from error


def make_csr(key: PrivateKey) -> bytes:
    """A signing request in PEM. It proves that we hold the key and asks for no name."""
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def read_csr(data: bytes) -> ec.EllipticCurvePublicKey:
    """The key of a signing request, which its sender holds.

    Raises:
        CsrRefused: too long, no request, a key of another kind than P-256, or
            not signed by it.
    """
    if len(data) > CSR_MOST_BYTES:
        raise CsrRefused(f"the signing request has {len(data)} bytes; expected at most {CSR_MOST_BYTES}")
    try:
        request = x509.load_pem_x509_csr(data)
        key = request.public_key()
        is_signed = request.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature) as error:
        raise CsrRefused("expected a PKCS #10 signing request in PEM") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise CsrRefused("the signing request's key is of another kind; expected P-256")
    if not is_signed:
        raise CsrRefused("the signing request is not signed by its own key")
    return key


def read_facts(certificate: x509.Certificate) -> CertificateFacts:
    """Whom a certificate is for and when; no subject unless it has exactly one of our URIs."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except (x509.ExtensionNotFound, ValueError):
        uris = []
    return CertificateFacts(
        subject=parse_uri(uris[0]) if len(uris) == 1 else None,
        not_before_s=certificate.not_valid_before_utc.timestamp(),
        not_after_s=certificate.not_valid_after_utc.timestamp(),
    )


def cluster_id_of_ca(certificate: x509.Certificate) -> str:
    """The cluster that an authority's certificate names.

    Raises:
        NotAKey: it is no such certificate.
    """
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    text = str(names[0].value) if len(names) == 1 else ""
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (x509.ExtensionNotFound, ValueError):
        constraints = None
    if constraints is None or not constraints.ca or not text.startswith(_CA_PREFIX):
        raise NotAKey("expected the certificate of a cluster's authority")
    return text.removeprefix(_CA_PREFIX)


def sign_ca(key: PrivateKey, cluster_id: str, now_s: float) -> x509.Certificate:
    """An authority's own certificate. It signs no other authority."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _CA_PREFIX + cluster_id)])
    usage = _key_usage(key_cert_sign=True, crl_sign=True)
    return (
        _builder(key.public_key(), name, name, now_s, CA_LIFETIME_S)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )


def sign_client(
    ca: tuple[PrivateKey, x509.Certificate], key: ec.EllipticCurvePublicKey, subject: Subject, now_s: float
) -> x509.Certificate:
    """A certificate to dial the controller with; good for nothing else."""
    uri = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(subject.uri)])
    words = f"iris {subject.role.value}"
    return _sign_leaf(ca, key, (words, uri, ExtendedKeyUsageOID.CLIENT_AUTH), now_s)


def sign_server(
    ca: tuple[PrivateKey, x509.Certificate], key: ec.EllipticCurvePublicKey, cluster_id: str, now_s: float
) -> x509.Certificate:
    """A certificate to be the controller with; good for nothing else."""
    name = x509.SubjectAlternativeName([x509.DNSName(server_name(cluster_id))])
    return _sign_leaf(ca, key, ("iris controller", name, ExtendedKeyUsageOID.SERVER_AUTH), now_s)


def _sign_leaf(
    ca: tuple[PrivateKey, x509.Certificate],
    key: ec.EllipticCurvePublicKey,
    who: tuple[str, x509.SubjectAlternativeName, x509.ObjectIdentifier],
    now_s: float,
) -> x509.Certificate:
    ca_key, ca_certificate = ca
    words, names, purpose = who
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, words)])
    return (
        _builder(key, name, ca_certificate.subject, now_s, LIFETIME_S)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(names, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .sign(ca_key, hashes.SHA256())
    )


def _builder(
    key: ec.EllipticCurvePublicKey, subject: x509.Name, issuer: x509.Name, now_s: float, lifetime_s: float
) -> x509.CertificateBuilder:
    now = datetime.fromtimestamp(now_s, timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(seconds=BACKDATED_S))
        .not_valid_after(now + timedelta(seconds=lifetime_s))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )
