"""Zones and what they taught, the pace of calls, lines to wait in, and accelerators."""

from __future__ import annotations

from collections.abc import Sequence

from iris_controller.core import calls, slices
from iris_controller.core.buckets import MINUTE_MS, loose
from iris_controller.core.entities import Slice
from iris_controller.core.scheduler import _Floor
from iris_controller.core.values import Now, Shape
from iris_controller.core.world import World
from tests.simulation.mutants.registry import Patch, breaks_a_rule


@breaks_a_rule(seed=0)
def a_failure_teaches_nothing(patch: Patch) -> None:
    patch.setattr(slices, "note_failure", lambda world, slice_, why, now: None)


@breaks_a_rule(seed=8)
def a_project_has_as_much_at_once_as_in_a_minute(patch: Patch) -> None:
    patch.setattr(calls, "strict", loose)


@breaks_a_rule(seed=29)
def a_start_may_ask_for_as_much_as_if_nothing_was_asked_before(patch: Patch) -> None:
    real = calls.open_accounts

    def open_accounts(world: World, now: Now) -> None:
        real(world, now)
        for bucket in world.asked.creating.values():
            bucket.parts = bucket.burst * MINUTE_MS

    patch.setattr("iris_controller.core.restore.open_accounts", open_accounts)


@breaks_a_rule(seed=145)
def a_deletion_that_was_accepted_is_never_asked_for_again(patch: Patch) -> None:
    real = calls.is_due

    def is_due(world: World, slice_: Slice, now: Now) -> bool:
        return slice_.name not in world.asked.let_go and real(world, slice_, now)

    patch.setattr(calls, "is_due", is_due)


@breaks_a_rule(seed=0)
def what_waits_in_a_line_has_its_time_to_boot(patch: Patch) -> None:
    def time_limit_ms(world: World, slice_: Slice) -> int:
        group = world.group(slice_)
        return group.boot_timeout_ms if group is not None else 0

    patch.setattr(slices, "time_limit_ms", time_limit_ms)


@breaks_a_rule(seed=1)
def work_goes_onto_any_host(patch: Patch) -> None:
    def stops(self: _Floor, accelerator: str) -> Sequence[int]:
        return range(len(self.rooms))

    patch.setattr(_Floor, "stops", stops)


@breaks_a_rule(seed=1)
def a_tpu_host_is_shared(patch: Patch) -> None:
    real = _Floor.how_many

    def how_many(self: _Floor, here: int, shape: Shape, most: int) -> int:
        return real(self, here, shape._replace(accelerator=""), most)

    patch.setattr(_Floor, "how_many", how_many)
