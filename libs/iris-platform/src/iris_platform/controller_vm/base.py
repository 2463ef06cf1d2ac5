"""What is the same for every controller, whatever it runs on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from iris_platform.base import StartFailed
from iris_platform.controller_file import ControllerRecord

# Says whether the controller's standard health service answers SERVING. Must
# have a deadline of its own, about a second, and raise nothing.
Probe = Callable[[ControllerRecord], bool]


class ControllerState(str, Enum):
    """What can be seen of a controller from outside."""

    ABSENT = "absent"
    UNRESPONSIVE = "unresponsive"
    SERVING = "serving"


@dataclass(frozen=True)
class ControllerStatus:
    """`pid` and `address` are 0 and empty where they are not known; `detail` is for people."""

    state: ControllerState
    pid: int = 0
    address: str = ""
    detail: str = ""


Step = Callable[[str], AbstractContextManager[None]]


@dataclass(frozen=True)
class Operator:
    """Who starts it.

    `name` stands in the certificate that he gets. He is told of each `step`,
    which is left when it is done, and has to `note` what else is to be said.
    """

    name: str
    step: Step = lambda words: nullcontext()
    note: Callable[[str], None] = lambda words: None


class StateTaken(StartFailed):
    """Somebody who is no controller has the state directory: a `cluster stop`, and not for long."""


def nothing() -> None:
    """Where nobody wants to be told."""


class ControllerVm(Protocol):
    """The life of a cluster's controller, whatever it runs on."""

    def known_by(self) -> str:
        """The host name by which its fleet knows its machine, where nothing else says one; else empty.

        Raises:
            PlatformError: that cannot be told.
        """
        ...

    def start(self, config: str, before: Callable[[], None] = nothing) -> ControllerStatus:
        """Start it with a resolved configuration (`IrisConfig.to_json`).

        Returns when it serves. One that serves already is left as it is; else
        `before` is called at the point from which on it is us who start it.
        One whose start is interrupted serves already, or is ended.

        Raises:
            StartFailed: it did not come up; carries the end of its log, and
                nothing of it is left running.
            StateTaken: it cannot come up while the cluster is being stopped.
            StateDirError: the state directory is on a network file system.
            PlatformError: its machine cannot be reached, or does not allow it.
        """
        ...

    def discover(self) -> ControllerStatus | None:
        """The controller that is there; None when there is none.

        Raises:
            Unreachable: that cannot be told.
        """
        ...

    def status(self) -> ControllerStatus:
        """What can be seen of it now.

        Raises:
            Unreachable: nothing can be seen.
        """
        ...

    def restart(self, config: str) -> ControllerStatus:
        """Stop it and start it again, with this configuration; the fleet stays.

        Raises: as `start` and `stop`.
        """
        ...

    def stop(self) -> bool:
        """Stop it, and it alone: the fleet stays. Returns whether it was there.

        Raises:
            Unreachable: it is not known to be gone.
        """
        ...

    def kept(self) -> dict[str, str]:
        """Where its `state_dir` and `pki_dir` are, for people; empty where there is none."""
        ...

    def forget(self) -> None:
        """Remove its state and its keys, here and on its machine; it is stopped already.

        Raises:
            PlatformError: something is left.
        """
        ...


class ElsewhereVm(ControllerVm, Protocol):
    """A controller on another machine."""

    def log_in(self) -> None:
        """Get a certificate for this operator of a controller that others started.

        Raises:
            PlatformError: there is none, or its machine does not let us.
        """
        ...
