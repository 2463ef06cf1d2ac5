"""Zones in order, and what each kind of failure teaches: who waits, where, and for how long."""

import pytest

from iris_controller.core.entities import Standing
from iris_controller.core.values import Reason
from iris_controller.core.view import findings
from iris_platform.base import Failure, SliceCloudState, VmState
from tests.controller.worlds import Scene, cloud, creates, deletes, group, name_of, world, zones

A, B = "zone-a", "zone-b"


def asked(*groups: object, tasks: int = 1) -> Scene:
    """A cloud whose first slices are asked for."""
    w = world(*groups)  # type: ignore[arg-type]
    w.tick(60)
    w.submit(tasks=tasks)
    return w


def fails(w: Scene, name: str, failure: Failure, words: str = "no") -> list[str]:
    """A creation is turned down; where the next are asked for."""
    return zones(w.create_fails(name, failure, words))


class TestInOrder:
    def test_b14_demand_moves_to_the_next_zone_and_then_to_the_next_group_in_the_same_cycle(self) -> None:
        w = asked(cloud("a", priority=1), cloud("b", priority=2))
        assert zones(w.effects) == [A]
        assert fails(w, name_of(1, "a"), Failure.NO_CAPACITY) == [B]
        effects = w.create_fails(name_of(2, "a"), Failure.NO_CAPACITY)
        assert creates(effects) == [name_of(1, "b")]

    def test_b14_the_first_zone_is_tried_again_after_its_back_off(self) -> None:
        w = asked(cloud(at_most=9, cpu=1))
        fails(w, name_of(1, "tpu"), Failure.NO_CAPACITY)
        w.submit()
        assert zones(w.effects) == [B]
        w.seconds(5)
        w.submit()
        assert zones(w.effects) == [A]

    def test_b14_and_after_any_success_there(self) -> None:
        w = asked(cloud(at_most=9, cpu=1), tasks=2)
        first, second = w.slices
        fails(w, first, Failure.QUOTA)
        w.boots(second)
        assert w.world.standing("tpu", A) == Standing("tpu", A)
        w.submit()
        assert zones(w.effects) == [A]

    def test_what_was_turned_down_takes_no_room_and_is_deleted_all_the_same(self) -> None:
        w = asked(cloud(at_most=1))
        name = w.only
        effects = w.create_fails(name, Failure.NO_CAPACITY)
        assert (creates(effects), deletes(effects)) == ([name_of(2, "tpu")], [name])

    def test_what_may_have_been_made_by_an_earlier_call_takes_room_until_it_is_gone(self) -> None:
        w = asked(cloud(at_most=1))
        name = w.only
        w.create_fails(name, Failure.UNREACHABLE)
        assert creates(w.seconds(3)) != []
        assert creates(w.create_fails(name, Failure.NO_CAPACITY)) == []

    def test_a_paused_zone_is_passed_over(self) -> None:
        w = world(cloud())
        w.tick(60)
        w.shut_down(A)
        w.submit()
        assert zones(w.effects) == [B]

    def test_a_group_says_which_of_its_zones_are_stopped(self) -> None:
        w = world(cloud())
        w.tick(60)
        w.shut_down(A)
        words = "tpu asks for nothing in zone-a, which was stopped, until the next cluster start"
        assert w.world.availability["tpu"] == ("AVAILABLE", Reason("paused", words))
        w.shut_down(B)
        both = words.replace("zone-a, which was", "zone-a, zone-b, which were")
        assert w.world.availability["tpu"] == ("PAUSED", Reason("paused", both))

    def test_a_reason_names_the_zone_that_is_tried_first_again(self) -> None:
        w = asked(cloud("a"))
        fails(w, name_of(1, "a"), Failure.QUOTA, "over quota")
        fails(w, name_of(2, "a"), Failure.NO_CAPACITY, "none left")
        availability, why = w.world.availability["a"]
        assert (availability, why.code) == ("BACKOFF", "stockout")
        assert why.message == "a waits 5s after 1 failed in zone-b: none left; longer in zone-a (quota)"

    def test_zones_are_remembered_over_a_restart(self) -> None:
        w = asked(cloud("a"))
        fails(w, name_of(1, "a"), Failure.QUOTA)
        w.absent(name_of(1, "a"))
        w.absent(name_of(2, "a"))
        w.restart(down_s=1)
        assert [one.failures for one in (w.world.standing("a", A), w.world.standing("a", B))] == [1, 0]


