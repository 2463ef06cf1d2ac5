"""What the metadata server says of a machine's end."""

from __future__ import annotations

import asyncio

import pytest

from iris_bootstrap.session import notices
from iris_bootstrap.session.notices import MAINTENANCE, PREEMPTED, Heard, hear_notices, notice_of
from iris_platform.metadata import MetadataServer
from tests.harness.metadata import Metadata, serve_metadata, tpu_vm

PATIENCE_S = 30.0


@pytest.mark.parametrize(
    ("path", "value", "kind", "left_s"),
    [
        (PREEMPTED, "TRUE", "preempted", 30.0),
        (MAINTENANCE, "TERMINATE_ON_HOST_MAINTENANCE", "maintenance", 60.0),
        (MAINTENANCE, "SHUTDOWN_ON_HOST_MAINTENANCE", "maintenance", 60.0),
    ],
)
def test_what_ends_a_machine(path: str, value: str, kind: str, left_s: float) -> None:
    heard = notice_of(path, value)
    assert heard is not None and (heard.kind, heard.left_s) == (kind, left_s)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (PREEMPTED, "FALSE"),
        (PREEMPTED, ""),
        (MAINTENANCE, "NONE"),
        (MAINTENANCE, "MIGRATE_ON_HOST_MAINTENANCE"),
    ],
)
def test_what_ends_none(path: str, value: str) -> None:
    assert notice_of(path, value) is None


def test_a_change_is_heard_when_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "TROUBLE_S", 0.05)
    # What is waited for at the end of the test.
    monkeypatch.setattr(notices, "WAIT_S", 5.0)

    async def test(told: Metadata) -> list[str]:
        heard = hear_notices(MetadataServer(told.environ()))
        first = asyncio.ensure_future(anext_of(heard))
        while len(told.asked) < 6:
            await asyncio.sleep(0.01)
        told.set(PREEMPTED, "TRUE")
        kinds = [(await asyncio.wait_for(first, PATIENCE_S)).kind]
        told.set(MAINTENANCE, "MIGRATE_ON_HOST_MAINTENANCE")
        told.set(MAINTENANCE, "TERMINATE_ON_HOST_MAINTENANCE")
        kinds.append((await asyncio.wait_for(anext_of(heard), PATIENCE_S)).kind)
        await heard.aclose()  # type: ignore[attr-defined]  # it is a generator
        return kinds

    with serve_metadata(tpu_vm()) as told:
        # A server that does not answer at first is asked again.
        told.plan = [503, 0]
        assert asyncio.run(test(told)) == ["preempted", "maintenance"]


def test_a_machine_that_is_to_go_already_says_so() -> None:
    async def test(told: Metadata) -> Heard:
        heard = hear_notices(MetadataServer(told.environ()))
        return await asyncio.wait_for(anext_of(heard), PATIENCE_S)

    with serve_metadata(tpu_vm() | {PREEMPTED: "TRUE"}) as told:
        assert asyncio.run(test(told)).kind == "preempted"


async def anext_of(heard: object) -> Heard:
    """`anext`, which Python 3.10 has, with a coroutine of its own for `ensure_future`."""
    found = await heard.__anext__()  # type: ignore[attr-defined]
    assert isinstance(found, Heard)
    return found
