"""Signing requests and certificates: who is believed about what, and for how long."""

import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from iris_platform.credentials import CA_FILE, CredentialsError, load_credentials
from iris_platform.pki import certificates
from iris_platform.pki.authority import Authority, ensure_authority
from iris_platform.pki.certificates import CsrRefused, NotAKey
from iris_platform.pki.keyring import Keyring
from iris_platform.pki.names import Person, Role, WorkerPlace, parse_uri, server_name

NOW_S = 1_800_000_000.0
DAY_S = 86_400
PEM = serialization.Encoding.PEM


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return ensure_authority("demo", tmp_path / "pki", NOW_S)


def place(authority: Authority, index: int = 3) -> WorkerPlace:
    return WorkerPlace(authority.identity.cluster_id, "iris-x-here-1-1", index)


def signed(authority: Authority, csr: bytes) -> x509.Certificate:
    return certificates.certificate_from_pem(authority.sign_client(csr, place(authority), NOW_S))


def request_of(key: Any, algorithm: Any = None) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, algorithm).public_bytes(PEM)


def test_a_certificate_says_whom_it_is_for_and_lives_a_week(authority: Authority) -> None:
    key = certificates.make_key()
    certificate = signed(authority, certificates.make_csr(key))
    facts = certificates.read_facts(certificate)
    assert facts.subject == place(authority)
    assert (facts.not_before_s, facts.not_after_s) == (NOW_S - 3600, NOW_S + 7 * DAY_S)
    assert certificate.public_key() == key.public_key()
    certificate.verify_directly_issued_by(authority.certificate)


def test_it_is_due_when_less_than_a_third_is_left(authority: Authority) -> None:
    facts = certificates.read_facts(signed(authority, certificates.make_csr(certificates.make_key())))
    due_s = NOW_S + 7 * DAY_S - (7 * DAY_S + 3600) / 3
    assert [facts.is_due(due_s + delta) for delta in (-1, 1)] == [False, True]


def test_the_name_that_a_request_asks_for_is_not_believed(authority: Authority) -> None:
    cluster_id = authority.identity.cluster_id
    wanted = x509.UniformResourceIdentifier(Person(cluster_id, Role.OPERATOR, "eve").uri)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "iris operator")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    builder = builder.add_extension(x509.SubjectAlternativeName([wanted]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    csr = builder.sign(certificates.make_key(), hashes.SHA256()).public_bytes(PEM)
    certificate = signed(authority, csr)
    assert certificates.read_facts(certificate).subject == place(authority)
    assert b"eve" not in certificate.public_bytes(serialization.Encoding.DER)
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: b"", "expected a PKCS #10"),
        (
            lambda: b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
            "PKCS #10",
        ),
        (lambda: b"x" * 9000, "9000 bytes; expected at most 8192"),
        (lambda: request_of(ed25519.Ed25519PrivateKey.generate()), "expected P-256"),
        (lambda: request_of(rsa.generate_private_key(65537, 2048), hashes.SHA256()), "expected P-256"),
        (lambda: request_of(ec.generate_private_key(ec.SECP384R1()), hashes.SHA256()), "expected P-256"),
        (lambda: certificates.key_to_pem(certificates.make_key()), "expected a PKCS #10"),
    ],
    ids=["empty", "garbage", "too long", "Ed25519", "RSA", "P-384", "a key"],
)
def test_a_request_that_is_not_signed(authority: Authority, make: Any, says: str) -> None:
    with pytest.raises(CsrRefused, match=says):
        signed(authority, make())


def test_a_request_whose_sender_does_not_hold_the_key(authority: Authority) -> None:
    csr = x509.load_pem_x509_csr(certificates.make_csr(certificates.make_key()))
    data = bytearray(csr.public_bytes(serialization.Encoding.DER))
    data[-1] ^= 1
    forged = x509.load_der_x509_csr(bytes(data)).public_bytes(PEM)
    with pytest.raises(CsrRefused, match="not signed by its own key"):
        signed(authority, forged)


def test_a_subject_of_another_cluster_is_not_signed(authority: Authority) -> None:
    with pytest.raises(ValueError, match="signs for cluster"):
        authority.sign_client(
            certificates.make_csr(certificates.make_key()), Person("a" * 10, Role.USER, "ada"), NOW_S
        )


@pytest.mark.parametrize(
    "subject",
    [
        Person("abcdefg234", Role.OPERATOR, "ada@example.org"),
        Person("abcdefg234", Role.USER, "a"),
        WorkerPlace("abcdefg234", "iris-abcdefg234-here-1-1", 0),
        WorkerPlace("abcdefg234", "s", 511),
    ],
)
def test_a_uri_and_back(subject: Person | WorkerPlace) -> None:
    assert parse_uri(subject.uri) == subject


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "iris://abcdefg234/operator/",
        "iris://abcdefg234/root/ada",
        "iris://abcdefg234/operator/ada/0",
        "iris://abcdefg234/worker/s",
        "iris://abcdefg234/worker/s/01",
        "iris://abcdefg234/worker/s/-1",
        "iris://abcdefg234/worker/S/1",
        "iris://ABCDEFG234/user/ada",
        "iris://abcdefg234/user/ada\n",
        "http://abcdefg234/user/ada",
        "iris://abcdefg234/user/../operator/ada",
    ],
)
def test_a_uri_that_is_nobody_s(uri: str) -> None:
    assert parse_uri(uri) is None


