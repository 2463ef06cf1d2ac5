"""The cloud as the `gcloud` command line sees it: a client that this project did not write."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cloud.clients import ZONE
from tests.harness.cloud import CloudServer

GCLOUD = shutil.which("gcloud")
COMMAND_S = 60.0
TPU = ["--accelerator-type=v5litepod-16"]
RUNTIME = "v2-alpha-tpuv5-lite"

pytestmark = pytest.mark.skipif(GCLOUD is None, reason="there is no gcloud on this machine")


class Gcloud:
    """gcloud with a configuration and a token of its own, whose endpoints are a test cloud's."""

    def __init__(self, cloud: CloudServer, home: Path) -> None:
        token = home / "token"
        token.write_text("no-token-of-anybody\n")
        settings = {
            "CONFIG": str(home / "config"),
            "CORE_PROJECT": cloud.project,
            "CORE_DISABLE_PROMPTS": "1",
            "CORE_DISABLE_USAGE_REPORTING": "true",
            "CORE_CHECK_GCE_METADATA": "false",
            "COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
            "AUTH_ACCESS_TOKEN_FILE": str(token),
            "API_ENDPOINT_OVERRIDES_TPU": f"{cloud.url}/",
            "API_ENDPOINT_OVERRIDES_COMPUTE": f"{cloud.url}/compute/v1/",
        }
        kept = {
            key: value for key, value in os.environ.items() if not key.startswith(("CLOUDSDK_", "GOOGLE_"))
        }
        proxies = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy")
        self.environ = {key: value for key, value in kept.items() if key not in proxies}
        self.environ |= {f"CLOUDSDK_{key}": value for key, value in settings.items()}
        self.environ["HOME"] = str(home)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [str(GCLOUD), *words, f"--zone={ZONE}", "--format=json"]
        return subprocess.run(
            command, env=self.environ, capture_output=True, text=True, timeout=COMMAND_S, check=False
        )

    def json(self, *words: str) -> Any:
        done = self.run(*words)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout or "null")

    def refused(self, *words: str) -> str:
        done = self.run(*words)
        assert done.returncode != 0, done.stdout
        return done.stderr


@pytest.fixture
def gcloud(cloud: CloudServer, tmp_path: Path) -> Gcloud:
    return Gcloud(cloud, tmp_path)


def test_tpu_machines(gcloud: Gcloud, cloud: CloudServer) -> None:
    tpus = ["compute", "tpus", "tpu-vm"]
    made = ["create", "n1", *TPU, f"--version={RUNTIME}", "--spot", "--labels=a=b"]
    gcloud.json(*tpus, *made, "--metadata=startup-script=echo")
    (listed,) = gcloud.json(*tpus, "list")
    assert listed["name"].endswith("/nodes/n1") and listed["state"] == "READY"
    assert listed["schedulingConfig"] == {"spot": True} and listed["labels"] == {"a": "b"}
    found = gcloud.json(*tpus, "describe", "n1")
    assert [end["ipAddress"] for end in found["networkEndpoints"]] == [
        vm.address for vm in cloud.client.vms("n1")
    ]
    assert found["metadata"] == {"startup-script": "echo"}
    assert "already exists" in gcloud.refused(*tpus, *made)
    assert "was not found" in gcloud.refused(*tpus, "describe", "nobody")
    cloud.client.fault("stockout", "CreateNode", after=True)
    lacking = gcloud.refused(*tpus, "create", "n2", *TPU, f"--version={RUNTIME}")
    assert "There is no more capacity in the zone" in lacking
    gcloud.json(*tpus, "delete", "n1", "--quiet")
    assert gcloud.json(*tpus, "list") == [] and cloud.client.everything() == {}
    assert all(call.credentials for call in cloud.client.calls())


def test_queued_resources(gcloud: Gcloud, cloud: CloudServer) -> None:
    queued = ["compute", "tpus", "queued-resources"]
    good = [*TPU, f"--runtime-version={RUNTIME}", "--node-id=q1", "--valid-until-duration=3600s"]
    gcloud.json(*queued, "create", "q1", *good, "--spot")
    cloud.client.wait_queued(ZONE, "q1", "ACTIVE")
    (listed,) = gcloud.json(*queued, "list")
    assert listed["state"]["state"] == "ACTIVE"
    found = gcloud.json(*queued, "describe", "q1")
    assert found["tpu"]["nodeSpec"][0]["nodeId"] == "q1"
    assert found["queueingPolicy"]["validUntilDuration"] == "3600s"
    assert "force" in gcloud.refused(*queued, "delete", "q1", "--quiet")
    gcloud.json(*queued, "delete", "q1", "--quiet", "--force")
    assert gcloud.json(*queued, "list") == [] and cloud.client.everything() == {}


def test_what_a_zone_has(gcloud: Gcloud) -> None:
    types = gcloud.json("compute", "tpus", "accelerator-types", "list")
    assert "v5litepod-16" in {each["type"] for each in types}


def test_instances_and_disks(gcloud: Gcloud, cloud: CloudServer) -> None:
    machines, disks = ["compute", "instances"], ["compute", "disks"]
    gcloud.json(*disks, "create", "d1", "--size=20GB")
    made = ["create", "i1", "--machine-type=e2-small", "--image-family=debian-12"]
    disk = "--disk=name=d1,device-name=state,auto-delete=no"
    gcloud.json(*machines, *made, "--image-project=debian-cloud", disk, "--labels=a=b")
    found = gcloud.json(*machines, "describe", "i1")
    assert found["status"] == "RUNNING" and found["labels"] == {"a": "b"}
    assert [each["deviceName"] for each in found["disks"] if each.get("source")] == ["state"]
    gcloud.json(*machines, "add-metadata", "i1", "--metadata=x=y")
    items = gcloud.json(*machines, "describe", "i1")["metadata"]["items"]
    assert {item["key"]: item["value"] for item in items} == {"x": "y"}
    assert "already exists" in gcloud.refused(*machines, *made, "--image-project=debian-cloud")
    gcloud.json(*machines, "stop", "i1")
    assert gcloud.json(*machines, "describe", "i1")["status"] == "TERMINATED"
    gcloud.json(*machines, "delete", "i1", "--quiet")
    gcloud.json(*disks, "delete", "d1", "--quiet")
    assert cloud.client.everything() == {}


def test_lists_of_all_zones(gcloud: Gcloud, cloud: CloudServer) -> None:
    made = [
        "compute",
        "instances",
        "create",
        "i1",
        "--image-family=debian-12",
        "--image-project=debian-cloud",
    ]
    gcloud.json(*made)
    zones = f"--zones={ZONE}"
    command = [str(GCLOUD), "compute", "instances", "list", zones, "--format=json"]
    done = subprocess.run(
        command, env=gcloud.environ, capture_output=True, text=True, timeout=COMMAND_S, check=True
    )
    assert [each["name"] for each in json.loads(done.stdout)] == ["i1"]
