"""Checks of one host over SSH. Everything that is put there for it is taken away again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from iris_cli.doctor.checks import Check, Report, Result
from iris_cli.doctor.local import disk_check
from iris_cli.doctor.ports import Endpoint
from iris_platform.base import PlatformError, VmBootstrapSpec
from iris_platform.bootstrap import NO_CONTAINER, Outcome, Startup
from iris_platform.manual.script import CannotUpload, run_script
from iris_platform.manual.ssh_hosts import NO_BUNDLE
from iris_platform.names import LABEL_CLUSTER, LABEL_CLUSTER_ID, LABEL_SLICE
from iris_platform.ssh import Connect, HostKeyChanged, SshConnection, SshTarget

PROBE_S = 30.0
REACH_S = 30.0
# Of one connection that a host tries; there are two.
DIAL_S = 5
# Certificates are no older than that when they are first looked at.
MOST_CLOCK_MS = 60_000
# As `iris_platform.bundle.PYTHONS`, whose import would need what makes bundles.
NEWEST_PYTHON = (3, 13)
_BY_HAND = "log in there by hand and look"

# Constant text: what varies is an argument. Prints one JSON object: port -> what came of it.
_DIAL = """\
import json, socket, sys
host, wait, speaks, *ports = sys.argv[1:]
found = {}
for port in ports:
    try:
        with socket.create_connection((host, int(port)), float(wait)) as peer:
            found[port] = "connected"
            peer.settimeout(float(wait))
            if speaks == "yes":
                found[port] = "connected " + peer.recv(64).decode("ascii", "replace")
    except ConnectionRefusedError:
        found[port] = "refused"
    except OSError as error:
        if port not in found:
            found[port] = "failed " + (error.strerror or str(error) or "no answer")
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Listening:
    """Who listens at the address that hosts are to dial, while they try.

    With `word` it is our own stand-in, which says it; else `is_ours` tells the
    cluster's controller from somebody else, or nobody.
    """

    endpoint: Endpoint
    word: str = ""
    is_ours: bool = False


@dataclass(frozen=True)
class Wanted:
    """What a host is compared with; `cluster_id` is empty before the cluster's first start."""

    cluster: str
    cluster_id: str
    listening: Listening | None


