"""Words for reasons: the only place where the core writes sentences for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from iris_controller.core.entities import GroupPolicy
from iris_controller.core.states import JobState
from iris_controller.core.values import AcceleratorName, AttemptEnd, JobSpec, Now, Reason, Resources, Shape

# More of an unknown id than any real one has.
SHOWN_OF_ID = 80
_MINUTE_MS, _DAY_MS = 60_000, 24 * 3600 * 1_000


def state_word(state: JobState) -> str:
    """A job's state as events show it."""
    return state.name


def cpus(millis: int) -> str:
    """Thousandths of a core as people write them: `0.5`, `4`."""
    return f"{millis / 1000:g}"


def size(n_bytes: int) -> str:
    """Bytes as people write them: `8GiB`, `1.5MiB`."""
    value = float(n_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.4g}{unit}"
        value /= 1024
    return f"{value:.4g}TiB"


def shape_words(resources: Resources) -> str:
    """A request or an offer, such as `2 cpu, 8GiB memory`."""
    memory = f", {size(resources.memory_bytes)} memory" if resources.memory_bytes else ""
    return f"{cpus(resources.cpu_millis)} cpu{memory}"


def nearest_shape(shape: Shape, groups: Iterable[GroupPolicy]) -> str:
    """Why no group could ever run this, with the slice that comes nearest."""
    request = shape.resources
    asked = f"a task asks for {shape_words(request)}"
    if shape.slices > 1:
        asked = (
            f"a gang asks for {how_many(shape.share, 'task')} of {shape_words(request)}"
            f" on each of {shape.slices} slices"
        )
    elif shape.together > 1:
        asked = f"a gang asks for {shape.together} tasks of {shape_words(request)} on one slice"
    groups = list(groups)
    alike = [group for group in groups if group.accelerator == shape.accelerator]
    if groups and not alike:
        return _no_accelerator(shape.accelerator, groups)
    best = max(alike, key=lambda g: _nearness(shape, g), default=None)
    if best is None:
        return f"{asked}; the cluster has no scale group"
    offer = shape_words(best.host_resources)
    if shape.together > 1:
        offer = f"{how_many(best.hosts, 'host')} of {offer}"
    if shape.slices > 1:
        offer = f"{how_many(best.max_slices, 'slice')} with {offer}"
    return f"{asked}; the nearest that fits is {offer} (scale group {best.name})"


def _no_accelerator(accelerator: str, groups: Iterable[GroupPolicy]) -> str:
    """Why no group could ever run this, though some have slices of another kind."""
    kind, size = AcceleratorName.of(accelerator)
    others = [(AcceleratorName.of(group.accelerator), group) for group in groups if group.accelerator]
    if not others:
        return f"no scale group has {accelerator}, nor any other accelerator"
    # Of its own kind first; then by what its size is off by; of two, the larger.
    factor = [max(size, one.size, 1) / max(1, min(size, one.size)) for one, _ in others]
    near = min(
        range(len(others)),
        key=lambda i: (others[i][0].kind != kind, factor[i], -others[i][0].size, others[i][1].name),
    )
    group = others[near][1]
    if not accelerator:
        words = "work that asks for no accelerator goes only to cpu groups, and there is none"
        return f"{words}; ask for one: --accelerator {group.accelerator}"
    return f"no scale group has {accelerator}; the nearest is {group.accelerator} (scale group {group.name})"


def not_one_for_each(spec: JobSpec, hosts: int) -> str:
    """Why a job on accelerators has another number of tasks than its slices have hosts."""
    its, found = how_many(hosts, "host"), f"found {spec.replicas} tasks"
    if spec.slices == 1:
        return f"{spec.accelerator} has {its}, and a job on it a task for each; {found}"
    return (
        f"{spec.slices} slices of {spec.accelerator} have {its}, and a job on them a task for each; {found}"
    )


def wide_gang_waits(shape: Shape, where: str, slices: Mapping[str, int]) -> str:
    """What a gang over several slices waits for; `slices` says how many are there, coming and so on."""
    counts = ((count, words) for words, count in slices.items() if count and words)
    parts = [f"{count} {'is' if count == 1 else 'are'} {words}" for count, words in counts]
    has = f": {', '.join(parts)}" if parts else ""
    return f"waits for {shape.slices} slices of {where} at once{has}"


def in_line(slice_name: str, until_ms: int, limit_ms: int, now: Now) -> Reason:
    """Why nothing comes of a queued resource yet; `until_ms` (wall) is the end of its validity."""
    days = until_ms // _DAY_MS - now.wall_ms // _DAY_MS
    day = "" if days <= 0 else " tomorrow" if days == 1 else f" in {days} days"
    hour, minute = divmod(until_ms % _DAY_MS // _MINUTE_MS, 60)
    until = f"{hour:02}:{minute:02} UTC{day} ({duration(limit_ms)} at most)"
    return Reason("queued", f"slice {slice_name} waits in Google's queue until {until}")


def some_in_line(count: int) -> str:
    """That so many slices of a group are not being made yet."""
    return f"{how_many(count, 'slice')} {'waits' if count == 1 else 'wait'} in Google's queue"


def _nearness(shape: Shape, group: GroupPolicy) -> tuple[float, float, float]:
    """How much of the request is covered: of a task by a host, of its slices, of a gang by a slice.

    Of the first two at most all of it.
    """
    request, offer = shape.resources, group.host_resources
    cpu = offer.cpu_millis / request.cpu_millis if request.cpu_millis else 1.0
    memory = 1.0
    if request.memory_bytes and offer.memory_bytes:
        memory = offer.memory_bytes / request.memory_bytes
    one_task = min(1.0, cpu, memory)
    slices = min(1.0, group.max_slices / shape.slices)
    return one_task, slices if shape.slices > 1 else 1.0, min(cpu, memory) * group.hosts


def end_reason(end: AttemptEnd) -> Reason:
    """Why an attempt ended, in words even where its agent gave only a code."""
    if end.reason.message:
        return end.reason
    if end.signal is not None:
        return Reason(end.reason.code, f"ended by signal {end.signal}")
    if end.exit_code is not None:
        return Reason(end.reason.code, f"ended with exit code {end.exit_code}")
    return end.reason


def no_such_job(job_id: str) -> str:
    """What to say of an id that nobody gave; it may be anything, so not all of it is repeated."""
    return f"there is no job {job_id[:SHOWN_OF_ID]!r}; see `iris job list`"


def how_many(count: int, noun: str) -> str:
    """A count with its noun: `1 slice`, `3 slices`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def duration(ms: int) -> str:
    """Milliseconds as people say them: `450ms`, `12s`, `3m20s`, `2h5m`."""
    if ms < 1000:
        return f"{ms}ms"
    seconds = ms // 1000
    if seconds < 60:
        return f"{seconds}s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes}m{seconds}s" if seconds else f"{minutes}m"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m" if minutes else f"{hours}h"
