"""A slice that nobody looks after deletes itself (B46)."""

from collections.abc import Iterator
from contextlib import suppress

import pytest

from iris_platform.metadata import MetadataServer
from iris_platform.self_deletion import OwnSlice, delete_own_slice, own_slice
from tests.harness.metadata import Metadata, TpuApi, serve_metadata, serve_tpu_api, tpu_vm

NODE = "projects/p/locations/z/nodes/s"
QUEUED = "projects/p/locations/z/queuedResources/s"


@pytest.fixture
def server() -> Iterator[Metadata]:
    with serve_metadata(tpu_vm(index=0, hosts=4)) as told:
        yield told


@pytest.fixture
def api() -> Iterator[TpuApi]:
    with serve_tpu_api(NODE, QUEUED) as api:
        yield api


class Enough(Exception):
    """The machine is gone."""


def deletion(server: Metadata, slice_: OwnSlice, pauses: int = 100) -> tuple[list[str], list[float]]:
    """What it said and how long it waited each time, until it ended or had waited so often."""
    said: list[str] = []
    paused: list[float] = []

    def pause(seconds: float) -> None:
        paused.append(seconds)
        if len(paused) == pauses:
            raise Enough

    with suppress(Enough):
        delete_own_slice(slice_, said.append, pause, MetadataServer(server.environ()))
    return said, paused


def test_the_queued_resource_goes_first_and_a_slice_that_is_gone_ends_it(
    server: Metadata, api: TpuApi
) -> None:
    said, paused = deletion(server, OwnSlice("p", "z", "s", api.url, queued=True))
    assert api.paths() == [f"/v2/{QUEUED}?force=true", f"/v2/{NODE}"] * 2
    assert said == ["s: the deletion was accepted", "s: there is no such slice"]
    assert paused == [60.0]


def test_a_slice_without_a_queued_resource(server: Metadata, api: TpuApi) -> None:
    deletion(server, OwnSlice("p", "z", "s", api.url, queued=False))
    assert api.paths() == [f"/v2/{NODE}"] * 2


def test_no_credentials_go_where_anybody_can_read_them(server: Metadata, api: TpuApi) -> None:
    deletion(server, OwnSlice("p", "z", "s", api.url, queued=True))
    assert {sent for _, sent in api.asked} == {None}
    assert not any("token" in path for path in server.asked)


@pytest.mark.parametrize(("number", "delay_s"), [("1", 10.0), ("3", 30.0), ("4", 40.0), ("63", 40.0)])
def test_others_leave_it_to_worker_0(server: Metadata, api: TpuApi, number: str, delay_s: float) -> None:
    server.values["instance/attributes/agent-worker-number"] = number
    api.there.clear()
    said, paused = deletion(server, OwnSlice("p", "z", "s", api.url, queued=True))
    assert (said, paused) == (["s: there is no such slice"], [delay_s])


@pytest.mark.parametrize("number", ["", "x", None])
def test_one_that_does_not_know_its_number_is_not_worker_0(
    server: Metadata, api: TpuApi, number: str | None
) -> None:
    del server.values["instance/attributes/agent-worker-number"]
    if number is not None:
        server.values["instance/attributes/agent-worker-number"] = number
    assert deletion(server, OwnSlice("p", "z", "s", api.url, queued=True))[1] == [40.0, 60.0]


def test_what_fails_is_tried_again_ever_more_slowly(server: Metadata, api: TpuApi) -> None:
    api.plan = [503, 0, 409, 500, 429, 503]
    said, paused = deletion(server, OwnSlice("p", "z", "s", api.url, queued=False), pauses=6)
    assert paused == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]
    assert said[0] == "s: it could not be asked for: HTTP status 503: planned"


def test_half_of_it_that_failed_is_not_done(server: Metadata, api: TpuApi) -> None:
    api.plan = [200, 503]
    said, _ = deletion(server, OwnSlice("p", "z", "s", api.url, queued=True))
    assert said[0].startswith("s: it could not be asked for")
    assert api.there == set()


def test_where_it_is_not_allowed_it_says_so_once_and_asks_rarely(server: Metadata, api: TpuApi) -> None:
    api.plan = [403, 403, 403]
    said, paused = deletion(server, OwnSlice("p", "z", "s", api.url, queued=False), pauses=3)
    assert paused == [600.0] * 3
    assert len(said) == 1
    assert "it is not allowed: HTTP status 403" in said[0]
    assert "give the slice's service account tpu.nodes.delete" in said[0]


def test_a_machine_without_a_service_account_says_so(server: Metadata) -> None:
    del server.values["instance/service-accounts/default/token"]
    said, paused = deletion(server, OwnSlice("p", "z", "s", "https://127.0.0.1:1", queued=False), pauses=1)
    assert "service account has no access token" in said[0]
    assert paused == [5.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"project": ""}, "project: expected a non-empty string, found ''"),
        ({"zone": None}, "zone: expected a non-empty string, found None"),
        ({"endpoint": "tpu.googleapis.com"}, "endpoint: expected https://HOST"),
        ({"queued": "yes"}, "queued: expected true or false, found 'yes'"),
    ],
)
def test_facts_that_do_not_say_which_slice(change: dict[str, object], message: str) -> None:
    facts = {"project": "p", "zone": "z", "slice_name": "s", "endpoint": "https://t", "queued": True}
    assert own_slice(facts) == OwnSlice("p", "z", "s", "https://t", queued=True)
    with pytest.raises(ValueError, match=message):
        own_slice(facts | change)
