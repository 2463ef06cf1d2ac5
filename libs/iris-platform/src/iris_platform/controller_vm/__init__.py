"""The controller's own machine, from the outside: start, find, restart, stop.

`LocalController` drives a process on this machine, `RemoteController` a service
on a host that is reached over SSH, `GceController` a machine that it makes and then
does the same with. They know no gRPC: whether a local controller
answers is the caller's probe to say. Importing this imports neither paramiko nor
cryptography.
"""

from __future__ import annotations

from iris_platform.controller_vm.base import (
    ControllerState,
    ControllerStatus,
    ControllerVm,
    ElsewhereVm,
    Operator,
    Probe,
    StateTaken,
)
from iris_platform.controller_vm.create import (
    CONTROLLERS,
    Recipe,
    controller_at,
    create_controller_vm,
    kinds_of,
    namesakes_at,
    pools_of,
)
from iris_platform.controller_vm.local import (
    STOP_S,
    LocalController,
    find_controller,
    find_controllers,
    stop_controller,
)
from iris_platform.controller_vm.site import Site, dial, has_keys, known_site, read_site, site_of_id

__all__ = [
    "CONTROLLERS",
    "STOP_S",
    "ControllerState",
    "ControllerStatus",
    "ControllerVm",
    "ElsewhereVm",
    "LocalController",
    "Operator",
    "Probe",
    "Recipe",
    "Site",
    "StateTaken",
    "controller_at",
    "create_controller_vm",
    "dial",
    "find_controller",
    "find_controllers",
    "has_keys",
    "kinds_of",
    "known_site",
    "namesakes_at",
    "pools_of",
    "read_site",
    "site_of_id",
    "stop_controller",
]
