"""The controller's end in a stop: on this machine, or on another one over SSH."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from iris_cli.health import is_serving
from iris_cli.locate import Cluster
from iris_cli.operator import this_operator
from iris_cli.output import Output
from iris_cli.steps import Steps
from iris_config import IrisConfig
from iris_platform.base import Unreachable
from iris_platform.controller_vm import (
    STOP_S,
    ControllerState,
    LocalController,
    Site,
    controller_at,
    find_controllers,
    pools_of,
    stop_controller,
)

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Running:
    """A controller that runs: its process, and the same in words."""

    pid: int
    words: str


class Ending(Protocol):
    """What a stop does to the controller itself. Errors are `PlatformError`s."""

    @property
    def silent(self) -> str:
        """Why it is not known whether one runs, once that was asked; empty where it is known."""
        ...

    def running(self) -> list[Running]:
        """The controllers that run now."""
        ...

    def stop(self) -> bool:
        """Stop it for good; returns whether there was one."""
        ...

    def shut_out(self, config: IrisConfig | None) -> list[str]:
        """Keep it out of the hosts, should it come back; returns where that is not known to be so."""
        ...

    def kept(self) -> dict[str, str]:
        """The places that outlive the cluster, by what is in them; empty where there is none any more."""
        ...

    def forget(self) -> None:
        """Remove those places."""
        ...


class LocalEnding:
    """A controller on this machine."""

    def __init__(self, cluster: Cluster) -> None:
        self._paths = cluster.paths

    @property
    def silent(self) -> str:
        """See `Ending.silent`: processes of this machine are there, or not."""
        return ""

    def running(self) -> list[Running]:
        """See `Ending.running`."""
        return [Running(found.pid, f"process {found.pid}") for found in find_controllers(self._paths)]

    def stop(self) -> bool:
        """See `Ending.stop`."""
        return stop_controller(self._paths, STOP_S)

    def shut_out(self, config: IrisConfig | None) -> list[str]:
        """See `Ending.shut_out`: it uses its operator's own keys."""
        return []

    def kept(self) -> dict[str, str]:
        """See `Ending.kept`."""
        return LocalController(self._paths, is_serving).kept()

    def forget(self) -> None:
        """See `Ending.forget`."""
        LocalController(self._paths, is_serving).forget()


class RemoteEnding:
    """A controller on another machine."""

    def __init__(self, cluster: Cluster, site: Site, output: Output) -> None:
        self._cluster = cluster
        self._site = site
        operator = this_operator(Steps(output).step, output.note)
        self._vm = controller_at(cluster.name, site, cluster.paths, operator)
        # Who does not answer is not asked again: each time takes as long.
        self._silence: Unreachable | None = None

    @property
    def silent(self) -> str:
        """See `Ending.silent`."""
        return str(self._silence or "")

    def running(self) -> list[Running]:
        """See `Ending.running`."""
        status = self._ask(self._vm.status)
        if status.state is ControllerState.ABSENT:
            return []
        what = f"process {status.pid}" if status.pid else status.detail or "machine"
        return [Running(status.pid, f"{what} on {self._site.seat}")]

    def stop(self) -> bool:
        """See `Ending.stop`."""
        return self._ask(self._vm.stop)

    def shut_out(self, config: IrisConfig | None) -> list[str]:
        """See `Ending.shut_out`."""
        if config is None or not self._site.cluster_id:
            return []
        return pools_of(config.proto, self._cluster.paths).uninvite(self._site.cluster_id)

    def kept(self) -> dict[str, str]:
        """See `Ending.kept`."""
        return self._ask(self._vm.kept)

    def forget(self) -> None:
        """See `Ending.forget`."""
        self._ask(self._vm.forget)

    def _ask(self, call: Callable[[], Answer]) -> Answer:
        if self._silence is not None:
            raise self._silence
        try:
            return call()
        except Unreachable as error:
            self._silence = error
            raise
