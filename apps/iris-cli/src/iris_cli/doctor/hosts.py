"""Checks of one host over SSH. Everything that is put there for it is taken away again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from iris_cli.doctor.asking import ASK_S, DIAL_S, dial
from iris_cli.doctor.checks import THIS_MACHINE, Check, Report, Result
from iris_cli.doctor.directories import disk_check
from iris_config.endpoint import Endpoint
from iris_platform.base import ContainerSpec, PlatformError, VmBootstrapSpec
from iris_platform.bootstrap import NO_BUNDLE, NO_CONTAINER, Outcome, Startup
from iris_platform.bootstrap.document import OLDEST_MINOR
from iris_platform.bootstrap.run import CannotUpload, run_script
from iris_platform.joining import Kind
from iris_platform.manual.invite import is_invited
from iris_platform.names import LABEL_CLUSTER, LABEL_CLUSTER_ID, LABEL_SLICE
from iris_platform.ssh import Connect, HostKeyChanged, SshConnection, SshTarget

PROBE_S = 30.0
REACH_S = ASK_S + 2 * DIAL_S
# Certificates are no older than that when they are first looked at.
MOST_CLOCK_MS = 60_000
# As `iris_platform.bundle.PYTHONS`, whose import would need what makes bundles.
NEWEST_PYTHON = (3, 13)
_BY_HAND = "log in there by hand and look"
NowMs = Callable[[], int]
Role: TypeAlias = Literal["controller", "worker"]


def now_ms() -> int:
    """This machine's calendar clock."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Listening:
    """Who listens at the address that hosts are to dial, while they try, and on which machine (`where`).

    With `word` it is our own stand-in, which says it; else `is_ours` tells the
    cluster's controller from somebody else, or nobody.
    """

    endpoint: Endpoint
    where: str = THIS_MACHINE
    word: str = ""
    is_ours: bool = False


@dataclass(frozen=True)
class Wanted:
    """What a host is compared with; `cluster_id` is empty before the cluster's first start.

    With an image in `container` an engine has to be there. `lets_in`: a controller runs on
    a host of its own, and has to be let in here by its own key.
    """

    cluster: str
    cluster_id: str
    listening: Listening | None = None
    container: ContainerSpec = NO_CONTAINER
    lets_in: bool = False

    def with_listening(self, listening: Listening | None) -> Wanted:
        """The same, now that it is known who listens."""
        return replace(self, listening=listening)


class Notes:
    """The checks of one host, each reported when it is done."""

    def __init__(self, report: Report) -> None:
        self.checks: list[Check] = []
        self._report = report

    def __call__(self, check: Check) -> None:
        """Take one more."""
        self.checks.append(check)
        self._report(check)


class HostDoctor:
    """Looks at workers' hosts, each in a call of its own; calls may run side by side."""

    def __init__(self, connect: Connect, wanted: Wanted, report: Report, now_ms: NowMs = now_ms) -> None:
        self._connect = connect
        self._wanted = wanted
        self._report = report
        self._now_ms = now_ms
        # Of all that could be looked at: what is to be packed for them.
        self.kinds: set[Kind] = set()

    def examine(self, host: str, target: SshTarget) -> list[Check]:
        """Every check of a host; what cannot be looked at because of an earlier failure is left out."""
        note = Notes(self._report)
        with connected(host, lambda: self._connect(target), note) as connection:
            if connection is not None:
                with told(host, note):
                    self._look(host, connection, note)
        return note.checks

    def _look(self, host: str, connection: SshConnection, note: Report) -> None:
        spec = VmBootstrapSpec("worker", self._wanted.container, {})
        facts = look(host, connection, spec, note, self._now_ms)
        if facts is None:
            return
        self.kinds.add(kind_in(facts))
        note(_owner(host, facts, self._wanted))
        if self._wanted.lets_in:
            note(_lets_in(host, connection, self._wanted.cluster_id))
        if self._wanted.listening is not None:
            note(_reach(host, connection, python_of(facts), self._wanted.listening))


