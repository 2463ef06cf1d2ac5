"""What a test says to a cloud, in this process or another one."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from tests.harness.cloud.journal import Call

CALL_S = 30.0
WAIT_S = 20.0


@dataclass(frozen=True)
class VmFacts:
    """A VM that the cloud has, with power or without. `owner` is the full name of its node or instance."""

    key: str
    id: int
    name: str
    zone: str
    owner: str
    index: int
    address: str
    on: bool
    preempted: bool


class CloudClient:
    """The controls of a cloud at `url`. An empty `project` is the cloud's first one.

    Methods raise AssertionError with the cloud's words where it refuses.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def _say(self, control: str, /, timeout_s: float = CALL_S, **arguments: Any) -> Any:
        body = json.dumps(arguments).encode()
        request = urllib.request.Request(f"{self.url}/test/{control}", body, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as reply:
                return json.load(reply)["result"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{control}: {error.read().decode(errors='replace')}") from error

    # Faults

    def fault(self, do: str, method: str = "*", **how: Any) -> int:
        """Makes the next calls like this go wrong; see `faults.Fault`. The number to take it away by."""
        return int(self._say("add_fault", do=do, method=method, **how))

    def remove_fault(self, number: int) -> None:
        """Nothing if it is used up."""
        self._say("remove_fault", number=number)

    def clear_faults(self) -> None:
        """From now on all goes well."""
        self._say("clear_faults")

    def faults(self) -> Mapping[str, Any]:
        """Those that are not used up, by number."""
        return dict(self._say("faults"))

    # Limits

    def set_quota(
        self, zone: str, generation: str, chips: int | None, *, spot: bool = False, project: str = ""
    ) -> None:
        """How many chips of a generation ("v5e") a project may have; None: any number."""
        self._say("set_quota", zone=zone, generation=generation, spot=spot, chips=chips, project=project)

    def set_capacity(self, zone: str, accelerator_type: str, slices: int | None) -> None:
        """How many slices of a type a zone has; None: any number."""
        self._say("set_capacity", zone=zone, accelerator_type=accelerator_type, slices=slices)

    def set_rate(self, method: str, calls: int | None) -> None:
        """How many calls of a method a project may make in any minute; None: any number."""
        self._say("set_rate", method=method, calls=calls)

    def configure(self, **fields: Any) -> None:
        """Changes fields of `Settings`, such as list_lag or delete_while_creating."""
        self._say("configure", **fields)

    def set_timings(self, boot_of: Mapping[int, int] | None = None, **fields: int) -> None:
        """Changes fields of `Timings`, in milliseconds."""
        self._say("set_timings", boot_of=boot_of, **fields)

    # What happens

    def preempt(self, zone: str, *names: str, notice_ms: int | None = None, project: str = "") -> None:
        """Takes nodes away, all together; None is the usual notice, 0 is none."""
        self._say("preempt", zone=zone, names=names, notice_ms=notice_ms, project=project)

    def maintain(self, zone: str, name: str, event: str, *, project: str = "") -> None:
        """Makes the metadata of a node's hosts say this: TERMINATE_ON_HOST_MAINTENANCE, NONE."""
        self._say("maintain", zone=zone, name=name, event=event, project=project)

    def set_node(
        self,
        zone: str,
        name: str,
        state: str = "",
        *,
        health: str = "",
        description: str = "",
        project: str = "",
    ) -> None:
        """Makes a node show another state, whatever is true of its hosts."""
        self._say(
            "set_node",
            zone=zone,
            name=name,
            state=state,
            health=health,
            description=description,
            project=project,
        )

    def cut_vm(self, key: str) -> None:
        """Takes the power of one host; the node says nothing of it."""
        self._say("cut_vm", key=key)

    def leave(self, key: str, path: str, text: str) -> None:
        """As if a host had written a guest attribute, `NAMESPACE/KEY`."""
        self._say("leave", key=key, path=path, text=text)

    def set_attribute(self, key: str, name: str, value: str | None) -> None:
        """Makes the metadata of one host say this below `attributes/`; None: nothing of that name."""
        self._say("set_attribute", key=key, name=name, value=value)

    def boot_vm(self, key: str) -> None:
        """Gives it back."""
        self._say("boot_vm", key=key)

    def advance(self, ms: int) -> int:
        """Puts the cloud's clock forward, and lets happen what is due; the time it is."""
        return int(self._say("advance", ms=ms))

    def now(self) -> int:
        """The cloud's time, in ms since 1970."""
        return int(self._say("now"))

    # What there is

    def nodes(self) -> dict[str, str]:
        """Full name -> state, of every node in every project."""
        return dict(self._say("nodes"))

    def queued(self) -> dict[str, str]:
        """The same of queued resources."""
        return dict(self._say("queued"))

    def instances(self) -> dict[str, str]:
        """The same of Compute Engine's instances; names are `projects/P/zones/Z/instances/I`."""
        return dict(self._say("instances"))

    def disks(self) -> dict[str, str]:
        """The same of disks that outlive machines."""
        return dict(self._say("disks"))

    def everything(self) -> dict[str, str]:
        """All that costs somebody something, by full name; empty where nothing was left behind."""
        return {**self.nodes(), **self.queued(), **self.instances(), **self.disks()}

    def vms(self, owner: str = "") -> list[VmFacts]:
        """All, or those whose node or instance has this short name; the oldest first."""
        found = [VmFacts(**facts) for facts in self._say("vms")]
        return [vm for vm in found if not owner or vm.owner.rpartition("/")[2] == owner]

    def wait_node(
        self, zone: str, name: str, state: str, timeout_s: float = WAIT_S, *, project: str = ""
    ) -> None:
        """Waits until a node is in a state, or is gone where the state is empty."""
        asked = {"zone": zone, "name": name, "state": state, "timeout_s": timeout_s, "project": project}
        met = self._say_and_wait("wait_node", timeout_s, asked)
        assert met, f"{name} is not {state or 'gone'} within {timeout_s:g} s: {self.nodes()}"

    def wait_queued(
        self, zone: str, name: str, state: str, timeout_s: float = WAIT_S, *, project: str = ""
    ) -> None:
        """The same of a queued resource."""
        asked = {"zone": zone, "name": name, "state": state, "timeout_s": timeout_s, "project": project}
        met = self._say_and_wait("wait_queued", timeout_s, asked)
        assert met, f"{name} is not {state or 'gone'} within {timeout_s:g} s: {self.queued()}"

    def _say_and_wait(self, control: str, wait_s: float, asked: dict[str, Any]) -> bool:
        body = json.dumps(asked).encode()
        request = urllib.request.Request(f"{self.url}/test/{control}", body, method="POST")
        with urllib.request.urlopen(request, timeout=wait_s + CALL_S) as reply:
            return bool(json.load(reply)["result"])

    # What was called

    def calls(self, method: str = "", name: str = "") -> list[Call]:
        """Every call, or those of a method and about a resource, the oldest first."""
        known = {field.name for field in fields(Call)}
        found = [
            Call(**{**{key: facts[key] for key in known}, "faults": tuple(facts["faults"])})
            for facts in self._say("calls")
        ]
        return [call for call in found if method in ("", call.method) and name in ("", call.name)]

    def counts(self, name: str = "") -> dict[str, int]:
        """Method -> calls; of one resource by its short name, or of all."""
        return dict(self._say("counts", name=name))

    def clear_calls(self) -> None:
        """Forgets them, to count anew."""
        self._say("clear_calls")
