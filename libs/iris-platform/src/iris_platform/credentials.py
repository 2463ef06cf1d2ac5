"""A TLS channel to a controller, out of a directory with `ca.pem`, `cert.pem` and `key.pem`.

Both sides prove who they are. The controller's name is
`controller.<cluster id>.iris` whatever address is dialled, so that tunnels do
not matter. Imports no cryptography; gRPC is imported when a channel is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

# Not to hide a cycle: gRPC takes longer to import than all the rest together.
if TYPE_CHECKING:
    import grpc
    import grpc.aio

CA_FILE = "ca.pem"
CERTIFICATE_FILE = "cert.pem"
KEY_FILE = "key.pem"

_MAX_MESSAGE_BYTES = 64 * 1024 * 1024
Options = Sequence[tuple[str, int]]
# For every channel to a controller, also for those without TLS.
CHANNEL_OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
    # Otherwise a new channel inherits the back-off of the one before it, and its certificate.
    ("grpc.use_local_subchannel_pool", 1),
    # A proxy of the environment is not for controllers.
    ("grpc.enable_http_proxy", 0),
)


class CredentialsError(ValueError):
    """The files cannot be used; the message names the file and what to do."""


@dataclass(frozen=True)
class Credentials:
    """What a caller shows, and whom it believes; all in PEM."""

    ca: bytes
    certificate: bytes
    key: bytes = field(repr=False)


def load_credentials(directory: Path) -> Credentials:
    """Read the files again at every connect: renewals replace them.

    Raises:
        CredentialsError: one is missing, cannot be read, or the key is open to others.
    """
    found = {}
    for name in (CA_FILE, CERTIFICATE_FILE, KEY_FILE):
        path = directory / name
        try:
            mode = path.stat().st_mode
            found[name] = path.read_bytes()
        except OSError as error:
            raise CredentialsError(f"{path}: cannot read: {error.strerror}") from error
        if name == KEY_FILE and mode & 0o077:
            raise CredentialsError(f"{path}: open to others (mode {mode & 0o777:04o}); chmod 600 it")
    return Credentials(found[CA_FILE], found[CERTIFICATE_FILE], found[KEY_FILE])


def open_channel(
    credentials: Credentials, address: str, server_name: str, options: Options = ()
) -> grpc.Channel:
    """A channel to `HOST:PORT`; connects when it is first used. `server_name` as in `pki.names`."""
    import grpc

    return grpc.secure_channel(address, _channel_credentials(credentials), _named(server_name, options))


def open_aio_channel(
    credentials: Credentials, address: str, server_name: str, options: Options = ()
) -> grpc.aio.Channel:
    """Likewise, for asyncio."""
    import grpc.aio

    return grpc.aio.secure_channel(address, _channel_credentials(credentials), _named(server_name, options))


def _channel_credentials(credentials: Credentials) -> grpc.ChannelCredentials:
    import grpc

    return grpc.ssl_channel_credentials(credentials.ca, credentials.key, credentials.certificate)


def _named(server_name: str, options: Options) -> list[tuple[str, int | str]]:
    name = ("grpc.ssl_target_name_override", server_name)
    authority = ("grpc.default_authority", server_name)
    return [*CHANNEL_OPTIONS, name, authority, *options]
