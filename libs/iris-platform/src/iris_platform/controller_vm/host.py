"""The controller's host over one SSH connection: what is there, install, start, take away."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from iris_platform.base import ContainerSpec, NotOurs, Refused, VmBootstrapSpec
from iris_platform.bootstrap import NO_BUNDLE, NO_CONTAINER, BundleSource, Outcome, Startup
from iris_platform.bootstrap.run import run_script, words_of
from iris_platform.bundle import KINDS_FILE, Shelf, kind_of
from iris_platform.controller_vm.site import Site
from iris_platform.joining import Kind
from iris_platform.names import LABEL_CLUSTER, LABEL_CLUSTER_ID, LABEL_ROLE
from iris_platform.ssh import RemoteFileMissing, SshConnection

LOOK_S = 30.0
# Installing a bundle, or pulling an image.
INSTALL_S = 960.0
START_S = 180.0
STOP_S = 120.0
# A controller with much to load takes its time.
HEALTH_S = 120.0
LIST_MOST_BYTES = 1 << 20
CONFIG_FILE = "cluster.json"
STATE = "@state@/state"
PKI = "@state@/pki"
LOCAL = "@state@/local"
# What runs there, and is meant to.
UP = ("starting", "running", "ready")


@dataclass(frozen=True)
class Keys:
    """What the controller's host says of the cluster's keys; texts in PEM, but for `ssh_key`.

    `backup` is everything that makes the cluster this cluster; `certificate` an
    operator's.
    """

    cluster_id: str
    ca: str
    ssh_key: str
    certificate: str
    backup: str = field(repr=False)


@dataclass(frozen=True)
class Program:
    """What the controller runs from: a bundle that is on the host, or an image."""

    bundle: BundleSource = NO_BUNDLE
    container: ContainerSpec = NO_CONTAINER


@dataclass(frozen=True)
class Seen:
    """What the host has of a controller: `phase` as the host's service says it, `labels` whose it is.

    `bundle` or `image` is what it runs from; both are empty where there is none.
    """

    phase: str
    pid: int
    detail: str
    bundle: str
    image: str
    labels: Mapping[str, str]

    @property
    def is_up(self) -> bool:
        """Whether it runs."""
        return self.phase in UP


class ControllerHost:
    """One host, for as long as a connection to it lasts. Errors are `PlatformError`s that name it."""

    def __init__(self, connection: SshConnection, cluster: str, site: Site) -> None:
        self._connection = connection
        self._cluster = cluster
        self._site = site

    def of(self, site: Site) -> ControllerHost:
        """The same host with more known of it."""
        return ControllerHost(self._connection, self._cluster, site)

    @property
    def address(self) -> str:
        """`user@host:port` of its SSH server, for messages."""
        return self._connection.address

    def look(self) -> Seen:
        """What is there; changes nothing.

        Raises:
            NotOurs: it has the controller of another cluster.
        """
        facts = self._run(["status"], LOOK_S).facts
        labels = {str(key): str(value) for key, value in dict(facts.get("labels") or {}).items()}
        seen = Seen(
            *(str(facts.get("phase", "absent")), int(facts.get("pid", 0)), str(facts.get("detail", ""))),
            *(str(facts.get("bundle", "")), str(facts.get("image", "")), labels),
        )
        there, wanted = labels.get(LABEL_CLUSTER_ID, ""), self._site.cluster_id
        name = labels.get(LABEL_CLUSTER, "")
        if (there and wanted and there != wanted) or (name and name != self._cluster):
            raise NotOurs(
                f"{self.address}: has the controller of cluster {name} (id {there}), not of {self._cluster}"
                + (f" (id {wanted})" if wanted else "")
                + "; stop that cluster first, or take another host"
            )
        return seen

    def facts(self) -> Mapping[str, Any]:
        """Python, machine type, room and the like; changes nothing."""
        return self._run(["probe"], LOOK_S).facts

    def places(self) -> dict[str, str]:
        """Where state and keys are, as absolute paths; empty where there are none."""
        places = self._site.directories(str(self.facts()["root"]))
        return {
            name: path if self._connection.run(["test", "-d", path], timeout_s=LOOK_S).status == 0 else ""
            for name, path in places.items()
        }

    def bring(self, container: ContainerSpec, shelf: Shelf) -> Program:
        """What the controller runs from, which is on this host when this returns: the image, or else a bundle.

        Raises:
            Refused: the bundle cannot be made here, or not be put there; no engine.
            Unreachable: the image cannot be had.
        """
        if container.image:
            if any(":" in place for place in self._own_places()):
                raise Refused("storage: a directory with a colon in its name cannot be given to a container")
            self._run(["prepare"], INSTALL_S, Program(container=container))
            return Program(container=container)
        facts = self._run(["prepare"], LOOK_S).facts
        python = ".".join(str(facts["python"]).split(".")[:2])
        bundle = shelf.bundle_for(python, str(facts["machine"]))
        path = f"{facts['incoming']}/{bundle.sha256}"
        if bundle.sha256 not in facts["bundles"]:
            self._connection.put(bundle.path, path)
        return Program(BundleSource(bundle.sha256, path=path))

    def install(self, program: Program, operator: str, request: bytes) -> tuple[Keys, str]:
        """Have the program there, and its keys; returns them, and the directory of its state.

        `request` is a signing request for the certificate of `operator`; a backup of
        the keys may follow it, for a host that has none.
        """
        pki = self._site.pki_dir or PKI
        first = ("--keys-of", self._cluster, "--pki-dir", pki, "--operator", operator)
        facts = self._run(["install"], INSTALL_S, program, first=first, given=request).facts
        try:
            keys = Keys(**facts["answer"])
        except TypeError as error:
            raise Refused(f"{self.address}: the program there is of another version: {error}") from error
        return keys, self._site.state_dir or f"{facts['state']}/state"

    def start(self, program: Program, config: Mapping[str, object]) -> int:
        """Start the controller; returns its process id when it serves.

        Raises:
            StartFailed: it did not come up; with the end of its log.
        """
        arguments = (
            *("--config", f"@work@/{CONFIG_FILE}", "--state-dir", self._site.state_dir or STATE),
            *("--pki-dir", self._site.pki_dir or PKI, "--local-root", LOCAL, "--resume"),
        )
        files = {CONFIG_FILE: config}
        facts = self._run(["start"], START_S, program, arguments=arguments, files=files).facts
        return int(facts["pid"])

    def stop(self) -> None:
        """Stop the controller; what it is started from stays, and so do its agents."""
        self._run(["stop"], STOP_S)

    def remove(self, *, forget: bool) -> None:
        """Stop the controller and take it away; with `forget` its state, keys and bundles too."""
        words = ["--forget", "--bundles"] if forget else []
        own = ["--cluster-id", self._site.cluster_id] if self._site.cluster_id else []
        self._run(["remove", *words, *own], STOP_S)
        places = self._own_places()
        if forget and places:
            self._command("rm", "-rf", "--", *places)

    def stock(self, directory: str, kinds: Iterable[Kind], shelf: Shelf) -> None:
        """Bring the agents' bundles of all these kinds of hosts, where the controller looks for them.

        Raises:
            Refused: one cannot be made here, or not be put there.
        """
        self._command("sh", "-c", 'umask 077; mkdir -p -- "$1"', "sh", directory)
        list_path = f"{directory}/{KINDS_FILE}"
        try:
            there = dict(json.loads(self._connection.get(list_path, LIST_MOST_BYTES)))
        except (RemoteFileMissing, ValueError):
            there = {}
        wanted = {kind_of(*kind): shelf.bundle_for(*kind) for kind in kinds}
        for kind, bundle in wanted.items():
            if there.get(kind) != bundle.sha256:
                self._connection.put(bundle.path, f"{directory}/{bundle.sha256}")
        listed = there | {kind: bundle.sha256 for kind, bundle in wanted.items()}
        # Last: what is listed is there.
        self._connection.put(json.dumps(listed).encode("ascii"), list_path)

    def _own_places(self) -> tuple[str, ...]:
        """Directories of the operator's choice."""
        return tuple(path for path in (self._site.state_dir, self._site.pki_dir) if path)

    def _command(self, *argv: str) -> None:
        done = self._connection.run(argv, timeout_s=LOOK_S)
        if done.status:
            raise Refused(f"{self.address}: {argv[0]} failed: {words_of(done.err)}")

    def _run(
        self,
        words: list[str],
        timeout_s: float,
        program: Program | None = None,
        given: bytes = b"",
        **parts: Any,
    ) -> Outcome:
        labels = {LABEL_CLUSTER: self._cluster, LABEL_ROLE: "controller"}
        if self._site.cluster_id:
            labels[LABEL_CLUSTER_ID] = self._site.cluster_id
        program = program or Program()
        spec = VmBootstrapSpec("controller", program.container, labels)
        startup = Startup(spec, program.bundle, places=self._own_places(), health_s=HEALTH_S, **parts)
        done = run_script(self._connection, startup, words, timeout_s=timeout_s, secret=given)
        return done.check(self.address)
