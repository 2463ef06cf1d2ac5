"""A controller on another machine: TLS with the operator's certificate, through an SSH tunnel.

One SSH handshake serves the whole command. `iris cluster tunnel` holds one open
that other commands use: it says where in a file, as long as it lives.
"""

from __future__ import annotations

import atexit
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import grpc

from iris_cli.exits import NOT_ALLOWED, UNREACHABLE
from iris_cli.locate import Cluster
from iris_cli.reach.link import CHANNEL_OPTIONS, Link, RpcFailed, refusal
from iris_cli.reach.tunnel_file import read_tunnel
from iris_cli.statuses import WORTH_ANOTHER_STREAM
from iris_platform.base import PlatformError
from iris_platform.controller_vm.site import OPERATOR_DIR, Site, dial
from iris_platform.credentials import CredentialsError, load_credentials, open_channel
from iris_platform.pki.keyring import Keyring
from iris_platform.pki.names import server_name
from iris_platform.ssh import SshConnection
from iris_proto.v1.controller_pb2 import IssueCertificateRequest
from iris_proto.v1.controller_pb2_grpc import ControllerServiceStub

LOOPBACK = "127.0.0.1"
RENEW_S = 5.0


class RemoteReach:
    """See `Reach`."""

    def __init__(self, cluster: Cluster, site: Site) -> None:
        self._cluster = cluster
        self._site = site
        self._lock = threading.Lock()
        self._stack = ExitStack()
        self._connection: SshConnection | None = None
        self._address = ""
        atexit.register(self.close)

    @property
    def directory(self) -> Path:
        """Where the operator's key and certificate are."""
        return self._cluster.paths.pki_dir / OPERATOR_DIR

    @property
    def is_open(self) -> bool:
        """Whether the tunnel that was made last is of use still."""
        connection = self._connection
        return connection is not None and connection.is_alive

    def open(self) -> Link:
        """See `Reach.open`."""
        ring = Keyring(self.directory)
        is_due = self._is_due(ring)
        address = self.tunnel()
        try:
            channel = open_channel(
                load_credentials(self.directory), address, server_name(self._site.cluster_id), CHANNEL_OPTIONS
            )
        except CredentialsError as error:
            raise self._log_in(str(error)) from error
        if is_due:
            self._renew(ring, channel)
        return Link(channel, (), f"{self._site.place}, through SSH")

    def tunnel(self) -> str:
        """An address on this machine that reaches the controller's port, as long as this reach is open.

        Raises:
            RpcFailed: its host cannot be reached.
        """
        shared = read_tunnel(self._cluster.paths)
        if shared is not None:
            return shared
        with self._lock:
            if self._connection is None or not self._connection.is_alive:
                self._stack.close()
                try:
                    self._dial()
                except PlatformError as error:
                    raise self._unreachable(str(error)) from error
            return self._address

    def close(self) -> None:
        """See `Reach.close`."""
        with self._lock:
            self._connection = None
            self._stack.close()

    def failure(self, error: grpc.RpcError, link: Link) -> RpcFailed:
        """See `Reach.failure`."""
        code = error.code()
        if code is grpc.StatusCode.UNAVAILABLE:
            return self._unreachable(
                f"the controller of cluster {self._cluster.name} does not answer at {self._site.place}"
            )
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return RpcFailed(
                refusal(error).status,
                f"the controller at {self._site.place} did not answer in time",
                again=code in WORTH_ANOTHER_STREAM,
            )
        return refusal(error)

    def _dial(self) -> None:
        connection = dial(self._site, self._cluster.paths.pki_dir)
        self._stack.callback(connection.close)
        self._address = self._stack.enter_context(connection.forward_local(LOOPBACK, self._site.port))
        self._connection = connection

    def _is_due(self, ring: Keyring) -> bool:
        """Whether our certificate is to be renewed.

        Raises:
            RpcFailed: there is none, or it is over; or no start ever made one.
        """
        try:
            facts = ring.facts()
        except CredentialsError as error:
            raise self._log_in(str(error)) from error
        if facts is None and not self._site.cluster_id:
            # A start was begun, and ended before there were any keys.
            raise self._not_started()
        if facts is None:
            raise self._log_in("there is no operator's certificate here")
        if facts.not_after_s < time.time():
            raise self._log_in("the operator's certificate is over: they live a week, and renew when used")
        return facts.is_due(time.time())

    def _renew(self, ring: Keyring, channel: grpc.Channel) -> None:
        """Ask for another certificate, for the commands after this one; in time, so that a failure costs nothing."""
        try:
            request = IssueCertificateRequest(csr=ring.make_csr())
            answer = ControllerServiceStub(channel).IssueCertificate(request, timeout=RENEW_S)
            ring.store(answer.certificate_chain, time.time())
        except (grpc.RpcError, CredentialsError, OSError):
            return

    def _log_in(self, why: str) -> RpcFailed:
        return RpcFailed(
            NOT_ALLOWED,
            f"cluster {self._cluster.name}: {why}",
            hint=f"get one: {self._cluster.command('cluster login')}",
        )

    def _not_started(self) -> RpcFailed:
        command = self._cluster.command("cluster start")
        words = f"cluster {self._cluster.name} is not started yet: no start from here came to its end"
        return RpcFailed(UNREACHABLE, words, hint=f"start it: {command}")

    def _unreachable(self, why: str) -> RpcFailed:
        command = self._cluster.command("cluster start")
        return RpcFailed(UNREACHABLE, why, hint=f"if it does not run, start it: {command}", again=True)
