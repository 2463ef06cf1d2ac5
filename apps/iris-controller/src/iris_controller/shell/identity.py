"""The controller's own certificate: made at the start, made anew long before it is over, never on a disk.

Both ports show the same one. gRPC asks for it at every handshake, in a thread
of its own; the join port is given it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import threading
from collections.abc import Callable
from typing import Any

import grpc

from iris_platform.pki.authority import Authority
from iris_platform.pki.certificates import certificate_from_pem, read_facts

log = logging.getLogger(__name__)

LOOK_S = 600.0


class ServerIdentity:
    """The present key and certificate. Safe to use from any thread."""

    def __init__(self, authority: Authority, clock_s: Callable[[], float]) -> None:
        """`clock_s` is Unix time."""
        self._authority = authority
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._key, self._certificate = authority.make_server(clock_s())
        self._shown = 0
        self._number = 1
        # For the join port: it shows the certificate and asks for none.
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3
        self._load()

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """For a port on which every client has to show a certificate of our authority."""
        # The stub's types do not know what gRPC documents: None means that nothing has changed.
        fetch: Callable[[], Any] = self._fetch
        return grpc.dynamic_ssl_server_credentials(self._configuration(), fetch, True)

    def renew_if_due(self) -> bool:
        """Make a new one if less than a third of its life is left; says whether it did."""
        facts = read_facts(certificate_from_pem(self._certificate))
        if not facts.is_due(self._clock_s()):
            return False
        with self._lock:
            self._key, self._certificate = self._authority.make_server(self._clock_s())
            self._number += 1
            self._load()
        log.info("the controller's certificate was renewed")
        return True

    async def keep(self) -> None:
        """Renew for ever."""
        while True:
            await asyncio.sleep(LOOK_S)
            self.renew_if_due()

    def _fetch(self) -> grpc.ServerCertificateConfiguration | None:
        with self._lock:
            if self._shown == self._number:
                return None
            self._shown = self._number
            return self._configuration()

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        pairs = [(self._key, self._certificate)]
        return grpc.ssl_server_certificate_configuration(pairs, self._authority.ca_pem)

    def _load(self) -> None:
        # ssl reads files only: this one has no name and is in memory.
        with os.fdopen(os.memfd_create("certificate", os.MFD_CLOEXEC), "wb") as file:
            file.write(self._key + self._certificate)
            file.flush()
            self.context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
