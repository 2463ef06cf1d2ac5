"""Compute Engine's instances and disks, over plain HTTP."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from tests.cloud.clients import ZONE
from tests.harness.cloud import CloudServer

CALL_S = 10.0
Json = dict[str, Any]


class Engine:
    """The calls, below the project."""

    def __init__(self, cloud: CloudServer) -> None:
        self.cloud = cloud
        self.project = cloud.project
        self._session = requests.Session()

    def ask(self, verb: str, path: str, body: Json | None = None, **query: str) -> requests.Response:
        url = f"{self.cloud.url}/compute/v1/projects/{self.project}/{path}"
        return self._session.request(verb, url, params=query, json=body, timeout=CALL_S)

    def done(self, verb: str, path: str, body: Json | None = None, **query: str) -> Json:
        """A change, with the operation as it ended."""
        reply = self.ask(verb, path, body, **query)
        assert reply.status_code == 200, reply.text
        return self.wait(reply.json())

    def wait(self, operation: Json) -> Json:
        name = operation["name"]
        ended: Json = self.ask("POST", f"zones/{ZONE}/operations/{name}/wait").json()
        assert ended["status"] == "DONE"
        return ended

    def instance(self, name: str = "i1", **fields: Any) -> Json:
        image = "projects/debian-cloud/global/images/family/debian-12"
        return {
            "name": name,
            "machineType": f"zones/{ZONE}/machineTypes/e2-small",
            "disks": [{"boot": True, "initializeParams": {"sourceImage": image}}],
            "networkInterfaces": [{"network": "global/networks/default"}],
            "metadata": {"items": [{"key": "a", "value": "1"}]},
            **fields,
        }

    def with_disk(self, disk: str) -> list[Json]:
        boot: Json = self.instance()["disks"][0]
        source = f"projects/{self.project}/zones/{ZONE}/disks/{disk}"
        return [boot, {"source": source, "deviceName": "state"}]

    def close(self) -> None:
        self._session.close()


@pytest.fixture
def engine(cloud: CloudServer) -> Any:
    made = Engine(cloud)
    yield made
    made.close()


INSTANCES = f"zones/{ZONE}/instances"
DISKS = f"zones/{ZONE}/disks"


def test_an_instance_is_made_found_stopped_started_and_deleted(engine: Engine) -> None:
    made = engine.ask("POST", INSTANCES, engine.instance(labels={"a": "b"})).json()
    assert (made["status"], made["operationType"]) == ("RUNNING", "insert")
    assert engine.ask("GET", f"{INSTANCES}/i1").json()["status"] == "PROVISIONING"
    assert "error" not in engine.wait(made)
    found = engine.ask("GET", f"{INSTANCES}/i1").json()
    (vm,) = engine.cloud.client.vms("i1")
    assert (found["status"], found["networkInterfaces"][0]["networkIP"]) == ("RUNNING", vm.address)
    assert vm.on and str(vm.id) == found["id"] == made["targetId"]
    engine.done("POST", f"{INSTANCES}/i1/stop")
    assert engine.ask("GET", f"{INSTANCES}/i1").json()["status"] == "TERMINATED"
    assert not engine.cloud.client.vms("i1")[0].on
    engine.done("POST", f"{INSTANCES}/i1/start")
    assert engine.cloud.client.vms("i1")[0].on
    engine.done("DELETE", f"{INSTANCES}/i1")
    gone = engine.ask("GET", f"{INSTANCES}/i1")
    assert gone.status_code == 404
    assert gone.json()["error"]["errors"][0]["reason"] == "notFound"
    assert engine.cloud.client.everything() == {} and engine.cloud.client.vms() == []


def test_a_name_is_taken_and_a_request_is_known_again(engine: Engine) -> None:
    first = engine.ask("POST", INSTANCES, engine.instance(), requestId="r1").json()
    again = engine.ask("POST", INSTANCES, engine.instance(), requestId="r1").json()
    assert first["name"] == again["name"]
    taken = engine.ask("POST", INSTANCES, engine.instance(), requestId="r2")
    assert (taken.status_code, taken.json()["error"]["errors"][0]["reason"]) == (409, "alreadyExists")


def test_lists_are_filtered_by_labels_and_paged(engine: Engine) -> None:
    for name in ("a", "b", "c"):
        engine.done("POST", INSTANCES, engine.instance(name, labels={"own": "yes", "n": name}))
    engine.done("POST", INSTANCES, engine.instance("other"))
    both = engine.ask("GET", INSTANCES, filter="(labels.own = yes) (labels.n = b)").json()
    assert [each["name"] for each in both["items"]] == ["b"]
    page = engine.ask("GET", INSTANCES, maxResults="3").json()
    assert len(page["items"]) == 3
    rest = engine.ask("GET", INSTANCES, pageToken=page["nextPageToken"]).json()
    assert [each["name"] for each in rest["items"]] == ["other"] and "nextPageToken" not in rest
    assert "items" not in engine.ask("GET", INSTANCES, filter="labels.own=no").json()
    by_zone = engine.ask("GET", "aggregated/instances").json()["items"]
    assert len(by_zone[f"zones/{ZONE}"]["instances"]) == 4
    assert engine.ask("GET", INSTANCES, filter="(a or b").status_code == 400


def test_a_disk_outlives_its_machine_and_is_one_machines_alone(engine: Engine) -> None:
    engine.done("POST", DISKS, {"name": "d1", "sizeGb": "20", "labels": {"a": "b"}})
    assert engine.ask("GET", f"{DISKS}/d1").json()["status"] == "READY"
    engine.done("POST", INSTANCES, engine.instance(disks=engine.with_disk("d1")))
    second = engine.ask("POST", INSTANCES, engine.instance("i2", disks=engine.with_disk("d1")))
    assert second.json()["error"]["errors"][0]["reason"] == "resourceInUseByAnotherResource"
    assert engine.ask("DELETE", f"{DISKS}/d1").status_code == 400
    engine.done("DELETE", f"{INSTANCES}/i1")
    assert engine.cloud.client.everything() == {f"projects/{engine.project}/{DISKS}/d1": "READY"}
    engine.done("DELETE", f"{DISKS}/d1")
    missing = engine.ask("POST", INSTANCES, engine.instance(disks=engine.with_disk("d1")))
    assert missing.status_code == 404
    assert engine.cloud.client.everything() == {}


def test_metadata_is_changed_by_who_knows_what_it_was(engine: Engine) -> None:
    engine.done("POST", INSTANCES, engine.instance())
    known = engine.ask("GET", f"{INSTANCES}/i1").json()
    change = {"items": [{"key": "ssh-keys", "value": "me:ssh-ed25519 AAAA"}]}
    wrong = engine.ask("POST", f"{INSTANCES}/i1/setMetadata", {**change, "fingerprint": "old"})
    assert (wrong.status_code, wrong.json()["error"]["errors"][0]["reason"]) == (412, "conditionNotMet")
    right = {**change, "fingerprint": known["metadata"]["fingerprint"]}
    engine.done("POST", f"{INSTANCES}/i1/setMetadata", right)
    now = engine.ask("GET", f"{INSTANCES}/i1").json()["metadata"]
    assert now["items"] == change["items"] and now["fingerprint"] != right["fingerprint"]
    labels = {"labels": {"x": "y"}, "labelFingerprint": known["labelFingerprint"]}
    engine.done("POST", f"{INSTANCES}/i1/setLabels", labels)
    assert engine.ask("GET", f"{INSTANCES}/i1").json()["labels"] == {"x": "y"}


@pytest.mark.parametrize(
    ("kind", "code", "status"),
    [("stockout", "ZONE_RESOURCE_POOL_EXHAUSTED", 503), ("quota", "QUOTA_EXCEEDED", 403)],
)
def test_what_goes_wrong_at_the_end_of_an_operation(
    engine: Engine, kind: str, code: str, status: int
) -> None:
    engine.done("POST", DISKS, {"name": "d1"})
    engine.cloud.client.fault(kind, "instances.insert", after=True)
    ended = engine.done("POST", INSTANCES, engine.instance(disks=engine.with_disk("d1")))
    assert ended["error"]["errors"][0]["code"] == code and ended["httpErrorStatusCode"] == status
    assert engine.ask("GET", f"{INSTANCES}/i1").status_code == 404
    engine.done("DELETE", f"{DISKS}/d1")


@pytest.mark.parametrize("after", [False, True])
def test_who_was_not_made_leaves_its_disk_to_others(engine: Engine, after: bool) -> None:
    engine.done("POST", DISKS, {"name": "d1", "sizeGb": "20"})
    engine.cloud.client.fault("stockout", "instances.insert", after=after)
    asked = engine.ask("POST", INSTANCES, engine.instance(disks=engine.with_disk("d1")))
    assert (asked.status_code == 200) == after
    if after:
        assert "error" in engine.wait(asked.json())
    assert not engine.ask("GET", f"{DISKS}/d1").json().get("users")
    again = engine.done("POST", INSTANCES, engine.instance(disks=engine.with_disk("d1")))
    assert "error" not in again


def test_calls_fail_on_request(engine: Engine) -> None:
    control = engine.cloud.client
    control.fault("error", "instances.get", name="i1", code=14)
    control.fault("error", "instances.insert", after=True, code=13)
    control.fault("empty", "instances.list")
    assert engine.ask("POST", INSTANCES, engine.instance()).status_code == 500
    assert engine.ask("GET", f"{INSTANCES}/i1").status_code == 503
    assert "items" not in engine.ask("GET", INSTANCES).json()
    assert len(engine.ask("GET", INSTANCES).json()["items"]) == 1
    control.fault("reset", "disks.insert")
    with pytest.raises(requests.ConnectionError):
        engine.ask("POST", DISKS, {"name": "d1"})
    assert control.counts("i1") == {"instances.get": 1, "instances.insert": 1}


WRONG: list[tuple[Json, str]] = [
    ({"name": "Upper"}, "resource.name"),
    ({"machineType": "e2-small"}, "resource.machineType"),
    ({"disks": []}, "resource.disks"),
    ({"networkInterfaces": []}, "resource.networkInterfaces"),
    ({"labels": {"Upper": ""}}, "Label key"),
    ({"metadata": {"items": [{"key": "k", "value": "x" * 300_000}]}}, "too large"),
]


@pytest.mark.parametrize(("fields", "words"), WRONG, ids=[words for _, words in WRONG])
def test_what_is_wrong_is_refused(engine: Engine, fields: Json, words: str) -> None:
    reply = engine.ask("POST", INSTANCES, engine.instance(**fields))
    assert reply.status_code == 400 and words in reply.json()["error"]["message"]


def test_projects_zones_and_images_are_there_or_not(engine: Engine, cloud: CloudServer) -> None:
    assert engine.ask("GET", "").json()["name"] == engine.project
    assert engine.ask("GET", f"zones/{ZONE}").json()["status"] == "UP"
    assert engine.ask("GET", "zones/nowhere/instances").status_code == 400
    url = f"{cloud.url}/compute/v1/projects/debian-cloud/global/images/family/debian-12"
    assert requests.get(url, timeout=CALL_S).json()["family"] == "debian-12"
    nobody = requests.get(f"{cloud.url}/compute/v1/projects/nobody/zones/{ZONE}/disks", timeout=CALL_S)
    assert nobody.status_code == 404
