"""Adoption, the epoch, and a store that was lost or is older than it should be."""

from __future__ import annotations

from typing import Any

from iris_bootstrap.session.ledger import Ledger
from iris_controller.core import effects as fx
from iris_controller.core import events as e
from iris_controller.core import recovery, restore, slices, unknown, workers
from iris_controller.core.entities import Slice
from iris_controller.core.fleeting import Unknown
from iris_controller.core.values import Now
from iris_controller.core.world import World
from tests.simulation.machine import Memory
from tests.simulation.mutants.registry import Patch, breaks_a_rule

# -- the rows of the table KEEP/STOP ------------------------------------------------


def _answer(patch: Patch, reason: str, keep: bool) -> None:
    """Gives what is stopped for this reason another answer."""
    real = workers._settle

    def settle(world: World, seen: e.ObservedAttempt, *rest: Any) -> fx.Verdict:
        verdict = real(world, seen, *rest)
        return fx.Verdict(verdict.id, keep) if verdict.reason == reason else verdict

    patch.setattr(workers, "_settle", settle)


@breaks_a_rule(seed=39)
def what_is_newer_than_the_store_is_stopped(patch: Patch) -> None:
    real = workers._settle

    def settle(world: World, seen: e.ObservedAttempt, *rest: Any) -> fx.Verdict:
        task = world.tasks.get(seen.spec.id.task)
        current = task.attempt if task is not None else None
        if current is None or seen.spec.id.is_newer_than(current.id):
            return fx.Verdict(seen.spec.id, keep=False, reason="unknown")
        return real(world, seen, *rest)

    patch.setattr(workers, "_settle", settle)


@breaks_a_rule(seed=143)
def what_was_superseded_is_kept(patch: Patch) -> None:
    _answer(patch, "superseded", keep=True)


@breaks_a_rule(seed=1095)
def what_is_told_first_is_taken_over_first(patch: Patch) -> None:
    real = workers._settle

    def settle(world: World, seen: e.ObservedAttempt, newest: Any, *rest: Any) -> fx.Verdict:
        return real(world, seen, seen.spec.id, *rest)

    patch.setattr(workers, "_settle", settle)


@breaks_a_rule(seed=11)
def what_has_finished_is_kept(patch: Patch) -> None:
    _answer(patch, "finished", keep=True)


@breaks_a_rule(seed=39)
def what_runs_is_not_adopted(patch: Patch) -> None:
    def take_over(world: World, *arguments: Any) -> None:
        """Says KEEP, and goes on without it."""

    patch.setattr(workers, "_take_over", take_over)


@breaks_a_rule(seed=13)
def what_was_assigned_is_not_sent_again(patch: Patch) -> None:
    real = workers._note_unreported

    def note(world: World, event: e.AgentHello) -> None:
        real(world, event)
        world.sessions[event.session_id].start.clear()

    patch.setattr(workers, "_note_unreported", note)


@breaks_a_rule(seed=22)
def what_an_agent_forgot_runs_for_ever(patch: Patch) -> None:
    def believe(world: World, session: Any, now: Now) -> None:
        session.missing.clear()

    patch.setattr(workers, "_believe", believe)


# -- the epoch ----------------------------------------------------------------------


@breaks_a_rule(seed=23)
def the_epoch_stays_as_it_was(patch: Patch) -> None:
    real = Memory.begin

    def begin(self: Memory, wall_ms: int, highest_seen: int) -> int:
        before = self._store.get_meta("epoch")
        return before or real(self, wall_ms, highest_seen)

    patch.setattr(Memory, "begin", begin)


@breaks_a_rule(seed=17)
def agents_obey_any_epoch(patch: Patch) -> None:
    patch.setattr(Ledger, "highest_epoch", 0)


# -- incomplete memory ----------------------------------------------------------------


@breaks_a_rule(seed=573)
def the_mirror_is_not_looked_at(patch: Patch) -> None:
    patch.setattr(Memory, "_compare", lambda self, mirrored: "")


@breaks_a_rule(seed=75)
def recovery_holds_nothing(patch: Patch) -> None:
    def hold(world: World) -> None:
        """Holds nothing."""

    patch.setattr(recovery, "hold_jobs", hold)
    patch.setattr(restore, "hold_jobs", hold)


@breaks_a_rule(seed=75)
def recovery_ends_at_once(patch: Patch) -> None:
    patch.setattr(recovery, "awaited", lambda world: [])


@breaks_a_rule(seed=3)
def recovery_never_ends(patch: Patch) -> None:
    patch.setattr(recovery, "awaited", lambda world: ["Godot"])


# -- slices that nobody knows -------------------------------------------------------------


@breaks_a_rule(seed=182)
def live_slices_are_not_adopted(patch: Patch) -> None:
    def known(world: World, name: str, zone: str, now: Now) -> Slice | None:
        return world.slices.get(name)

    patch.setattr(slices, "known_or_adoptable", known)


@breaks_a_rule(seed=46)
def unknown_slices_are_deleted_at_first_sight(patch: Patch) -> None:
    patch.setattr(unknown, "_due_ms", lambda world, name, known: 0)


@breaks_a_rule(seed=9)
def one_list_is_enough_to_delete(patch: Patch) -> None:
    def stood(known: Unknown) -> bool:
        return True

    patch.setattr(unknown, "_stood", stood)


@breaks_a_rule(seed=72)
def any_number_of_unknown_slices_is_deleted(patch: Patch) -> None:
    patch.setattr(unknown, "_may_delete", lambda world: True)


@breaks_a_rule(seed=9)
def unknown_slices_are_never_deleted(patch: Patch) -> None:
    patch.setattr(unknown, "tick", lambda world, now: [])
