"""`iris doctor` asks Google before anything is started there."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
import requests

from iris_cli.commands.doctor import _beyond
from iris_cli.doctor.checks import Check, Result
from iris_cli.doctor.google import examine_google
from iris_config import IrisConfig, parse_config
from iris_platform import ClusterPaths
from tests.harness.cloud import CloudServer
from tests.harness.cluster import wait_until
from tests.harness.ports import free_port

CONFIG = """\
name: demo
controller: {{ gcp: {{ project_id: {project}, zone: europe-west4-b }} }}
endpoints: {{ tpu: "{url}", compute: "{url}", certificates: "{url}" }}
scale_groups:
  a:
    provider: {{ tpu: {{ project_id: {project} }} }}
    accelerator_type: v5litepod-16
    zones: [europe-west4-b, us-central1-a]
  b:
    provider: {{ tpu: {{ project_id: {project} }} }}
    accelerator_type: v5litepod-4
    zones: [us-central1-a]
"""
INSTANCE = {
    "name": "iris-abcdefgh27-controller",
    "machineType": "zones/europe-west4-b/machineTypes/e2-small",
    "disks": [
        {
            "boot": True,
            "initializeParams": {"sourceImage": "projects/debian-cloud/global/images/family/debian-12"},
        }
    ],
    "networkInterfaces": [{"network": "global/networks/default"}],
}


def examine(url: str, project: str = "test-project") -> dict[str, Check]:
    told: list[Check] = []
    checks = examine_google(parse_config(CONFIG.format(url=url, project=project)), told.append)
    assert checks == told
    assert all(check.fix for check in checks if check.result is not Result.OK)
    return {check.subject: check for check in checks}


def test_each_zone_is_asked_once() -> None:
    with CloudServer() as cloud:
        found = examine(cloud.url)
    assert list(found) == [
        "TPU in europe-west4-b of test-project",
        "TPU in us-central1-a of test-project",
        "machines in europe-west4-b of test-project",
    ]
    assert {check.result for check in found.values()} == {Result.OK}


def test_the_controllers_machine_is_looked_at_once_the_cluster_was_started() -> None:
    with CloudServer() as cloud:
        config = parse_config(CONFIG.format(url=cloud.url, project="test-project"))

        def machine() -> Check:
            check = examine_google(config, lambda check: None, "abcdefgh27")[-1]
            assert check.subject == "machine iris-abcdefgh27-controller"
            return check

        absent = machine()
        assert (absent.result, "is not there" in absent.message) == (Result.WARNING, True)
        call = partial(requests.post, timeout=10)
        where = f"{cloud.url}/compute/v1/projects/test-project/zones/europe-west4-b/instances"
        call(where, data=json.dumps(INSTANCE))
        wait_until(lambda: machine().message.endswith("is RUNNING"))
        assert machine().result is Result.OK
        call(f"{where}/iris-abcdefgh27-controller/stop")
        wait_until(lambda: machine().result is Result.FAILED)
        wait_until(lambda: machine().message.endswith("is TERMINATED"))
        assert "cluster start" in machine().fix


def test_the_agent_of_machines_that_are_yet_to_be_made_is_packed_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    text = CONFIG.format(url="http://127.0.0.1:1", project="test-project")
    paths = ClusterPaths(tmp_path / "state", tmp_path / "pki", tmp_path / "local")
    (check,) = _beyond(parse_config(text), paths, lambda check: None)
    assert (check.check, check.result) == ("wheels", Result.WARNING)
    assert check.message.startswith("the agent: wheels of ")
    image = "bootstrap: { container: { image: registry.example/agent } }\n"
    assert _beyond(parse_config(text + image), paths, lambda check: None) == []


def test_a_zone_that_is_down_and_a_project_that_is_not_ours() -> None:
    with CloudServer() as cloud:
        cloud.client.fault("error", "ListNodes", zone="us-central1-a", code=7, count=None)
        found = examine(cloud.url)
        assert found["TPU in us-central1-a of test-project"].result is Result.FAILED
        assert "docs/gcp.md" in found["TPU in us-central1-a of test-project"].fix
        assert found["TPU in europe-west4-b of test-project"].result is Result.OK
        others = examine(cloud.url, "somebodys")
    assert {check.result for check in others.values()} == {Result.FAILED}
    assert "correct project and zone" in others["machines in europe-west4-b of somebodys"].fix


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    # urllib3 waits between tries.
    monkeypatch.setattr("urllib3.util.retry.Retry.sleep", lambda self, response=None: None)
    config = parse_config(CONFIG.format(url=f"http://127.0.0.1:{free_port()}", project="p"))
    for group in list(config.proto.scale_groups):
        del config.proto.scale_groups[group]
    (check,) = examine_google(config, lambda check: None)
    assert check.message.endswith("Compute Engine cannot be reached: [Errno 111] Connection refused")


def test_nothing_of_googles_is_asked_of_others(tmp_path: Path) -> None:
    text = "name: x\nscale_groups: {a: {provider: {local: {}}}}\n"
    assert examine_google(IrisConfig(parse_config(text).proto), lambda check: None) == []
