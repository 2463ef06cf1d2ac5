"""Keeps this host's certificate young, over a session that it has opened.

The key stays, so that one file is replaced by another; whoever connects next
shows the new one.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from iris_bootstrap.endpoint import tls_dir
from iris_bootstrap.log import Log
from iris_bootstrap.session.connection import Connection
from iris_platform.credentials import CredentialsError
from iris_platform.pki.keyring import Keyring
from iris_proto.v1.worker_pb2 import AgentMessage, RenewCertificate

# A third of a week is left when it is due, so that a look now and then does.
_LOOK_S = 600.0
_ANSWER_S = 30.0


class Renewal:
    """For one connection."""

    def __init__(self, host_dir: Path, connection: Connection, log: Log) -> None:
        self._ring = Keyring(tls_dir(host_dir))
        self._connection = connection
        self._log = log

    async def keep(self) -> None:
        """Renew whenever it is due; what goes wrong is said, and tried again at the next look."""
        await self._connection.welcomed.wait()
        while True:
            try:
                await self._renew_if_due()
            except (CredentialsError, OSError) as error:
                self._log("certificate_not_renewed", why=str(error))
            except asyncio.TimeoutError:
                self._log("certificate_not_renewed", why="the controller did not answer in time")
            await asyncio.sleep(_LOOK_S)

    async def _renew_if_due(self) -> None:
        facts = self._ring.facts()
        if facts is None or not facts.is_due(time.time()):
            return
        connection = self._connection
        connection.certified.clear()
        connection.send(AgentMessage(renew=RenewCertificate(csr=self._ring.make_csr())))
        await asyncio.wait_for(connection.certified.wait(), _ANSWER_S)
        answer = connection.certificate
        if answer.error:
            raise CredentialsError(f"the controller said: {answer.error}")
        newer = await asyncio.to_thread(self._ring.store, answer.certificate_chain, time.time())
        self._log("certificate_renewed", until_s=round(newer.not_after_s))
