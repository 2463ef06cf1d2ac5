"""Small queues and rooms, drawn by hypothesis or written by hand."""

from hypothesis import strategies as st

from iris_controller.core.queue import PendingQueue, Turn
from iris_controller.core.scheduler import Placed, Room, room
from iris_controller.core.values import Place, Resources, Shape

Wish = tuple[int, Resources]
REQUESTS = st.builds(Resources, st.integers(0, 6).map(lambda n: n * 500), st.integers(0, 4))
# Memory 0 in an offer means that memory is not accounted.
OFFERS = st.builds(Resources, st.integers(0, 8).map(lambda n: n * 500), st.integers(0, 8))
WISHES = st.lists(st.tuples(st.integers(1, 5), REQUESTS), max_size=6)


def queue(*wishes: Wish) -> PendingQueue:
    """Jobs `j0`, `j1`, …: so many tasks with such a request each, in order of submission."""
    result = PendingQueue()
    for number, (tasks, request) in enumerate(wishes):
        result.add(Shape(request), Turn(number, f"j{number}"), range(tasks))
    return result


def rooms(*offers: Resources) -> list[Room]:
    return [room(Place("s", number), offer) for number, offer in enumerate(offers)]


def per_job(placed: list[Placed]) -> dict[str, int]:
    """How many tasks of each job were placed."""
    counts: dict[str, int] = {}
    for one in placed:
        counts[one.job_id] = counts.get(one.job_id, 0) + one.tasks
    return counts
