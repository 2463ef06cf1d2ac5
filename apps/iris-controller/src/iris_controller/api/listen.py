"""What listens: every service behind one interceptor, on loopback or over TLS."""

from __future__ import annotations

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection

from iris_controller.api.auth import RoleInterceptor, TokenInterceptor
from iris_controller.api.service import ControllerService
from iris_controller.shell.join import PortTaken
from iris_controller.shell.sessions import Sessions
from iris_proto.v1 import controller_pb2, controller_pb2_grpc, worker_pb2, worker_pb2_grpc

LOOPBACK = "127.0.0.1"
MAX_MESSAGE_BYTES = 64 * 1024 * 1024


def build_server(
    service: ControllerService, sessions: Sessions, health: health_aio.HealthServicer, token: str
) -> grpc.aio.Server:
    """What listens on loopback, behind the token; not bound yet."""
    return _build(service, sessions, health, TokenInterceptor(token))


def build_tls_server(
    service: ControllerService, sessions: Sessions, health: health_aio.HealthServicer, cluster_id: str
) -> grpc.aio.Server:
    """The same for other machines, behind the roles of certificates; not bound yet."""
    return _build(service, sessions, health, RoleInterceptor(cluster_id))


def _build(
    service: ControllerService,
    sessions: Sessions,
    health: health_aio.HealthServicer,
    interceptor: grpc.aio.ServerInterceptor,
) -> grpc.aio.Server:
    server = grpc.aio.server(
        interceptors=[interceptor],
        options=[
            # Without this a second server binds the same port silently.
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            # Agents and followers ping on idle connections; do not hang up on them.
            ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
            ("grpc.keepalive_permit_without_calls", 1),
            # Two minutes by default, for whoever connects and says nothing.
            ("grpc.server_handshake_timeout_ms", 10_000),
        ],
    )
    controller_pb2_grpc.add_ControllerServiceServicer_to_server(service, server)
    worker_pb2_grpc.add_WorkerServiceServicer_to_server(sessions, server)
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    services = [
        controller_pb2.DESCRIPTOR.services_by_name["ControllerService"].full_name,
        worker_pb2.DESCRIPTOR.services_by_name["WorkerService"].full_name,
        health_pb2.DESCRIPTOR.services_by_name["Health"].full_name,
        reflection.SERVICE_NAME,
    ]
    reflection.enable_server_reflection(services, server)
    return server


def bind(server: grpc.aio.Server, port: int) -> str:
    """Takes a port on loopback, any free one for 0; returns the address.

    Raises:
        PortTaken: the port cannot be had.
    """
    try:
        bound = server.add_insecure_port(f"{LOOPBACK}:{port}")
    except RuntimeError as error:
        words = f"controller.local.port: cannot listen on {LOOPBACK}:{port}: in use?"
        raise PortTaken(words) from error
    return f"{LOOPBACK}:{bound}"