@pytest.mark.parametrize("name", ["", "-x", "a b", "a/b", "a\n", "$(id)", "x" * 64])
def test_a_name_that_no_person_has(name: str) -> None:
    with pytest.raises(ValueError, match="name: expected"):
        Person("abcdefg234", Role.USER, name)


def test_a_person_is_no_worker() -> None:
    with pytest.raises(ValueError, match="operator or user"):
        Person("abcdefg234", Role.WORKER, "ada")


# The files of whoever dials.


def test_a_keyring_is_made_signed_and_used(tmp_path: Path, authority: Authority) -> None:
    ring = Keyring(tmp_path / "ring")
    assert ring.prepare(authority.ca_pem) == authority.identity.cluster_id
    assert ring.facts() is None
    chain = authority.sign_client(ring.make_csr(), place(authority), NOW_S)
    assert ring.store(chain, NOW_S).subject == place(authority)
    ring.prepare(authority.ca_pem)
    assert ring.facts() == ring.store(authority.sign_client(ring.make_csr(), place(authority), NOW_S), NOW_S)
    found = load_credentials(tmp_path / "ring")
    assert found.ca == authority.ca_pem and b"PRIVATE KEY" in found.key
    assert "PRIVATE KEY" not in repr(found)
    assert {stat.S_IMODE(p.stat().st_mode) for p in ring.directory.iterdir()} == {0o600}
    assert stat.S_IMODE(ring.directory.stat().st_mode) == 0o700


def test_a_keyring_takes_no_other_certificate(tmp_path: Path, authority: Authority) -> None:
    other = ensure_authority("demo", tmp_path / "other", NOW_S)
    ring = Keyring(tmp_path / "ring")
    ring.prepare(authority.ca_pem)
    good = authority.sign_client(ring.make_csr(), place(authority), NOW_S)
    not_our_key = authority.sign_client(
        certificates.make_csr(certificates.make_key()), place(authority), NOW_S
    )
    not_our_ca = other.sign_client(ring.make_csr(), place(other), NOW_S)
    for chain in (not_our_key, not_our_ca, b"", good + b"#" * 20_000):
        with pytest.raises(CredentialsError, match="no certificate for our key"):
            ring.store(chain, NOW_S)
    for moment_s in (NOW_S + 8 * DAY_S, NOW_S - DAY_S):
        with pytest.raises(CredentialsError, match="clock"):
            ring.store(good, moment_s)
    assert ring.facts() is None
    with pytest.raises(CredentialsError, match="another authority is pinned"):
        ring.prepare(other.ca_pem)
    with pytest.raises(CredentialsError, match="expected the certificate of a cluster's authority"):
        Keyring(tmp_path / "new").prepare(good)


def test_credentials_that_cannot_be_used(tmp_path: Path, authority: Authority) -> None:
    ring = Keyring(tmp_path / "ring")
    ring.prepare(authority.ca_pem)
    with pytest.raises(CredentialsError, match=r"cert\.pem: cannot read: No such file"):
        load_credentials(ring.directory)
    ring.store(authority.sign_client(ring.make_csr(), place(authority), NOW_S), NOW_S)
    (ring.directory / "key.pem").chmod(0o644)
    for use in (ring.make_csr, lambda: load_credentials(ring.directory)):
        with pytest.raises(CredentialsError, match=r"key\.pem: open to others \(mode 0644\)"):
            use()
    (ring.directory / "cert.pem").write_text("x")
    with pytest.raises(CredentialsError, match=r"cert\.pem: cannot be used"):
        ring.facts()


@pytest.mark.parametrize(
    "module",
    ["iris_platform", "iris_platform.credentials", "iris_platform.pki.names", "iris_platform.store_key"],
)
def test_who_needs_no_certificates_loads_no_cryptography(module: str) -> None:
    code = f"import sys, {module}; print(sorted({{'cryptography', 'grpc', 'google.protobuf'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr


def test_text_that_is_no_key() -> None:
    with pytest.raises(NotAKey) as raised:
        certificates.key_from_pem(b"secret")
    assert "secret" not in str(raised.value)


def test_the_controller_s_name(authority: Authority) -> None:
    key, pem = authority.make_server(NOW_S)
    certificate = certificates.certificate_from_pem(pem)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [server_name(authority.identity.cluster_id)]
    assert certificates.read_facts(certificate).subject is None
    assert certificates.key_from_pem(key).public_key() == certificate.public_key()


def test_a_keyring_knows_whose_authority_it_has_pinned(authority: Authority, tmp_path: Path) -> None:
    ring = Keyring(tmp_path / "ring")
    assert ring.cluster_id() == ""
    assert ring.prepare(authority.ca_pem) == ring.cluster_id() == authority.identity.cluster_id
    (ring.directory / CA_FILE).write_text("no certificate")
    with pytest.raises(CredentialsError, match=r"ca\.pem"):
        ring.cluster_id()
