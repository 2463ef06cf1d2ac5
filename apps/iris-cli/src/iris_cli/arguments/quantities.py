"""Quantities on the command line: whole numbers, processors, sizes, durations.

Each function takes the text and returns the value, or raises the error that
argparse shows with the option's name.
"""

from argparse import ArgumentTypeError
from collections.abc import Callable

INT32_MAX = 2**31 - 1
INT64_MAX = 2**63 - 1
# The controller's limits.
MAX_REPLICAS = 1_000_000
LONGEST_ID = 64


def replicas(text: str) -> int:
    """How many tasks a job has, within the controller's limit."""
    return _whole(text, 1, MAX_REPLICAS)


def job_id(text: str) -> str:
    """A job's id, or something that could be one."""
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ArgumentTypeError(f"{text!r} is not UTF-8 text: no job has that id") from error
    if not 0 < len(data) <= LONGEST_ID:
        raise ArgumentTypeError(f"no job has an id of {len(text)} characters")
    return text


def not_negative(text: str) -> int:
    """A whole number from 0."""
    return _whole(text, 0)


def _whole(text: str, least: int, most: int = INT32_MAX) -> int:
    # `int` alone would take `1_0`, ` 7` and other scripts' digits.
    if not (text.isascii() and text.isdigit()):
        raise ArgumentTypeError(f"{text!r} is not a whole number from {least}")
    # The length first: a number of a million digits takes seconds to read.
    if len(text) > 12 or not least <= int(text) <= most:
        raise ArgumentTypeError(f"{text} is not between {least} and {most:,}")
    return int(text)


def cpu_millis(text: str) -> int:
    """Processors, fractions allowed, as thousandths: `0.5` is 500."""
    whole, _, fraction = text.partition(".")
    digits = whole + fraction
    if not (digits.isascii() and digits.isdigit()) or len(whole) > 7 or len(fraction) > 3:
        raise ArgumentTypeError(f"{text!r} is not a number of processors such as 2 or 0.5")
    millis = int(whole or "0") * 1000 + int(fraction.ljust(3, "0"))
    if millis == 0:
        raise ArgumentTypeError("a task needs some processor: at least 0.001")
    return millis


def size_bytes(text: str) -> int:
    """A size such as `2GiB` or `500MB`, in bytes; written as in configurations."""
    from iris_config.units import parse_size

    return _more_than_nothing(text, parse_size)


def duration_s(text: str) -> float:
    """A duration such as `90s`, `10m` or `1h30m`, in seconds."""
    from iris_config.units import parse_duration

    return _more_than_nothing(text, parse_duration) / 1e9


def limit_ms(text: str) -> int:
    """A duration that a task is held to, in milliseconds, as the controller counts."""
    from iris_config.units import parse_duration

    value = _more_than_nothing(text, parse_duration)
    if value % 1_000_000:
        raise ArgumentTypeError(f"{text!r} is finer than a millisecond")
    return value // 1_000_000


def _more_than_nothing(text: str, parse: Callable[[str], int]) -> int:
    try:
        value = parse(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r}: {error}") from error
    if not 0 < value <= INT64_MAX:
        raise ArgumentTypeError(f"{text!r} is out of range")
    return value
