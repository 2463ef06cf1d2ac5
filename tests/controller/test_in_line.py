"""Requests that a provider has not served yet: people are told that they wait, and until when."""

from dataclasses import replace
from datetime import datetime, timezone

from iris_controller.codec import views
from iris_controller.core.explain import in_line
from iris_controller.core.overdue import DAY_MS
from iris_controller.core.values import Now, Reason
from iris_controller.core.view import view_of
from iris_platform.base import SliceCloudState, VmState
from tests.controller.agents import spec
from tests.controller.worlds import Scene, cloud, creates, info, world

ZONE = "zone-a"


def asked(tasks: int = 1, slices: int = 1, at_most: int = 1) -> Scene:
    """A job whose slices stand in a line for up to two hours; its provider lists them so."""
    w = world(cloud(zone=ZONE, queued_s=7200, cpu=1, at_most=at_most))
    w.tick(600)
    w.submit_spec(replace(spec(tasks, gang=tasks > 1), slices=slices))
    for name in creates(w.effects):
        w.created(name)
    w.lists(*(info(name, [], SliceCloudState.CREATING) for name in w.slices), provider="tpu", zone=ZONE)
    w.tick(10)
    return w


def why(w: Scene) -> Reason:
    view = view_of(w.world)
    job_id = next(iter(view.jobs))
    return view.why_waits(view.jobs[job_id], view.statuses[job_id])


def shown(w: Scene) -> Reason:
    """What `iris slice list` says of the only slice."""
    row = views.slice_(view_of(w.world), w.world.slices[w.only])
    return Reason(row.reason, row.message)


def test_a_job_and_its_slice_say_that_they_wait_and_until_when() -> None:
    w = asked()
    asked_ms = w.world.slices[w.only].requested_ms
    until = datetime.fromtimestamp(asked_ms / 1000 + 7200, timezone.utc).strftime("%H:%M UTC")
    words = f"slice {w.only} waits in Google's queue until {until}"
    code, said = why(w)
    assert (code, said.replace(" tomorrow", "")) == ("queued", f"{words} (2h at most)")
    assert shown(w) == why(w)


def test_once_it_is_served_it_starts() -> None:
    w = asked()
    served = info(w.only, [VmState.BOOTING], SliceCloudState.CREATING)
    w.lists(served, provider="tpu", zone=ZONE)
    assert why(w) == Reason("starting", f"slice {w.only} is starting")
    assert shown(w).code == "demand"


def test_a_group_says_how_many_of_its_slices_wait() -> None:
    words = "1 slice waits in Google's queue"
    full = Reason("at_max_slices", f"tpu has all of its 1 slice; {words}")
    assert asked().world.availability["tpu"] == ("AT_MAX_SLICES", full)
    assert asked(at_most=2).world.availability["tpu"] == ("REQUESTING", Reason("queued", words))


def test_a_gang_over_several_slices_says_how_many_of_them_wait() -> None:
    w = asked(tasks=2, slices=2, at_most=3)
    assert why(w) == Reason("queued", "waits for 2 slices of tpu at once: 2 are in Google's queue")


def test_a_wait_of_days_says_on_which_day_it_ends() -> None:
    noon = Now(0, 20_000 * DAY_MS + DAY_MS // 2)
    for days, words in ((0, ""), (1, " tomorrow"), (10, " in 10 days")):
        said = in_line("s-1", noon.wall_ms + days * DAY_MS + 59_999, days * DAY_MS, noon).message
        assert f"until 12:00 UTC{words} (" in said
