"""The store, commits, and what ends an attempt."""

from __future__ import annotations

from typing import Any

from iris_controller.core import attempts, leases, restore, slices, workers
from iris_controller.core import effects as fx
from iris_controller.core import events as e
from iris_controller.core.entities import Job, Slice
from iris_controller.core.states import GoneCause, WorkerState
from iris_controller.core.values import Now, Reason
from iris_controller.core.world import World
from tests.simulation import controller
from tests.simulation.controller import Controller
from tests.simulation.mutants.registry import Patch, breaks_a_rule

WHY = Reason("mutant", "a rule was broken on purpose")


# -- intent before action, and the store ------------------------------------------


@breaks_a_rule(seed=1)
def effects_leave_before_their_commit(patch: Patch) -> None:
    real = Controller._apply

    def apply(self: Controller, events: list[Any]) -> Any:
        batch = real(self, events)
        for effect in batch.effects:
            self._deliver(effect)
        batch.effects.clear()
        return batch

    patch.setattr(Controller, "_apply", apply)


@breaks_a_rule(seed=1)
def answers_leave_before_their_commit(patch: Patch) -> None:
    real = Controller._apply

    def apply(self: Controller, events: list[Any]) -> Any:
        batch = real(self, events)
        for reply, answer in batch.answers:
            reply(answer)
        batch.answers.clear()
        return batch

    patch.setattr(Controller, "_apply", apply)


@breaks_a_rule(seed=3)
def names_begin_anew_after_a_failed_commit(patch: Patch) -> None:
    real = restore.restore

    def forget_numbers(*arguments: Any) -> World:
        world = real(*arguments)
        world.slice_numbers.clear()
        return world

    patch.setattr(controller, "restore", forget_numbers)


@breaks_a_rule(seed=2)
def what_waits_is_not_restored(patch: Patch) -> None:
    def nothing(world: World, job: Job) -> None:
        """Queues nothing."""

    patch.setattr(restore, "_queue_waiting", nothing)


# -- fences ----------------------------------------------------------------------


@breaks_a_rule(seed=6)
def silence_is_a_fence(patch: Patch) -> None:
    real = leases.mark_silent

    def mark(world: World, now: Now) -> list[fx.Effect]:
        effects = real(world, now)
        for place, worker in world.workers.items():
            if worker.state is WorkerState.SUSPECT:
                for attempt_id in list(world.live.get(place, ())):
                    attempts.lose(world, attempt_id, WHY, now)
        return effects

    patch.setattr(leases, "mark_silent", mark)


@breaks_a_rule(seed=6)
def a_closed_session_is_a_fence(patch: Patch) -> None:
    real = workers.session_closed

    def closed(world: World, event: e.SessionClosed, now: Now) -> list[fx.Effect]:
        session = world.sessions.get(event.session_id)
        for attempt_id in list(world.live.get(session.place, ())) if session is not None else ():
            attempts.lose(world, attempt_id, WHY, now)
        return real(world, event, now)

    patch.setattr(workers, "session_closed", closed)


@breaks_a_rule(seed=11)
def deleting_is_a_fence(patch: Patch) -> None:
    real = slices.delete

    def delete(world: World, slice_: Slice, why: Reason, cause: GoneCause, now: Now) -> list[fx.Effect]:
        for attempt_id in list(world.live_on(slice_)):
            attempts.lose(world, attempt_id, why, now)
        return real(world, slice_, why, cause, now)

    patch.setattr(slices, "delete", delete)


@breaks_a_rule(seed=6)
def a_hello_alone_is_believed(patch: Patch) -> None:
    real = workers._note_unreported

    def note(world: World, event: e.AgentHello) -> None:
        real(world, event)
        workers._believe(world, world.sessions[event.session_id], Now(0, 0))

    patch.setattr(workers, "_note_unreported", note)
