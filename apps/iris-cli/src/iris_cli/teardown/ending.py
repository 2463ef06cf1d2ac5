"""The controller's end in a stop: on this machine, or on another one over SSH."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from iris_cli.exits import LEFT_OVER, CliError
from iris_cli.health import is_serving
from iris_cli.locate import Cluster
from iris_cli.operator import this_operator
from iris_cli.output import Output
from iris_cli.steps import Steps
from iris_config import IrisConfig
from iris_platform.base import PlatformError
from iris_platform.controller_vm import (
    STOP_S,
    ControllerState,
    LocalController,
    Site,
    find_controllers,
    pools_of,
    stop_controller,
)


@dataclass(frozen=True)
class Running:
    """A controller that runs: its process, and the same in words."""

    pid: int
    words: str


class Ending(Protocol):
    """What a stop does to the controller itself. Errors are `PlatformError`s."""

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

    def may_have_jobs(self) -> bool:
        """Whether there may be jobs that wait for the next start."""
        ...

    def forget(self) -> None:
        """Remove those places."""
        ...


class LocalEnding:
    """A controller on this machine."""

    def __init__(self, cluster: Cluster) -> None:
        self._paths = cluster.paths

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
        places = {"state_dir": self._paths.state_dir, "pki_dir": self._paths.pki_dir}
        return {name: str(path) if path.exists() else "" for name, path in places.items()}

    def may_have_jobs(self) -> bool:
        """See `Ending.may_have_jobs`."""
        return self._paths.store_file.exists()

    def forget(self) -> None:
        """See `Ending.forget`."""
        LocalController(self._paths, is_serving).forget()


class RemoteEnding:
    """A controller on another machine."""

    def __init__(self, cluster: Cluster, site: Site, output: Output) -> None:
        # Here, since it takes cryptography along.
        from iris_platform.controller_vm.remote import RemoteController

        self._cluster = cluster
        self._site = site
        operator = this_operator(Steps(output).step, output.note)
        self._vm = RemoteController(cluster.name, site, cluster.paths, operator)

    def running(self) -> list[Running]:
        """See `Ending.running`."""
        status = self._vm.status()
        if status.state is ControllerState.ABSENT:
            return []
        return [Running(status.pid, f"process {status.pid} on {self._site.host}")]

    def stop(self) -> bool:
        """See `Ending.stop`."""
        return self._vm.stop()

    def shut_out(self, config: IrisConfig | None) -> list[str]:
        """See `Ending.shut_out`."""
        if config is None or not self._site.cluster_id:
            return []
        return pools_of(config.proto, self._cluster.paths).uninvite(self._site.cluster_id)

    def kept(self) -> dict[str, str]:
        """See `Ending.kept`."""
        try:
            found = self._vm.kept()
        except PlatformError as error:
            raise CliError(LEFT_OVER, str(error)) from error
        return {name: f"{self._site.host}:{path}" if path else "" for name, path in found.items()}

    def may_have_jobs(self) -> bool:
        """See `Ending.may_have_jobs`."""
        return bool(self.kept()["state_dir"])

    def forget(self) -> None:
        """See `Ending.forget`."""
        self._vm.forget()
