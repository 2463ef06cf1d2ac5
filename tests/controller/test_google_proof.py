"""A cloud's machine proves its place: Google's token, and the address of exactly that host."""

import asyncio
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from iris_controller.core.values import Place
from iris_controller.shell import google_proof
from iris_controller.shell.google_proof import GoogleProof, TpuGroup, Where
from iris_controller.shell.tokens import Denied
from iris_platform.base import Unreachable
from tests.controller.google import (
    ACCOUNT,
    PROJECT,
    ZONE,
    Certificates,
    Key,
    Provider,
    serve_certificates,
)
from tests.controller.worlds import CLUSTER_ID

KEY = Key("one")
OTHER_KEY = Key("two")
HOSTS = tuple(frozenset({f"10.0.0.{index + 1}", f"34.1.1.{index + 1}"}) for index in range(4))
OTHERS = tuple(frozenset({f"10.0.1.{index + 1}"}) for index in range(4))


@dataclass
class Door:
    """A proof with everything that it asks."""

    provider: Provider
    certificates: Certificates
    now_s: float = 1000.0
    account: str = ""

    def __post_init__(self) -> None:
        self.proof = self.make()

    def make(self) -> GoogleProof:
        group = TpuGroup(PROJECT, self.account, self.provider)
        slices = {"a": Where("tpu", ZONE), "b": Where("tpu", ZONE), "here": Where("local", "local")}
        return GoogleProof(self.certificates.url, CLUSTER_ID, {"tpu": group}, slices.get, lambda: self.now_s)

    async def check(
        self, token: str, slice_name: str = "a", index: int = 2, source: str = "10.0.0.3"
    ) -> None:
        await self.proof.check(token, Place(slice_name, index), source)

    def checks(self, token: str, *place: Any) -> None:
        # It is of one event loop.
        self.proof = self.make()
        asyncio.run(self.check(token, *place))


@pytest.fixture
def door() -> Iterator[Door]:
    with serve_certificates(KEY) as certificates:
        yield Door(Provider({"a": HOSTS, "b": OTHERS}), certificates)


@pytest.mark.parametrize("source", ["10.0.0.3", "34.1.1.3", "::ffff:10.0.0.3"])
def test_a_machine_at_its_own_address_joins(door: Door, source: str) -> None:
    door.checks(KEY.token(), "a", 2, source)
    assert door.provider.asked == [("a", ZONE)]


@pytest.mark.parametrize(
    ("token", "words"),
    [
        (KEY.token(aud="another"), "is for 'another', not for this cluster"),
        (KEY.token(iss="https://accounts.example.com"), "issued by 'https://accounts.example.com', not by G"),
        (
            KEY.token(iat=int(time.time()) - 7200, exp=int(time.time()) - 3600),
            "cannot be used: Token expired",
        ),
        (KEY.token(iat=int(time.time()) + 3600), "cannot be used: Token used too early"),
        (KEY.token(exp=None), "not signed by Google"),
        (KEY.token({"project_id": "theirs"}), "of project theirs, not of the group's my-project"),
        (KEY.token({"zone": "us-east1-d"}), "in zone us-east1-d, not in us-central2-b"),
        (KEY.token(google=None), "format=full"),
        (KEY.token(email=None), "format=full"),
        (KEY.token(email_verified=False), "format=full"),
        (OTHER_KEY.token(), "a key that Google does not publish"),
        (KEY.token()[:-8] + "AAAAAAAA", "not signed by Google"),
        (KEY.token().rsplit(".", 1)[0] + ".", "not signed by Google"),
        ("not a token", "no identity token"),
        ("", "no identity token"),
        ("a.b.c", "no identity token"),
        ("eyJhbGciOiJub25lIn0.e30.", "expected RS256 and a key's id"),
    ],
)
def test_a_token_that_is_none_is_refused(door: Door, token: str, words: str) -> None:
    with pytest.raises(Denied, match=words) as caught:
        door.checks(token)
    assert token[:20] not in str(caught.value) or not token
    assert door.provider.asked == []


def test_a_key_of_ours_under_googles_name_signs_nothing(door: Door) -> None:
    with pytest.raises(Denied, match="not signed by Google"):
        door.checks(Key("one").token())


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (("a", 1, "10.0.0.3"), "a/1 is at 10.0.0.2, 34.1.1.2, and this came from 10.0.0.3"),
        (("b", 2, "10.0.0.3"), "b/2 is at 10.0.1.3, and this came from 10.0.0.3"),
        # The same token, copied to a machine of somebody else's.
        (("a", 2, "10.9.9.9"), "a/2 is at 10.0.0.3, 34.1.1.3, and this came from 10.9.9.9"),
        (("here", 0, "10.0.0.3"), "here is not of Google's machines"),
        (("gone", 0, "10.0.0.3"), "gone is not of Google's machines"),
    ],
)
def test_another_place_than_the_machines_own_is_refused(
    door: Door, place: tuple[str, int, str], words: str
) -> None:
    with pytest.raises(Denied, match=words):
        door.checks(KEY.token(), *place)


