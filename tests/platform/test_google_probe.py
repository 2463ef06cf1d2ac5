"""What a TPU VM knows of itself (B36, B55): the slice's facts and the metadata server together."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from iris_platform.env_probe import FACTS_FILE, Environment, ProbeError, TpuHost, probe
from tests.harness.metadata import Metadata, serve_metadata, tpu_vm

SLICE = "iris-abcdefghij-tpu-1700000000000-1"
FACTS = {
    "cluster": "demo",
    "cluster_id": "abcdefghij",
    "slice_name": SLICE,
    "group": "tpu",
    "zone": "us-central2-b",
    "accelerator_type": "v5litepod-16",
    "cpu_millis": 112_000,
    "memory_bytes": 1 << 37,
    "labels": {"iris-slice": SLICE},
    "controller_file": "/state/controller.json",
    "hosts": 4,
    "project": "my-project",
    "endpoint": "https://tpu.googleapis.com",
    "queued": False,
}
ENDPOINTS = "instance/attributes/worker-network-endpoints"
NUMBER = "instance/attributes/agent-worker-number"
TPU_ENV = "instance/attributes/tpu-env"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Metadata]:
    with serve_metadata(tpu_vm(index=2, hosts=4)) as told:
        monkeypatch.setenv("GCE_METADATA_HOST", told.host)
        yield told


@pytest.fixture
def host(tmp_path: Path) -> Path:
    return write_facts(tmp_path)


def write_facts(folder: Path, **changes: object) -> Path:
    (folder / FACTS_FILE).write_text(json.dumps({**FACTS, **changes}))
    return folder


def test_a_machine_finds_its_place(server: Metadata, host: Path) -> None:
    assert probe(host) == Environment(
        cluster="demo",
        cluster_id="abcdefghij",
        slice_name=SLICE,
        worker_index=2,
        group="tpu",
        zone="us-central2-b",
        accelerator_type="v5litepod-16",
        cpu_millis=112_000,
        memory_bytes=1 << 37,
        labels={"iris-slice": SLICE},
        controller_file=Path("/state/controller.json"),
        address="10.0.0.3",
        tpu=TpuHost(
            peers=("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"),
            bounds={
                "TPU_CHIPS_PER_HOST_BOUNDS": "2,2,1",
                "TPU_HOST_BOUNDS": "2,2,1",
                "TPU_TOPOLOGY": "4x4",
            },
            instance_name="t1v-n-0123-w-2",
            instance_id="1002",
        ),
    )


@pytest.mark.parametrize("number", [None, "", "4", "-1", "two", "2.0", "٢"])
def test_a_worker_number_that_is_none_is_never_0(server: Metadata, host: Path, number: str | None) -> None:
    del server.values[NUMBER]
    if number is not None:
        server.values[NUMBER] = number
    with pytest.raises(ProbeError, match="agent-worker-number: expected a number below 4, found"):
        probe(host, 0.3)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (ENDPOINTS, "unknown:unknown:10.0.0.3", "expected 4 different hosts"),
        (ENDPOINTS, ",".join(["a:8470:10.0.0.3"] * 4), "expected 4 different hosts"),
        (ENDPOINTS, "10.0.0.1,10.0.0.2,10.0.0.3,10.0.0.4", "expected ID:PORT:ADDRESS"),
        (ENDPOINTS, "a:b:,a:b:2,a:b:3,a:b:4", "expected ID:PORT:ADDRESS"),
        (NUMBER, "1", "worker 1 is 10.0.0.2, but this machine, which is worker 1, is 10.0.0.3"),
        ("instance/zone", "projects/1/zones/europe-west4-a", "zone: europe-west4-a, but the slice's is us-"),
        ("instance/attributes/accelerator-type", "v4-8", "accelerator-type: v4-8, but the slice's is v5l"),
    ],
)
def test_what_contradicts_the_facts_is_refused(
    server: Metadata, host: Path, path: str, value: str, message: str
) -> None:
    server.values[path] = value
    with pytest.raises(ProbeError, match=message):
        probe(host, 0.3)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (ENDPOINTS, "worker-network-endpoints: expected .*, found None"),
        ("instance/zone", "zone: found nothing"),
        ("instance/attributes/accelerator-type", "accelerator-type: found nothing"),
        ("instance/network-interfaces/0/ip", "ip: found nothing"),
    ],
)
def test_what_is_missing_is_named(server: Metadata, host: Path, path: str, message: str) -> None:
    del server.values[path]
    with pytest.raises(ProbeError, match=message):
        probe(host, 0.3)


def test_the_chips_shape_is_the_facts_where_the_machine_does_not_say(
    server: Metadata, tmp_path: Path
) -> None:
    del server.values[TPU_ENV]
    tpu = probe(write_facts(tmp_path, topology="4x4")).tpu
    assert tpu is not None
    assert tpu.bounds == {
        "TPU_CHIPS_PER_HOST_BOUNDS": "2,2,1",
        "TPU_HOST_BOUNDS": "2,2,1",
        "TPU_TOPOLOGY": "4x4",
    }


@pytest.mark.parametrize(
    ("hosts", "topology", "chips", "bounds"),
    [
        (1, "1x1", "1,1,1", "1,1,1"),
        (1, "2x4", "2,4,1", "1,1,1"),
        (4, "4x4", "2,2,1", "2,2,1"),
        (2, "2x2x2", "2,2,1", "1,1,2"),
        (8, "4x8", "2,2,1", "2,4,1"),
    ],
)
def test_how_hosts_lie_follows_from_how_chips_do(
    server: Metadata, tmp_path: Path, hosts: int, topology: str, chips: str, bounds: str
) -> None:
    server.values |= tpu_vm(index=0, hosts=hosts) | {TPU_ENV: f"TOPOLOGY: '{topology}'"}
    tpu = probe(write_facts(tmp_path, hosts=hosts)).tpu
    assert tpu is not None
    assert tpu.bounds == {
        "TPU_CHIPS_PER_HOST_BOUNDS": chips,
        "TPU_HOST_BOUNDS": bounds,
        "TPU_TOPOLOGY": topology,
    }


@pytest.mark.parametrize("topology", ["", "x", "4x", "0x4", "4x4x4x4", "3x3"])
def test_a_shape_that_is_none_tells_nothing(server: Metadata, host: Path, topology: str) -> None:
    server.values[TPU_ENV] = f"TOPOLOGY: '{topology}'"
    tpu = probe(host).tpu
    assert tpu is not None and not tpu.bounds.keys() - {"TPU_TOPOLOGY"}


def test_nobody_says_how_the_chips_lie(server: Metadata, host: Path) -> None:
    server.values[TPU_ENV] = "garbage"
    tpu = probe(host).tpu
    assert tpu is not None and tpu.bounds == {}


def test_a_server_that_comes_up_late_is_waited_for(server: Metadata, host: Path) -> None:
    server.plan = [0, 503, 429]
    assert probe(host).worker_index == 2


def test_an_attribute_that_comes_late_is_waited_for(server: Metadata, host: Path) -> None:
    number = server.values.pop(NUMBER)
    server.values = _Late(server.values, NUMBER, number, after=2)
    assert probe(host).worker_index == 2


class _Late(dict[str, str]):
    """Has a value only after it was asked for a few times."""

    def __init__(self, values: dict[str, str], path: str, value: str, after: int) -> None:
        super().__init__(values)
        self._path, self._value, self._after = path, value, after

    def get(self, path: str, default: str | None = None) -> str | None:  # type: ignore[override]
        if path == self._path:
            self._after -= 1
            return self._value if self._after < 0 else None
        return super().get(path, default)


def test_a_server_that_is_never_there(monkeypatch: pytest.MonkeyPatch, host: Path) -> None:
    monkeypatch.setenv("GCE_METADATA_HOST", "127.0.0.1:1")
    with pytest.raises(
        ProbeError, match=r"only a metadata server can tell which: .*127\.0\.0\.1:1 does not answer"
    ):
        probe(host, 0.3)


def test_whoever_else_answers_is_not_believed(server: Metadata, host: Path) -> None:
    server.flavor = ""
    with pytest.raises(ProbeError, match="is no metadata server"):
        probe(host, 0.3)


def test_a_host_that_nobody_made(tmp_path: Path) -> None:
    with pytest.raises(ProbeError, match=r"host\.json: cannot read: .* no slice-facts\.json either"):
        probe(tmp_path)
