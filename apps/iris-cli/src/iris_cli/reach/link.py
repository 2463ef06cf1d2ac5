"""What every way to a controller has in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import grpc

from iris_cli.exits import NOT_ALLOWED, CliError
from iris_cli.statuses import EXIT_STATUS, WORTH_ANOTHER_STREAM

CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", 64 << 20),
    # A proxy of the environment is not for controllers.
    ("grpc.enable_http_proxy", 0),
    # Channels to one address otherwise share its back-off, up to two minutes.
    ("grpc.use_local_subchannel_pool", 1),
)


class RpcFailed(CliError):
    """A call that failed; `again` says whether opening a stream again may help."""

    def __init__(self, status: int, message: str, *, hint: str = "", again: bool = False) -> None:
        super().__init__(status, message, hint=hint)
        self.again = again


@dataclass(frozen=True)
class Link:
    """A channel to one controller, what every call on it carries, and where that is, for people.

    `facts` are the reach's own.
    """

    channel: grpc.Channel
    metadata: tuple[tuple[str, str], ...]
    where: str
    facts: Any = None


class Reach(Protocol):
    """A way to a controller; safe to use from any thread."""

    def open(self) -> Link:
        """A channel to the controller that lives now.

        Raises:
            RpcFailed: none lives or can be reached; `again` where it may soon.
        """
        ...

    def failure(self, error: grpc.RpcError, link: Link) -> RpcFailed:
        """A failed call as an error for people."""
        ...

    def close(self) -> None:
        """Give up what is held between calls."""
        ...


def refusal(error: grpc.RpcError) -> RpcFailed:
    """A failure that does not depend on the way."""
    code = error.code()
    status = EXIT_STATUS[code]
    hint = "is this cluster yours?" if status == NOT_ALLOWED else ""
    return RpcFailed(status, error.details() or code.name, hint=hint, again=code in WORTH_ANOTHER_STREAM)
