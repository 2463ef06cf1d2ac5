"""What hosts whose start failed leave with Google."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from google.cloud import tpu_v2

from iris_platform.base import HOST_LOG_BYTES, NotOurs, PlatformError, Refused, Unreachable
from iris_platform.bootstrap.host.outcome import Failure
from iris_platform.bootstrap.host.report import report_failure
from iris_platform.gcp.client import TpuApi
from iris_platform.gcp.slices import TpuSlices
from tests.platform.gcp.clouds import CloudWorld
from tests.platform.gcp.made import IDENTITY, NAME, OTHER, PROJECT, WHERE, ZONE, labels, node, queued


@dataclass
class Left:
    """The words of each host, and what there is of nodes and queued resources."""

    nodes: list[tpu_v2.Node]
    words: dict[tuple[str, int], str] = field(default_factory=dict)
    error: PlatformError | None = None
    queued: tpu_v2.QueuedResource | None = None


class Api(TpuApi):
    """Google's answers, without Google."""

    def __init__(self, left: Left) -> None:
        super().__init__("http://127.0.0.1:9", PROJECT)
        self._left = left

    def get_queued(self, zone: str, name: str) -> tpu_v2.QueuedResource | None:
        return self._left.queued

    def get_node(self, zone: str, name: str) -> tpu_v2.Node | None:
        return next((node for node in self._left.nodes if node.name.endswith(f"/{name}")), None)

    def guest_attributes(
        self, request: tpu_v2.GetGuestAttributesRequest
    ) -> tpu_v2.GetGuestAttributesResponse | None:
        if self._left.error is not None:
            raise self._left.error
        assert request.query_path == "iris/"
        (worker,) = request.worker_ids
        words = self._left.words.get((request.name.rpartition("/")[2], int(worker)))
        if words is None:
            return None
        items = [
            {"namespace": "iris", "key": "other", "value": "x"},
            {"namespace": "iris", "key": "bootstrap-log", "value": words},
        ]
        return tpu_v2.GetGuestAttributesResponse(guest_attributes=[{"query_value": {"items": items}}])


def slices(left: Left) -> TpuSlices:
    return TpuSlices(Api(left), IDENTITY, lambda: 0)


def test_the_last_words_of_a_host() -> None:
    left = Left([node()], {(NAME, 1): "x" * HOST_LOG_BYTES + "\nthe last\nwords\n"})
    log = slices(left).host_log(NAME, 1, ZONE)
    assert (log.address, log.text) == ("10.0.0.2", "the last\nwords\n")


def test_a_host_of_a_multislice_request() -> None:
    of_it: dict[str, Any] = {"queued_resource": f"{WHERE}/queuedResources/{NAME}", "multislice_node": True}
    nodes = [node(f"{NAME}-{number}", slice_=NAME, **of_it) for number in range(2)]
    asked = {"multislice_params": {"node_count": 2}, "node": {"labels": labels()}}
    request = queued(tpu={"node_spec": [asked]})
    left = Left(nodes, {(f"{NAME}-1", 0): "no network\n"}, queued=request)
    assert slices(left).host_log(NAME, 2, ZONE).text == "no network\n"


@pytest.mark.parametrize(
    ("name", "index", "words"),
    [
        (NAME, 0, "left nothing: only one whose start failed leaves its log with Google"),
        (NAME, 2, "has no host 2"),
        (NAME, -1, "has no host -1"),
        (f"{NAME}0", 0, f"there is no slice {NAME}0 in zone {ZONE}"),
        ("..", 0, "there is no slice .. in zone"),
    ],
)
def test_what_is_not_to_be_had(name: str, index: int, words: str) -> None:
    with pytest.raises(Refused, match=words):
        slices(Left([node()])).host_log(name, index, ZONE)


def test_whose_host_it_is() -> None:
    with pytest.raises(NotOurs):
        slices(Left([node(labels=labels(NAME, OTHER))])).host_log(NAME, 0, ZONE)


def test_a_look_that_fails_is_not_silence() -> None:
    with pytest.raises(Unreachable):
        slices(Left([node()], error=Unreachable("no answer"))).host_log(NAME, 0, ZONE)


def test_what_a_machine_writes_is_what_is_read(world: CloudWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """The words of the startup script, by way of the machine's own metadata server."""
    platform = world.platform()
    platform.create_slice(world.spec(NAME, hosts=2))
    (vm,) = (vm for vm in world.control.vms(NAME) if vm.index == 1)
    monkeypatch.setenv("GCE_METADATA_HOST", world.server.serve_metadata(vm.key))
    report_failure(Failure("bundle", "no way to the controller", 4, log_tail="first\nlast\n"))
    log = platform.host_log(NAME, 1)
    assert log.address == vm.address
    assert "no way to the controller" in log.text and log.text.endswith("first\nlast\n")
    with pytest.raises(Refused, match="left nothing"):
        platform.host_log(NAME, 0)
