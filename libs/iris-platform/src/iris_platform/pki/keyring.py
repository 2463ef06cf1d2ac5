"""The files of whoever dials a controller over TLS: `ca.pem`, `key.pem` and `cert.pem` in a 0700 directory.

The key is made once and stays: only then is a renewal one file replaced by
another, which is whole or not there. Knows no sockets.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature

from iris_platform.credentials import CA_FILE, CERTIFICATE_FILE, KEY_FILE, CredentialsError
from iris_platform.files import make_private_dir, write_atomic, write_new
from iris_platform.pki import certificates
from iris_platform.pki.certificates import CertificateFacts, NotAKey, PrivateKey

# A client's certificate has about 800 bytes.
CHAIN_MOST_BYTES = 16_384


@dataclass(frozen=True)
class Keyring:
    """One holder's directory."""

    directory: Path

    def prepare(self, ca_pem: bytes) -> str:
        """Pin an authority, and make a key if there is none. Returns the cluster's id.

        Raises:
            CredentialsError: that is no authority's certificate, another one is
                pinned already, or the key cannot be used.
            OSError: something could not be written.
        """
        try:
            cluster_id = certificates.cluster_id_of_ca(certificates.certificate_from_pem(ca_pem))
        except NotAKey as error:
            raise CredentialsError(f"the authority's certificate: {error}") from error
        make_private_dir(self.directory)
        path = self.directory / CA_FILE
        if not write_new(path, ca_pem) and path.read_bytes() != ca_pem:
            raise CredentialsError(
                f"{path}: another authority is pinned; remove {self.directory} if it is gone"
            )
        self.make_key()
        return cluster_id

    def make_key(self) -> None:
        """Make the key if there is none.

        Raises:
            CredentialsError: the one that is there cannot be used.
            OSError: it could not be written.
        """
        make_private_dir(self.directory)
        write_new(self.directory / KEY_FILE, certificates.key_to_pem(certificates.make_key()))
        self._key()

    def make_csr(self) -> bytes:
        """A signing request for our key, in PEM.

        Raises:
            CredentialsError: the key is missing or cannot be used.
        """
        return certificates.make_csr(self._key())

    def store(self, chain: bytes, now_s: float) -> CertificateFacts:
        """Put a certificate in place of what was there, if it is one for us. `now_s` is Unix time.

        Raises:
            CredentialsError: it is not for our key, not of our authority, or not valid now.
            OSError: it could not be written.
        """
        wrong = CredentialsError("the controller's answer is no certificate for our key")
        if len(chain) > CHAIN_MOST_BYTES:
            raise wrong
        try:
            certificate = certificates.certificate_from_pem(chain)
            authority = certificates.certificate_from_pem((self.directory / CA_FILE).read_bytes())
            certificate.verify_directly_issued_by(authority)
        except (NotAKey, ValueError, TypeError, InvalidSignature) as error:
            raise wrong from error
        ours = certificates.public_bytes(self._key().public_key())
        if certificates.public_bytes(certificate.public_key()) != ours:
            raise wrong
        facts = certificates.read_facts(certificate)
        if not facts.not_before_s <= now_s <= facts.not_after_s:
            raise CredentialsError("the certificate is not valid by this machine's clock; set it right")
        write_atomic(self.directory / CERTIFICATE_FILE, chain)
        return facts

    def facts(self) -> CertificateFacts | None:
        """What our certificate says; None when there is none.

        Raises:
            CredentialsError: it cannot be read.
        """
        path = self.directory / CERTIFICATE_FILE
        try:
            return certificates.read_facts(certificates.certificate_from_pem(path.read_bytes()))
        except FileNotFoundError:
            return None
        except (OSError, NotAKey) as error:
            raise CredentialsError(f"{path}: cannot be used: {error}") from error

    def cluster_id(self) -> str:
        """The id of the cluster whose authority is pinned; empty when none is.

        Raises:
            CredentialsError: it cannot be read.
        """
        path = self.directory / CA_FILE
        try:
            return certificates.cluster_id_of_ca(certificates.certificate_from_pem(path.read_bytes()))
        except FileNotFoundError:
            return ""
        except (OSError, NotAKey) as error:
            raise CredentialsError(f"{path}: cannot be used: {error}") from error

    def _key(self) -> PrivateKey:
        path = self.directory / KEY_FILE
        try:
            mode = path.stat().st_mode
            if mode & 0o077:
                raise CredentialsError(f"{path}: open to others (mode {mode & 0o777:04o}); chmod 600 it")
            return certificates.key_from_pem(path.read_bytes())
        except (OSError, NotAKey) as error:
            raise CredentialsError(f"{path}: cannot be used: {error}") from error