@contextmanager
def connected(
    host: str, connect: Callable[[], SshConnection], note: Report
) -> Iterator[SshConnection | None]:
    """A connection to a host, None where there is none; what came of it is noted."""
    try:
        connection = connect()
    except PlatformError as error:
        note(_trouble(host, "ssh", error))
        yield None
        return
    try:
        note(Check(host, "ssh", Result.OK, connection.address))
        yield connection
    finally:
        connection.close()


@contextmanager
def told(host: str, note: Report) -> Iterator[None]:
    """What keeps us from looking further is a check too."""
    try:
        yield
    except CannotUpload as error:
        fix = "free some space in its temporary directory, or let this user write there"
        note(Check(host, "disk", Result.FAILED, str(error), fix))
    except PlatformError as error:
        note(_trouble(host, "commands", error))


def look(
    host: str, connection: SshConnection, spec: VmBootstrapSpec, note: Report, now_ms: NowMs
) -> Mapping[str, Any] | None:
    """Python or an engine, disk and clock, for what is to run there; what the host says, None where it cannot.

    Raises:
        PlatformError: it does not answer.
    """
    startup = Startup(spec, bundle=NO_BUNDLE)
    before = now_ms()
    outcome = run_script(connection, startup, ["probe"], timeout_s=PROBE_S)
    after = now_ms()
    if outcome.status == "failed":
        note(_failed_probe(host, spec.role, outcome))
        return None
    facts = outcome.facts
    note(_python(host, spec, facts))
    if spec.container.image:
        note(_engine(host, facts, spec.container.image))
    note(disk_check(host, int(facts.get("free_bytes", 0)), str(facts.get("root", ""))))
    note(_clock(host, int(facts.get("wall_ms", 0)), before, after))
    return facts


def python_of(facts: Mapping[str, Any]) -> str:
    """The interpreter that was found there."""
    return str(facts.get("executable", "python3"))


def kind_in(facts: Mapping[str, Any]) -> Kind:
    """What decides which wheels a host needs."""
    return ".".join(str(facts.get("python", "")).split(".")[:2]), str(facts.get("machine", ""))


def labels_of(facts: Mapping[str, Any], role: str) -> Mapping[str, str]:
    """Whose a role of the host is; empty where nobody's."""
    roles = facts.get("labels")
    labels = roles.get(role) if isinstance(roles, dict) else None
    return {str(key): str(value) for key, value in labels.items()} if isinstance(labels, dict) else {}


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


def _failed_probe(host: str, role: str, outcome: Outcome) -> Check:
    if outcome.step == "python":
        return Check(host, "python", Result.FAILED, outcome.reason, _install_python(role))
    fix = "mend what it says, and run the doctor again"
    return Check(host, outcome.step or "probe", Result.FAILED, outcome.reason, fix)


def _python(host: str, spec: VmBootstrapSpec, facts: Mapping[str, Any]) -> Check:
    version, machine = str(facts.get("python", "")), str(facts.get("machine", ""))
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    message = f"{version} on {machine}"
    # No wheels are for a newer one; an image brings its own.
    if numbers > NEWEST_PYTHON and not spec.container.image:
        return Check(host, "python", Result.FAILED, message, _install_python(spec.role))
    return Check(host, "python", Result.OK, message)


def _engine(host: str, facts: Mapping[str, Any], image: str) -> Check:
    if engine := str(facts.get("engine", "")):
        return Check(host, "engine", Result.OK, f"{engine}, for {image}")
    fix = "install docker or podman there, and let this user run it; or leave out bootstrap.container"
    return Check(host, "engine", Result.FAILED, str(facts.get("engine_trouble", "")), fix)


def _install_python(role: str) -> str:
    newest = ".".join(map(str, NEWEST_PYTHON))
    return f"install Python 3.{OLDEST_MINOR[role]} to {newest} there"