class HostDoctor:
    """Looks at hosts, each in a call of its own; calls may run side by side."""

    def __init__(
        self,
        connect: Connect,
        wanted: Wanted,
        report: Report,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._connect = connect
        self._wanted = wanted
        self._report = report
        self._now_ms = now_ms

    def examine(self, host: str, target: SshTarget) -> list[Check]:
        """Every check of a host; what cannot be looked at because of an earlier failure is left out."""
        checks: list[Check] = []

        def note(check: Check) -> None:
            checks.append(check)
            self._report(check)

        try:
            connection = self._connect(target)
        except PlatformError as error:
            note(_trouble(host, "ssh", error))
            return checks
        try:
            note(Check(host, "ssh", Result.OK, connection.address))
            self._look(host, connection, note)
        except CannotUpload as error:
            fix = "free some space in its temporary directory, or let this user write there"
            note(Check(host, "disk", Result.FAILED, str(error), fix))
        except PlatformError as error:
            note(_trouble(host, "commands", error))
        finally:
            connection.close()
        return checks

    def _look(self, host: str, connection: SshConnection, note: Report) -> None:
        startup = Startup(VmBootstrapSpec("worker", NO_CONTAINER, {}), bundle=NO_BUNDLE)
        before = self._now_ms()
        outcome = run_script(connection, startup, ["probe"], timeout_s=PROBE_S)
        after = self._now_ms()
        if outcome.status == "failed":
            note(_failed_probe(host, outcome))
            return
        facts = outcome.facts
        note(_python(host, facts))
        root = str(facts.get("root", ""))
        note(disk_check(host, int(facts.get("free_bytes", 0)), root))
        note(_clock(host, int(facts.get("wall_ms", 0)), before, after))
        note(_owner(host, facts, self._wanted))
        if self._wanted.listening is not None:
            note(_reach(host, connection, str(facts.get("executable", "python3")), self._wanted.listening))


def _trouble(host: str, check: str, error: PlatformError) -> Check:
    """An error of ours ends in what to do, behind its first semicolon."""
    text = str(error)
    if isinstance(error, HostKeyChanged):
        return Check(
            host, check, Result.FAILED, text, "find out why; only if it is all right, remove that line"
        )
    message, _, fix = text.partition("; ")
    by_hand = "check that it is up, its address and port, and firewalls" if check == "ssh" else _BY_HAND
    return Check(host, check, Result.FAILED, message, fix or by_hand)


def _failed_probe(host: str, outcome: Outcome) -> Check:
    if outcome.step == "python":
        return Check(host, "python", Result.FAILED, outcome.reason, "install Python 3.10 to 3.13 there")
    fix = "mend what it says, and run the doctor again"
    return Check(host, outcome.step or "probe", Result.FAILED, outcome.reason, fix)


def _python(host: str, facts: Mapping[str, Any]) -> Check:
    version, machine = str(facts.get("python", "")), str(facts.get("machine", ""))
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    message = f"{version} on {machine}"
    if numbers > NEWEST_PYTHON:
        return Check(host, "python", Result.FAILED, message, "install Python 3.10 to 3.13 there")
    return Check(host, "python", Result.OK, message)


def _clock(host: str, theirs: int, before: int, after: int) -> Check:
    """It was read somewhere between two moments of ours."""
    wrong = max(before - theirs, theirs - after, 0)
    if wrong <= MOST_CLOCK_MS:
        return Check(host, "clock", Result.OK, "within a minute of ours")
    way = "behind" if theirs < before else "ahead of"
    fix = "set the clock that is wrong (ntp); certificates are not valid there otherwise"
    return Check(host, "clock", Result.FAILED, f"{wrong // 1000} s {way} ours", fix)


def _owner(host: str, facts: Mapping[str, Any], wanted: Wanted) -> Check:
    roles = facts.get("labels")
    labels = roles.get("worker") if isinstance(roles, dict) else None
    labels = labels if isinstance(labels, dict) else {}
    cluster_id, cluster = str(labels.get(LABEL_CLUSTER_ID, "")), str(labels.get(LABEL_CLUSTER, "?"))
    if not cluster_id:
        return Check(host, "owner", Result.OK, "nobody's")
    if cluster_id == wanted.cluster_id:
        return Check(host, "owner", Result.OK, f"ours: slice {labels.get(LABEL_SLICE, '?')} is there")
    message = f"belongs to cluster {cluster} (id {cluster_id})"
    fix = f"stop that cluster, or take the host out of {wanted.cluster}"
    if cluster == wanted.cluster:
        message += ", which has our name and other keys"
        fix = "give back the keys that it was started with, or stop it from where they are"
    return Check(host, "owner", Result.FAILED, message, fix)


def _reach(host: str, connection: SshConnection, python: str, listening: Listening) -> Check:
    endpoint = listening.endpoint
    ports = [str(port) for port in endpoint.ports]
    speaks = "yes" if listening.word else "no"
    argv = [python, "-I", "-S", "-B", "-c", _DIAL, endpoint.host, str(DIAL_S), speaks, *ports]
    result = connection.run(argv, timeout_s=REACH_S)
    try:
        found = json.loads(result.out.decode("utf-8", "replace").splitlines()[-1])
        answers = {port: str(found[port]) for port in ports}
    except (ValueError, LookupError, TypeError):
        fix = "log in there by hand and look why python3 does not run"
        return Check(host, "reaches us", Result.FAILED, "the host did not say what it reaches", fix)
    return reach_check(host, answers, listening)


def reach_check(host: str, answers: Mapping[str, str], listening: Listening) -> Check:
    """What a host's tries mean; `answers` has what came of each port."""
    endpoint = listening.endpoint
    for port, answer in answers.items():
        what, _, words = answer.partition(" ")
        where = f"port {port} of {endpoint.host}"
        if what == "failed":
            fix = "open it in firewalls; controller.advertise_address is this machine as the hosts see it"
            return Check(host, "reaches us", Result.FAILED, f"{where}: {words}", fix)
        if what == "refused" and (listening.word or listening.is_ours):
            fix = "name this machine in controller.advertise_address, and let no firewall refuse it"
            return Check(host, "reaches us", Result.FAILED, f"{where}: nobody listens there", fix)
        if what == "connected" and listening.word and words != listening.word:
            fix = "name this machine in controller.advertise_address, as the hosts see it"
            return Check(host, "reaches us", Result.FAILED, f"{where}: another machine answers", fix)
    if listening.word or listening.is_ours:
        return Check(host, "reaches us", Result.OK, f"at {endpoint} and the next port")
    message = f"it reaches {endpoint.host}; who would answer there is not known"
    return Check(host, "reaches us", Result.WARNING, message, "free the ports, and run the doctor again")
