"""A controller on a machine of its own, with machines that are entries of a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from iris_platform.base import NotOurs, PlatformError, StartFailed, Unreachable
from iris_platform.controller_vm import ControllerState, Operator, Site
from iris_platform.controller_vm import gce as module
from iris_platform.controller_vm.gce import GceController
from iris_platform.controller_vm.login import LOGIN_USER
from iris_platform.controller_vm.site import BACKUP_FILE, CloudMachine, read_site
from iris_platform.gcp.compute import Exists
from iris_platform.gcp.machine import GIB, Machine
from iris_platform.paths import ClusterPaths
from iris_platform.ssh import SshConnection

MACHINE = Machine("p", "z", "", "", "e2", "debian", 20 * GIB, 20 * GIB, "default", labels={"team": "ml"})
SITE = Site("", 10400, machine=CloudMachine("p", "z", "http://compute.example"))


class Table:
    """Machines and disks of one project, by kind and name; stands in for `Compute`."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], dict[str, Any]] = {}
        self.calls: list[str] = []
        # Does the next change, and says that it did not.
        self.loses_answer = False

    def get(self, zone: str, kind: str, name: str) -> dict[str, Any] | None:
        return self.rows.get((kind, name))

    def list(self, zone: str, kind: str, labels: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        for (known, _), body in sorted(self.rows.items()):
            if known == kind and labels.items() <= body["labels"].items():
                yield body

    def insert(self, zone: str, kind: str, body: dict[str, Any]) -> None:
        self.calls.append(f"insert {kind}")
        key = (kind, body["name"])
        if key in self.rows:
            raise Exists(f"{key} already exists")
        net = [{"networkIP": "10.0.0.2", "accessConfigs": [{"natIP": "203.0.113.9"}]}]
        facts = {"id": str(len(self.calls)), "status": "RUNNING", "creationTimestamp": "2026-11-22T10:00:00Z"}
        self.rows[key] = {**body, **facts, "networkInterfaces": net}
        if self.loses_answer:
            self.loses_answer = False
            raise Unreachable("no answer")

    def delete(self, zone: str, kind: str, name: str) -> None:
        self.calls.append(f"delete {kind}")
        self.rows.pop((kind, name), None)

    def set_metadata(self, zone: str, name: str, body: dict[str, Any]) -> None:
        self.rows["instances", name]["metadata"] = body

    def start(self, zone: str, name: str) -> None:
        self.calls.append("start")
        self.rows["instances", name]["status"] = "RUNNING"

    def metadata(self) -> dict[str, str]:
        (machine,) = [body for (kind, _), body in self.rows.items() if kind == "instances"]
        return {item["key"]: item["value"] for item in machine["metadata"]["items"]}


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Table:
    made = Table()
    monkeypatch.setattr(module, "open_session", lambda endpoint: None)
    monkeypatch.setattr(module, "Compute", lambda *args: made)
    monkeypatch.setattr(module, "BOOT_S", 0.0)
    return made


class Desk:
    """One operator's machine: its directories, and what was said to him."""

    def __init__(self, folder: Path) -> None:
        self.paths = ClusterPaths(folder / "state", folder / "pki", folder / "local")
        self.said: list[str] = []

    def controller(self) -> GceController:
        """As a new command has it: it knows what is written down."""
        operator = Operator("me", self._step, self.said.append)
        site = read_site(self.paths) or SITE
        return GceController("demo", site, self.paths, operator, MACHINE, connect=_silent)

    def _step(self, words: str) -> AbstractContextManager[None]:
        self.said.append(words)
        return nullcontext()

    def start(self) -> str:
        """As far as to a machine that does not answer; returns the cluster's id."""
        with pytest.raises(StartFailed, match="is not ready after 0 s: nobody there"):
            self.controller().start("{}")
        site = read_site(self.paths)
        assert site is not None
        return site.cluster_id


def _silent(site: Site) -> SshConnection:
    raise Unreachable("nobody there")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_first_start_makes_keys_disk_and_machine(table: Table, desk: Desk) -> None:
    began: list[None] = []
    with pytest.raises(StartFailed):
        desk.controller().start("{}", lambda: began.append(None))
    assert len(began) == 1
    site = read_site(desk.paths)
    assert site is not None
    assert site.machine is not None
    cluster_id = site.cluster_id
    name = f"iris-{cluster_id}-controller"
    assert (site.host, site.user, site.machine.name) == ("203.0.113.9", LOGIN_USER, name)
    assert set(table.rows) == {("disks", f"iris-{cluster_id}-state"), ("instances", name)}
    ours = {"iris-cluster": "demo", "iris-cluster-id": cluster_id, "iris-role": "controller", "team": "ml"}
    assert all(body["labels"] == ours for body in table.rows.values())
    assert (desk.paths.pki_dir / BACKUP_FILE).stat().st_mode & 0o777 == 0o600
    user, _, key = table.metadata()["ssh-keys"].partition(":")
    assert user == LOGIN_USER
    assert key.startswith("ssh-ed25519 ")
    # Public: no key of anybody's.
    assert "PRIVATE" not in repr(table.rows)


def test_again_it_is_the_same_machine(table: Table, desk: Desk) -> None:
    cluster_id = desk.start()
    assert desk.start() == cluster_id
    assert table.calls == ["insert disks", "insert instances"]
    assert desk.controller().known_by() == f"iris-{cluster_id}-controller.z.c.p.internal"


def test_a_machine_whose_creation_was_not_answered_is_ours(table: Table, desk: Desk) -> None:
    table.loses_answer = True
    with pytest.raises(Unreachable):
        desk.controller().start("{}")
    cluster_id = desk.start()
    assert ("disks", f"iris-{cluster_id}-state") in table.rows
    assert len(table.rows) == 2


def test_a_machine_that_was_switched_off_is_switched_on(table: Table, desk: Desk) -> None:
    cluster_id = desk.start()
    table.rows["instances", f"iris-{cluster_id}-controller"]["status"] = "TERMINATED"
    assert desk.controller().status().detail == "its machine is terminated"
    desk.start()
    assert table.calls[-1] == "start"


def test_a_cluster_of_this_name_whose_keys_are_elsewhere(table: Table, desk: Desk, tmp_path: Path) -> None:
    cluster_id = desk.start()
    other = Desk(tmp_path / "other")
    with pytest.raises(NotOurs, match=f"id {cluster_id}.*whose keys are not here.*cluster login"):
        other.controller().start("{}")
    assert not other.paths.pki_dir.exists()
    assert len(table.rows) == 2


def test_a_machine_of_our_name_with_other_labels_is_not_touched(table: Table, desk: Desk) -> None:
    cluster_id = desk.start()
    table.rows["instances", f"iris-{cluster_id}-controller"]["labels"] = {}
    with pytest.raises(NotOurs, match="labels of another cluster"):
        desk.controller().stop()
    assert "delete instances" not in table.calls


def test_what_is_there_whatever_runs_on_it(table: Table, desk: Desk) -> None:
    assert desk.controller().status().state is ControllerState.ABSENT
    desk.start()
    status = desk.controller().status()
    assert (status.state, status.detail) == (ControllerState.UNRESPONSIVE, "nobody there")
    assert desk.controller().discover() == status


def test_a_stop_deletes_the_machine_and_keeps_the_disk(table: Table, desk: Desk) -> None:
    cluster_id = desk.start()
    assert desk.controller().stop()
    disk = f"iris-{cluster_id}-state"
    assert set(table.rows) == {("disks", disk)}
    assert desk.controller().kept() == dict.fromkeys(("state_dir", "pki_dir"), f"disk {disk} in z")
    assert "iris: nobody there; its machine is deleted with it" in desk.said
    assert not desk.controller().stop()
    # The next start has the same keys, and the same disk.
    assert desk.start() == cluster_id
    assert len(table.rows) == 2


def test_forgotten_is_gone(table: Table, desk: Desk) -> None:
    desk.start()
    vm = desk.controller()
    vm.stop()
    vm.forget()
    assert not table.rows
    assert not desk.paths.state_dir.exists()
    assert not desk.paths.pki_dir.exists()
    assert desk.controller().kept() == {"state_dir": "", "pki_dir": ""}


def test_another_operator_is_let_in(table: Table, desk: Desk, tmp_path: Path) -> None:
    cluster_id = desk.start()
    other = Desk(tmp_path / "other")
    with pytest.raises(StartFailed, match="nobody there"):
        other.controller().log_in()
    first, second = table.metadata()["ssh-keys"].splitlines()
    assert first != second
    assert "startup-script" in table.metadata()
    site = read_site(other.paths)
    assert site is not None
    assert site.cluster_id == cluster_id
    with pytest.raises(StartFailed):
        other.controller().log_in()
    assert len(table.metadata()["ssh-keys"].splitlines()) == 2


def test_a_login_to_nothing(table: Table, desk: Desk) -> None:
    with pytest.raises(PlatformError, match="has no controller of cluster demo"):
        desk.controller().log_in()