def _clock(host: str, theirs: int, before: int, after: int) -> Check:
    """It was read somewhere between two moments of ours."""
    wrong = max(before - theirs, theirs - after, 0)
    if wrong <= MOST_CLOCK_MS:
        return Check(host, "clock", Result.OK, "within a minute of ours")
    way = "behind" if theirs < before else "ahead of"
    fix = "set the clock that is wrong (ntp); certificates are not valid there otherwise"
    return Check(host, "clock", Result.FAILED, f"{wrong // 1000} s {way} ours", fix)


def _owner(host: str, facts: Mapping[str, Any], wanted: Wanted) -> Check:
    labels = labels_of(facts, "worker")
    what = f"slice {labels.get(LABEL_SLICE, '?')}"
    return owner_check(host, labels, wanted, what, f"take the host out of {wanted.cluster}")


def _lets_in(host: str, connection: SshConnection, cluster_id: str) -> Check:
    if is_invited(connection, cluster_id):
        return Check(host, "lets it in", Result.OK, "the controller's key is in authorized_keys")
    message = "the controller's key is not in authorized_keys"
    fix = "`iris cluster start` once more lets the controller in"
    return Check(host, "lets it in", Result.FAILED, message, fix)


def owner_check(host: str, labels: Mapping[str, str], wanted: Wanted, what: str, otherwise: str) -> Check:
    """Whose a host is: `what` is there where it is ours; `otherwise` spares stopping the other cluster."""
    cluster_id, cluster = labels.get(LABEL_CLUSTER_ID, ""), labels.get(LABEL_CLUSTER, "?")
    if not cluster_id:
        return Check(host, "owner", Result.OK, "nobody's")
    if cluster_id == wanted.cluster_id:
        return Check(host, "owner", Result.OK, f"ours: {what} is there")
    message = f"belongs to cluster {cluster} (id {cluster_id})"
    fix = f"stop that cluster, or {otherwise}"
    if cluster == wanted.cluster:
        message += ", which has our name and other keys"
        fix = "give back the keys that it was started with, or stop it from where they are"
    return Check(host, "owner", Result.FAILED, message, fix)


def _reach(host: str, connection: SshConnection, python: str, listening: Listening) -> Check:
    endpoint = listening.endpoint
    to = {str(port): (endpoint.host, port) for port in endpoint.ports}
    answers = dial(connection, python, to, hears=bool(listening.word))
    if answers is None:
        fix = "log in there by hand and look why python3 does not run"
        return Check(host, "reaches us", Result.FAILED, "the host did not say what it reaches", fix)
    return reach_check(host, answers, listening)


def reach_check(host: str, answers: Mapping[str, str], listening: Listening) -> Check:
    """What a host's tries mean; `answers` has what came of each port."""
    endpoint = listening.endpoint
    name_it = f"name {listening.where} in controller.advertise_address, as the hosts see it"
    for answer in answers.values():
        what, _, words = answer.partition(" ")
        alike = [port for port, other in answers.items() if other == answer]
        ports = f"port{'s' if alike[1:] else ''} {' and '.join(alike)}"
        where = f"{ports} of {endpoint.host}"
        let = f"let firewalls pass TCP from {host} to {ports} of {listening.where}"
        if what == "failed":
            fix = f"{let}; or {name_it}"
            return Check(host, "reaches us", Result.FAILED, f"{where}: {words}", fix)
        if what == "refused" and (listening.word or listening.is_ours):
            fix = f"{name_it}; and {let}"
            return Check(host, "reaches us", Result.FAILED, f"{where}: nobody listens there", fix)
        if what == "connected" and listening.word and words != listening.word:
            return Check(host, "reaches us", Result.FAILED, f"{where}: another machine answers", name_it)
    if listening.word or listening.is_ours:
        return Check(host, "reaches us", Result.OK, f"at {endpoint} and the next port")
    message = f"it reaches {endpoint.host}; who would answer there is not known"
    return Check(host, "reaches us", Result.WARNING, message, "free the ports, and run the doctor again")