def test_where_an_account_is_named_it_has_to_be_that_one(door: Door) -> None:
    door.account = "trainer@my-project.iam.gserviceaccount.com"
    with pytest.raises(Denied, match=f"acts as {ACCOUNT}, not as the group's trainer@"):
        door.checks(KEY.token())
    # Nobody else's machine can have it, whatever Google calls the project that it is in.
    door.checks(KEY.token({"project_id": "a-project-of-googles"}, email=door.account))


@pytest.mark.parametrize("hosts", [(), HOSTS[:2], (frozenset({"10.0.0.1"}), *(frozenset[str](),) * 3)])
def test_a_host_whose_address_is_not_known_yet_may_try_again(
    door: Door, hosts: tuple[frozenset[str], ...]
) -> None:
    door.provider.slices["a"] = hosts
    with pytest.raises(Unreachable, match="a/2: its provider does not say yet where that host is"):
        door.checks(KEY.token())


def test_an_address_that_was_given_since_is_asked_for(door: Door) -> None:
    async def test() -> None:
        door.provider.slices["a"] = HOSTS[:2]
        await door.check(KEY.token(), "a", 0, "10.0.0.1")
        door.provider.slices["a"] = HOSTS
        with pytest.raises(Unreachable):
            await door.check(KEY.token())
        # Not for every request: a second look only at what may have changed.
        assert len(door.provider.asked) == 1
        door.now_s += google_proof.FRESH_S
        await door.check(KEY.token())
        assert len(door.provider.asked) == 2

    asyncio.run(test())


def test_hosts_that_boot_together_are_one_question(door: Door) -> None:
    door.provider.gate = threading.Event()
    door.provider.slices["a"] = tuple(frozenset({f"10.0.0.{index}"}) for index in range(64))

    async def test() -> None:
        assert door.provider.gate is not None
        joining = [
            asyncio.create_task(door.check(KEY.token(), "a", index, f"10.0.0.{index}")) for index in range(64)
        ]
        while not door.provider.asked:
            await asyncio.sleep(0)
        door.provider.gate.set()
        await asyncio.gather(*joining)

    asyncio.run(test())
    assert (len(door.provider.asked), door.certificates.asked) == (1, 1)


def test_hosts_that_boot_minutes_apart_are_one_question_too(door: Door) -> None:
    async def test() -> None:
        for index in range(4):
            await door.check(KEY.token(), "a", index, f"10.0.0.{index + 1}")
            door.now_s += 120.0
        assert len(door.provider.asked) == 1
        # Nobody gets in by what was: where another is now, that is asked.
        with pytest.raises(Denied):
            await door.check(KEY.token(), "a", 0, "10.0.0.9")
        assert len(door.provider.asked) == 2

    asyncio.run(test())


def test_a_platform_that_cannot_be_asked_denies_nobody(door: Door) -> None:
    async def test() -> None:
        door.provider.problem = Unreachable("the TPU API does not answer")
        with pytest.raises(Unreachable, match="does not answer"):
            await door.check(KEY.token())
        door.provider.problem = None
        door.now_s += 2.0
        await door.check(KEY.token())

    asyncio.run(test())


def test_a_platform_that_hangs_has_a_deadline(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(google_proof, "LOOK_S", 0.2)
    door.provider.gate = threading.Event()
    try:
        with pytest.raises(Unreachable, match=r"no answer within 0\.2 s"):
            door.checks(KEY.token())
    finally:
        door.provider.gate.set()


@pytest.mark.parametrize("status", [500, 404])
def test_certificates_that_cannot_be_had_deny_nobody(door: Door, status: int) -> None:
    async def test() -> None:
        door.certificates.plan = [status]
        with pytest.raises(Unreachable, match=r"certificates at .* cannot be had: HTTP status"):
            await door.check(KEY.token())
        door.now_s += 2.0
        await door.check(KEY.token())
        await door.check(KEY.token())
        assert door.certificates.asked == 2

    asyncio.run(test())


def test_a_server_of_certificates_that_is_down_denies_nobody(door: Door) -> None:
    door.certificates.url = "http://127.0.0.1:1"
    with pytest.raises(Unreachable, match=r"certificates at http://127\.0\.0\.1:1 cannot be had"):
        door.checks(KEY.token())


def test_keys_rotate(door: Door) -> None:
    async def test() -> None:
        await door.check(KEY.token())
        door.certificates.keys = [OTHER_KEY]
        with pytest.raises(Denied, match="does not publish"):
            await door.check(OTHER_KEY.token())
        assert door.certificates.asked == 1
        door.now_s += 10.0
        await door.check(OTHER_KEY.token())
        assert door.certificates.asked == 2
        # One that was withdrawn is good no more.
        with pytest.raises(Denied, match="does not publish"):
            await door.check(KEY.token())

    asyncio.run(test())


@pytest.mark.parametrize(("max_age_s", "kept_s"), [(0, 60.0), (3600, 3600.0), (10**8, 86_400.0)])
def test_certificates_are_kept_for_as_long_as_google_says_within_bounds(
    door: Door, max_age_s: int, kept_s: float
) -> None:
    async def test() -> None:
        door.certificates.max_age_s = max_age_s
        await door.check(KEY.token())
        door.now_s += kept_s - 1.0
        await door.check(KEY.token())
        assert door.certificates.asked == 1
        door.now_s += 2.0
        await door.check(KEY.token())
        assert door.certificates.asked == 2

    asyncio.run(test())
