"""Durations and sizes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iris_config.units import (
    MAX_DURATION_NS,
    NANOS,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "nanos"),
    [
        ("90s", 90 * NANOS),
        ("10m", 600 * NANOS),
        ("1h30m", 5400 * NANOS),
        ("7d", 604_800 * NANOS),
        ("1d2h3m4s5ms", 93_784_005_000_000),
        ("250ms", 250_000_000),
        ("1.5h", 5400 * NANOS),
        ("0s", 0),
    ],
)
def test_durations(text: str, nanos: int) -> None:
    assert parse_duration(text) == nanos


@pytest.mark.parametrize(
    "text", ["", "90", "s", "-5s", "1 h", "5S", "1m1h", "1s1s", "1h 30m", "٣s", "9999999999999h"]
)
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match=r"^expected a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("8GiB", 8 * 2**30),
        ("500GB", 500 * 10**9),
        ("1.5KiB", 1536),
        ("64 MiB", 64 * 2**20),
        ("3PB", 3 * 10**15),
        ("2kB", 2000),
        ("17", 17),
        ("17B", 17),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "8Gi", "8gb", "-1", "1e9", "1.5.5GB", "0.1B", "٣GB"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(ValueError, match=r"^expected a "):
        parse_size(text)


def test_the_shortest_form() -> None:
    assert format_duration(5400 * NANOS) == "1h30m"
    assert format_duration(0) == "0s"
    assert format_duration(-1_500_000_000) == "-1.5s"
    assert format_size(8 * 2**30) == "8GiB"
    assert format_size(500 * 10**9) == "500GB"
    assert format_size(0) == "0"


@given(st.integers(0, MAX_DURATION_NS))
def test_durations_are_read_back(nanos: int) -> None:
    assert parse_duration(format_duration(nanos)) == nanos


@given(st.integers(0, 2**63 - 1))
def test_sizes_are_read_back(size: int) -> None:
    assert parse_size(format_size(size)) == size
