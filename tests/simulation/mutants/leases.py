"""Leases, silence, stalls of our own, and machines without a controller."""

from __future__ import annotations

from dataclasses import replace

from iris_bootstrap.session import outputs as out
from iris_bootstrap.session.ledger import Ledger
from iris_controller.core import attempts, leases, slices
from iris_controller.core import effects as fx
from iris_controller.core.entities import GroupPolicy, Slice
from iris_controller.core.states import GoneCause
from iris_controller.core.values import Now, Reason
from iris_controller.core.world import World
from tests.simulation.keeper import Keeper
from tests.simulation.mutants.registry import Patch, breaks_a_rule

WHY = Reason("silent", "a rule was broken on purpose")


# -- the controller's side ----------------------------------------------------------


@breaks_a_rule(seed=7)
def the_lease_has_no_margin(patch: Patch) -> None:
    patch.setattr(leases, "lease_over_ms", lambda task_lease_ms: task_lease_ms)


@breaks_a_rule(seed=175)
def a_lease_is_a_fence_on_clouds_too(patch: Patch) -> None:
    def expire(world: World, slice_: Slice, group: GroupPolicy, silent_ms: int, now: Now) -> list[fx.Effect]:
        for place in world.places(slice_):
            if leases.has_expired(world, place, now):
                for attempt_id in list(world.live.get(place, ())):
                    attempts.lose(world, attempt_id, WHY, now)
        return slices.condemn(world, slice_, WHY, GoneCause.FAILED, now)

    patch.setattr(leases, "_expire", expire)


@breaks_a_rule(seed=82)
def suspicion_is_a_fence(patch: Patch) -> None:
    real = leases._delete

    def delete(world: World, slice_: Slice, silent_ms: int, now: Now) -> list[fx.Effect]:
        for attempt_id in list(world.live_on(slice_)):
            attempts.lose(world, attempt_id, WHY, now)
        return real(world, slice_, silent_ms, now)

    patch.setattr(leases, "_delete", delete)


@breaks_a_rule(seed=175)
def silence_is_never_judged(patch: Patch) -> None:
    patch.setattr(leases, "_fence", lambda world, suspects, now: [])


@breaks_a_rule(seed=47)
def a_stall_goes_unnoticed(patch: Patch) -> None:
    def note(world: World, now: Now) -> None:
        world.clocks.ticked = now.boot_ms

    patch.setattr(leases, "note_stall", note)


@breaks_a_rule(seed=44)
def our_own_start_is_no_excuse(patch: Patch) -> None:
    def suspicious(world: World, group: GroupPolicy, silent_ms: int, now: Now) -> bool:
        return group.fence_after_ms is not None and silent_ms > group.fence_after_ms

    patch.setattr(leases, "_is_suspicious", suspicious)


@breaks_a_rule(seed=133)
def any_number_is_suspected_at_once(patch: Patch) -> None:
    patch.setattr(leases, "_count_suspects", lambda world, suspects: 0)


@breaks_a_rule(seed=133)
def suspects_count_one_by_one(patch: Patch) -> None:
    def count(world: World, suspects: dict[str, int]) -> int:
        due = 0
        for name, silent_ms in suspects.items():
            group = world.group(world.slices[name])
            fence_ms = group.fence_after_ms if group is not None else None
            due += fence_ms is not None and fence_ms < silent_ms <= fence_ms + 1_000
        return due

    patch.setattr(leases, "_count_suspects", count)


# -- the agent's side --------------------------------------------------------------------


@breaks_a_rule(seed=7)
def orphans_stay(patch: Patch) -> None:
    real = Ledger._lease_from

    def lease_from(self: Ledger, sent_s: float) -> out.SetLease:
        return replace(real(self, sent_s), orphan_timeout_s=1e6)

    patch.setattr(Ledger, "_lease_from", lease_from)


@breaks_a_rule(seed=17706)
def a_keepers_start_counts_as_a_word_of_the_controller(patch: Patch) -> None:
    real = Keeper.begin

    def begin(self: Keeper, boot_id: str) -> None:
        real(self, boot_id)
        self._busy_until_ms = self._time.now_ms

    patch.setattr(Keeper, "begin", begin)


@breaks_a_rule(seed=79)
def a_lease_is_longer_than_the_controller_says(patch: Patch) -> None:
    real = Ledger._lease_from

    def lease_from(self: Ledger, sent_s: float) -> out.SetLease:
        lease = real(self, sent_s)
        return replace(lease, deadline_s=lease.deadline_s + lease.lease_s)

    patch.setattr(Ledger, "_lease_from", lease_from)
