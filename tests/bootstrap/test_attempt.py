"""Names of attempts, and remembering them for ever."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iris_bootstrap.attempt import AttemptKey, SeenKeys, SeenRange, parse_key


@pytest.mark.parametrize("key", [AttemptKey("j", 0, 1, 1), AttemptKey("a/b", 12, 1_795_000_000_000, 3)])
def test_key_survives_its_text(key: AttemptKey) -> None:
    assert parse_key(str(key)) == key


@pytest.mark.parametrize("text", ["", "job", "job/1/2", "job/1/2/x"])
def test_other_text_is_no_key(text: str) -> None:
    with pytest.raises(ValueError, match=r"not an attempt|invalid literal"):
        parse_key(text)


@pytest.mark.parametrize("job_id", ["", "..", "a/b", "../x", "a\0", "x" * 129, ".hidden"])
def test_job_that_could_name_another_directory_is_refused(job_id: str) -> None:
    with pytest.raises(ValueError, match="job id"):
        AttemptKey(job_id, 0, 1, 1).check()


def test_directory_names_the_attempt() -> None:
    key = AttemptKey("job-1", 2, 3, 4)
    key.check()
    assert key.directory == "job-1-2-3-4"


def test_neighbours_become_one_range() -> None:
    seen = SeenKeys()
    for index in (5, 3, 4, 9, 0):
        seen.add(AttemptKey("j", index, 7, 1))
    assert list(seen.ranges()) == [
        SeenRange("j", 7, 1, 0, 0),
        SeenRange("j", 7, 1, 3, 5),
        SeenRange("j", 7, 1, 9, 9),
    ]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5))), st.integers(0, 40))
def test_seen_keys_are_a_set(ranges: list[tuple[int, int]], probe: int) -> None:
    seen = SeenKeys()
    model: set[int] = set()
    for first, length in ranges:
        seen.add_range(SeenRange("j", 1, 1, first, first + length))
        model |= set(range(first, first + length + 1))
    again = SeenKeys(seen.ranges())
    for keys in (seen, again):
        assert (AttemptKey("j", probe, 1, 1) in keys) == (probe in model)
        assert AttemptKey("j", probe, 1, 2) not in keys
    listed = [index for part in seen.ranges() for index in range(part.first, part.last + 1)]
    assert listed == sorted(model)