class TestClasses:
    def test_many_that_were_asked_for_together_and_fail_together_are_one_failure(self) -> None:
        w = asked(cloud(at_most=9, cpu=1), tasks=5)
        for name in list(w.slices):
            fails(w, name, Failure.NO_CAPACITY)
        assert w.world.standing("tpu", A).failures == 1

    @pytest.mark.parametrize(
        ("other", "shares"),
        [
            (cloud("b", accelerator="v5litepod-16"), True),
            (cloud("b", accelerator="v5litepod-64"), True),
            (cloud("b", accelerator="v5litepod-4"), False),
            (cloud("b", accelerator="v5p-16"), False),
            (cloud("b", accelerator="v5litepod-16", project="other"), False),
            (cloud("b", accelerator="v5litepod-16", capacity="on_demand"), False),
            (cloud("b", accelerator="v5litepod-16", zone=B), False),
        ],
    )
    def test_a_quota_is_one_for_all_that_count_against_it(self, other: object, shares: bool) -> None:
        w = world(cloud("a", accelerator="v5litepod-16", at_least=1), other)  # type: ignore[arg-type]
        w.tick(60)
        w.create_fails(name_of(1, "a"), Failure.QUOTA)
        assert w.world.standing("b", A).failures == shares

    @pytest.mark.parametrize(
        ("failure", "at_once"),
        [
            (Failure.REFUSED, True),
            (Failure.PERMISSION, True),
            (Failure.QUOTA, False),
            (Failure.NO_CAPACITY, False),
        ],
    )
    def test_what_an_operator_may_have_mended_is_tried_at_once_after_a_start(
        self, failure: Failure, at_once: bool
    ) -> None:
        w = world(cloud(at_least=1, zone=A))
        w.tick(60)
        w.create_fails(w.only, failure)
        w.absent(name_of(1, "tpu"))
        assert w.world.availability["tpu"][0] in ("BACKOFF", "QUOTA_EXCEEDED")
        assert (creates(w.resume()) != []) == at_once
        # Where nothing was mended, it does not begin to wait anew.
        if at_once:
            (again,) = [name for name, state in w.slices.items() if state == "REQUESTING"]
            w.create_fails(again, failure)
            assert w.world.availability["tpu"][1].message.startswith("tpu waits 4m after 2 failed")

    def test_a_stockout_is_nobody_elses(self) -> None:
        w = world(cloud("a", accelerator="v5p-8", at_least=1), cloud("b", accelerator="v5p-8"))
        w.tick(60)
        w.create_fails(name_of(1, "a"), Failure.NO_CAPACITY)
        assert w.world.standing("b", A).failures == 0

    def test_a_permission_that_is_missing_is_missing_in_every_zone(self) -> None:
        w = asked(cloud("a"))
        assert fails(w, name_of(1, "a"), Failure.PERMISSION, "tpu.nodes.create is missing") == []
        assert w.world.availability["a"][1].code == "permission"

    def test_what_an_operator_has_to_mend_is_shown_although_the_next_zone_serves(self) -> None:
        w = asked(cloud("a"))
        assert fails(w, name_of(1, "a"), Failure.REFUSED, "no such type here") == [B]
        assert findings(w.world).notices == (
            "scale group a in zone-a: refused: no such type here; tried again in 2m",
        )

    def test_a_longer_wait_takes_the_place_of_a_shorter_one(self) -> None:
        w = asked(cloud(at_most=9, cpu=1, zone=A), tasks=2)
        first, second = w.slices
        fails(w, first, Failure.NO_CAPACITY)
        fails(w, second, Failure.QUOTA)
        assert w.world.standing("tpu", A).reason.code == "quota"

    def test_b34_when_the_provider_cannot_be_reached_nothing_is_learned(self) -> None:
        w = asked(cloud())
        name = w.only
        for _ in range(600):
            w.tick(1)
            w.create_fails(name, Failure.UNREACHABLE, "503")
        assert (w.slices, w.world.standings) == ({name: "REQUESTING"}, {})


class TestLater:
    """A creation that was accepted may fail later, and says why."""

    def test_b31_its_own_cause_decides_who_waits(self) -> None:
        w = asked(cloud("a"))
        name = w.only
        w.created(name)
        effects = w.shows(
            name,
            VmState.BOOTING,
            state=SliceCloudState.FAILED,
            detail="no capacity",
            failure=Failure.NO_CAPACITY,
        )
        assert deletes(effects) == [name]
        assert w.world.standing("a", A).reason == ("stockout", "no capacity")
        w.absent(name)
        assert [w.world.slices[one].zone for one in w.slices] == [B]

    def test_b31_a_quota_that_shows_only_at_the_end_waits_like_one_that_shows_at_once(self) -> None:
        w = asked(cloud("a", zone=A))
        w.shows(w.only, state=SliceCloudState.FAILED, failure=Failure.QUOTA)
        w.absent(w.only)
        assert w.world.availability["a"][0] == "QUOTA_EXCEEDED"

    def test_b19_five_quick_failures_lower_a_standing_and_the_group_recovers_without_a_restart(self) -> None:
        w = asked(cloud("a", zone=A))
        for _ in range(5):
            name = w.only
            w.shows(name, state=SliceCloudState.FAILED, failure=Failure.NO_CAPACITY)
            w.absent(name)
            w.seconds(90)
        assert w.world.standing("a", A).failures == 5
        w.boots(w.only)
        assert w.world.standing("a", A).failures == 0

    def test_b19_a_slice_that_worked_for_an_hour_and_is_preempted_does_not(self) -> None:
        w = asked(cloud("a"))
        w.boots(w.only)
        w.later(3600)
        w.preempts(w.only)
        assert w.world.standings == {}


class TestGroupsOfEveryProvider:
    def test_work_moves_from_a_cloud_to_hosts_at_hand(self) -> None:
        w = asked(cloud("a", zone=A, priority=1), group("here", priority=2))
        effects = w.create_fails(name_of(1, "a"), Failure.NO_CAPACITY)
        assert creates(effects) == [name_of(1, "here")]
