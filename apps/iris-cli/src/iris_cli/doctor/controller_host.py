"""Checks of the host that the controller is to run on, and from there. Leaves nothing on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from iris_cli.doctor.asking import ask, dial
from iris_cli.doctor.checks import Check, Report, Result
from iris_cli.doctor.directories import SETTINGS, directory_check, disk_check
from iris_cli.doctor.hosts import (
    Listening,
    Notes,
    NowMs,
    Wanted,
    connected,
    kind_in,
    labels_of,
    look,
    now_ms,
    owner_check,
    python_of,
    told,
)
from iris_cli.doctor.on_host import PortTaken
from iris_cli.doctor.ports import stand_in
from iris_cli.doctor.seat import Places, Seat
from iris_config.endpoint import Endpoint
from iris_platform.base import ContainerSpec, PlatformError, VmBootstrapSpec
from iris_platform.bootstrap import NO_CONTAINER
from iris_platform.controller_vm import Site
from iris_platform.controller_vm.host import ControllerHost, Seen
from iris_platform.names import LABEL_CLUSTER, LABEL_CLUSTER_ID
from iris_platform.ssh import SshConnection

BY_HAND = "log in there by hand and look why python3 does not run"


@dataclass(frozen=True)
class SiteDoctor:
    """Looks at the controller's host; `endpoint` is where hosts are to dial it, `most_s` for how long."""

    cluster: str
    site: Site
    endpoint: Endpoint
    connect: Callable[[], SshConnection]
    most_s: float
    report: Report
    now_ms: NowMs = now_ms
    container: ContainerSpec = NO_CONTAINER
    # What agents run in.
    hosts_container: ContainerSpec = NO_CONTAINER

    @contextmanager
    def seat(self) -> Iterator[Seat]:
        """All checks of the host; as long as this lasts, somebody listens there where that can be."""
        host, note = self.site.host, Notes(self.report)
        seat = Seat(self._wanted(), note.checks)
        with ExitStack() as stack:
            connection = stack.enter_context(connected(host, self.connect, note))
            if connection is not None:
                with told(host, note):
                    seat = self._look(connection, note, stack)
            yield seat

    def _wanted(self) -> Wanted:
        return Wanted(self.cluster, self.site.cluster_id, container=self.hosts_container)

    def _look(self, connection: SshConnection, note: Notes, stack: ExitStack) -> Seat:
        host = self.site.host
        facts = look(host, connection, VmBootstrapSpec("controller", self.container, {}), note, self.now_ms)
        wanted = self._wanted()
        if facts is None:
            return Seat(wanted, note.checks)
        labels, python = labels_of(facts, "controller"), python_of(facts)
        if not wanted.cluster_id and labels.get(LABEL_CLUSTER) == self.cluster:
            # Somebody else has started it; by its name it is ours.
            wanted = replace(wanted, cluster_id=labels.get(LABEL_CLUSTER_ID, ""))
        otherwise = "name another host in controller.manual.host"
        owner = owner_check(host, labels, wanted, "its controller", otherwise)
        note(owner)
        self._directories(connection, facts, note)
        is_ours = bool(labels) and owner.result is Result.OK
        seen = ControllerHost(connection, self.cluster, self.site).look() if is_ours else None
        listening = self._listening(connection, python, seen, note, stack)
        # One that was stopped was shut out as well.
        wanted = replace(wanted, lets_in=seen is not None and seen.is_up)
        reached = partial(self._reached, connection, python)
        return Seat(wanted.with_listening(listening), note.checks, reached, kind_in(facts))

    def _directories(self, connection: SshConnection, facts: Mapping[str, Any], note: Report) -> None:
        """Whether state and keys can be where they are to be."""
        host, paths = self.site.host, list(self.site.directories(str(facts.get("root", ""))).values())
        found = ask(connection, python_of(facts), "room", *paths)
        if found is None:
            words = "the host did not say what it has room for"
            note(Check(host, "state directory", Result.FAILED, words, BY_HAND))
            return
        for name, path in zip(SETTINGS, paths, strict=True):
            note(directory_check(host, name, path, found["rooms"][path], str(found["mounts"])))
        if self.site.state_dir:
            # Perhaps another disk than that of the programs.
            there = found["rooms"][paths[0]]
            note(disk_check(host, int(there["free_bytes"]), str(there["there"])))

    def _listening(
        self, connection: SshConnection, python: str, seen: Seen | None, note: Report, stack: ExitStack
    ) -> Listening:
        """Who listens there: the controller, or our stand-in until `stack` ends, or somebody else."""
        host, port = self.site.host, self.site.port
        listening = Listening(self.endpoint, f"the controller's host {host}")
        if seen is not None and seen.is_up:
            note(Check(host, "ports", Result.OK, f"the cluster's controller runs (process {seen.pid})"))
            return replace(listening, is_ours=True)
        if seen is not None and seen.phase == "backing_off":
            # In a moment it takes them again; it must not find us there.
            message = f"the cluster's controller does not stay up: {seen.detail or 'it is started again'}"
            fix = "`iris cluster restart` starts it anew and says why it ends"
            note(Check(host, "ports", Result.FAILED, message, fix))
            return listening
        try:
            word = stack.enter_context(stand_in(connection, python, (port, port + 1), self.most_s))
        except PortTaken as error:
            fix = "stop what has it there, or name another port in controller.manual.port"
            note(Check(host, "ports", Result.FAILED, str(error), fix))
            return listening
        note(Check(host, "ports", Result.OK, f"{port} and {port + 1} are free"))
        return replace(listening, word=word)

    def _reached(self, connection: SshConnection, python: str, places: Places) -> dict[str, list[Check]]:
        """Whether the controller's host reaches the SSH server of each host."""
        try:
            answers = dial(connection, python, places, hears=True) or {}
        except PlatformError:
            # As good as no answer; what it is about comes with every check.
            answers = {}
        found: dict[str, list[Check]] = {}
        for host, place in places.items():
            check = reached_check(host, place, answers.get(host, ""), self.site.host)
            self.report(check)
            found[host] = [check]
        return found


def reached_check(host: str, place: tuple[str, int], answer: str, controllers_host: str) -> Check:
    """What came of dialling a host's SSH server at `place` from the controller's host; empty: not known."""
    what, _, words = answer.partition(" ")
    by, where = f"the controller's host {controllers_host}", f"port {place[1]} of {place[0]}"
    let = f"let firewalls pass TCP from {by} to {where}"
    if what == "connected" and words.startswith("SSH-"):
        return Check(host, "reached", Result.OK, f"{by} reaches {where}")
    if what == "connected":
        message = f"{where}: no SSH server speaks to {by}"
        fix = f"look at its sshd (MaxStartups, ListenAddress) and at what else may answer there; {let}"
        return Check(host, "reached", Result.FAILED, message, fix)
    if what == "refused":
        fix = f"have its sshd listen at that address, which {by} dials without jump hosts; {let}"
        return Check(host, "reached", Result.FAILED, f"{where}: nobody listens there for {by}", fix)
    if what == "failed":
        fix = f"{let}; it dials that address itself, without jump hosts"
        return Check(host, "reached", Result.FAILED, f"{where}: {words}, from {by}", fix)
    return Check(host, "reached", Result.FAILED, f"{by} did not say whether it reaches it", BY_HAND)
