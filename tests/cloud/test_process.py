"""The cloud as a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import requests

from tests.harness.cloud import CloudClient

ROOT = Path(__file__).resolve().parents[2]
END_S = 20.0


def test_it_runs_by_itself_until_it_is_stopped() -> None:
    words = [sys.executable, "-m", "tests.harness.cloud", "--project", "mine", "--project", "yours"]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            url = process.stdout.readline().strip()
            client = CloudClient(url)
            nodes = f"{url}/v2/projects/yours/locations/us-west4-a/nodes"
            body = {"acceleratorType": "v5litepod-1", "runtimeVersion": "v2-alpha-tpuv5-lite"}
            assert requests.post(nodes, params={"nodeId": "n"}, json=body, timeout=10).status_code == 200
            client.wait_node("us-west4-a", "n", "READY", project="yours")
            assert list(client.everything().values()) == ["READY"]
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(END_S) == 0
