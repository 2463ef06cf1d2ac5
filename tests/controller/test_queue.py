"""The queue of waiting tasks: by shape, then submission, then index; what comes back comes first."""

from hypothesis import given
from hypothesis import strategies as st

from iris_controller.core.queue import PendingQueue, Turn
from iris_controller.core.values import Resources, Shape, TaskId
from tests.controller.drawn import quick

SHAPES = [Shape(Resources(1000)), Shape(Resources(2000))]


def test_jobs_of_one_shape_queue_together_in_order_of_submission() -> None:
    queue = PendingQueue()
    for order in (3, 1, 2):
        queue.add(SHAPES[0], Turn(order, f"j{order}"), range(order))
    assert queue.turns == {SHAPES[0]: [Turn(1, "j1"), Turn(2, "j2"), Turn(3, "j3")]}
    assert (len(queue), list(queue.waiting("j3"))) == (6, [0, 1, 2])


def test_a_task_that_comes_back_goes_before_the_others_of_its_job() -> None:
    queue = PendingQueue()
    queue.add(SHAPES[0], Turn(1, "j"), range(3))
    queue.remove(SHAPES[0], Turn(1, "j"), TaskId("j", 0))
    queue.add(SHAPES[0], Turn(1, "j"), (0,))
    assert list(queue.waiting("j")) == [0, 1, 2]


def test_a_gangs_members_stand_in_their_order_whoever_waited_before() -> None:
    """Their order says which slice and which of its hosts each is on."""
    queue, gang = PendingQueue(), Shape(Resources(1000), 6, "v5litepod-16", 2)
    # An older store knew of no attempt of these.
    queue.add(gang, Turn(1, "j"), (1, 4))
    for index in (5, 3, 2, 0):
        queue.add(gang, Turn(1, "j"), (index,))
    assert (list(queue.waiting("j")), len(queue)) == ([0, 1, 2, 3, 4, 5], 6)


def test_an_empty_queue_knows_no_shape() -> None:
    queue = PendingQueue()
    queue.add(SHAPES[0], Turn(1, "j"), (7,))
    queue.remove(SHAPES[0], Turn(1, "j"), TaskId("j", 7))
    assert (bool(queue), len(queue), queue.turns, queue.waiting("j")) == (False, 0, {}, ())


@quick
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), max_size=40))
def test_it_agrees_with_a_naive_set(toggles: list[tuple[int, int]]) -> None:
    """Each toggle adds a task that is not waiting, or removes one that is."""
    queue, model = PendingQueue(), set[tuple[int, int]]()
    for job, index in toggles:
        shape, turn = SHAPES[job % 2], Turn(job, f"j{job}")
        if (job, index) in model:
            model.remove((job, index))
            queue.remove(shape, turn, TaskId(turn.job_id, index))
        else:
            model.add((job, index))
            queue.add(shape, turn, (index,))
    waiting = {(job, index) for job in range(4) for index in queue.waiting(f"j{job}")}
    assert (waiting, len(queue), bool(queue)) == (model, len(model), bool(model))
    jobs = {job for job, _ in model}
    turns = {shape: [t.order for t in turns] for shape, turns in queue.turns.items()}
    wanted = {SHAPES[i]: [job for job in sorted(jobs) if job % 2 == i] for i in (0, 1)}
    assert turns == {shape: orders for shape, orders in wanted.items() if orders}
