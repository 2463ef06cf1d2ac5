"""Numbers and times as people read them."""

import pytest

from iris_controller.core.explain import cpus, duration, end_reason, nearest_shape, shape_words, size
from iris_controller.core.values import AttemptEnd, Reason, Resources, Shape
from tests.controller.agents import GIB
from tests.controller.worlds import group


@pytest.mark.parametrize(("millis", "words"), [(500, "0.5"), (4000, "4"), (1, "0.001"), (0, "0")])
def test_cores(millis: int, words: str) -> None:
    assert cpus(millis) == words


@pytest.mark.parametrize(
    ("n_bytes", "words"),
    [(0, "0B"), (1023, "1023B"), (1536, "1.5KiB"), (8 * GIB, "8GiB"), (3 * 1024 * GIB, "3TiB")],
)
def test_sizes(n_bytes: int, words: str) -> None:
    assert size(n_bytes) == words


@pytest.mark.parametrize(
    ("ms", "words"),
    [
        (450, "450ms"),
        (12_000, "12s"),
        (200_000, "3m20s"),
        (120_000, "2m"),
        (7_500_000, "2h5m"),
        (3_600_000, "1h"),
    ],
)
def test_durations(ms: int, words: str) -> None:
    assert duration(ms) == words


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (AttemptEnd(1, Reason("exit", "said so itself"), exit_code=1), "said so itself"),
        (AttemptEnd(1, Reason("exit"), exit_code=3), "ended with exit code 3"),
        (AttemptEnd(1, Reason("signal"), signal=9), "ended by signal 9"),
        (AttemptEnd(1, Reason("stopped")), ""),
    ],
)
def test_an_end_is_said_in_words_even_if_its_agent_gave_a_code_alone(end: AttemptEnd, words: str) -> None:
    assert end_reason(end) == Reason(end.reason.code, words)


def test_a_shape_without_memory_says_nothing_of_it() -> None:
    assert shape_words(Resources(1500)) == "1.5 cpu"


@pytest.mark.parametrize(
    ("request_", "nearest"),
    [
        (Resources(16_000, 1), "large"),
        (Resources(1000, 200 * GIB), "fat"),
        (Resources(0, 200 * GIB), "fat"),
    ],
)
def test_the_nearest_host_covers_most_of_the_worst_share(request_: Resources, nearest: str) -> None:
    groups = [group("large", cpu=8, memory=16 * GIB), group("fat", cpu=2, memory=128 * GIB)]
    assert nearest_shape(Shape(request_), groups).endswith(f"(scale group {nearest})")
