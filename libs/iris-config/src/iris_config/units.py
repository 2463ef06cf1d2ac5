"""Durations and sizes as people write them."""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import pairwise

NANOS = 1_000_000_000
# The range of google.protobuf.Duration (duration.proto).
MAX_DURATION_NS = 315_576_000_000 * NANOS

_DURATION_UNITS = {"d": 86_400 * NANOS, "h": 3_600 * NANOS, "m": 60 * NANOS, "s": NANOS, "ms": 1_000_000}
_DURATION_PART = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?)(d|h|ms|m|s)")
_DURATION = re.compile(rf"(?:{_DURATION_PART.pattern})+")

# IEC 80000-13: KiB is 1024 bytes, kB is 1000.
_SIZE_UNITS = {"": 1, "B": 1, "kB": 10**3, "KB": 10**3, "KiB": 2**10}
_SIZE_UNITS |= {f"{letter}B": 10 ** (3 * n) for n, letter in enumerate("MGTP", start=2)}
_SIZE_UNITS |= {f"{letter}iB": 2 ** (10 * n) for n, letter in enumerate("MGTP", start=2)}
_SIZE = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,9})?) ?([A-Za-z]*)")

# The same two grammars without groups, for a JSON Schema; every unit is optional
# in the first, so it also needs a length of at least 1.
DURATION_PATTERN = "".join(rf"(?:[0-9]{{1,18}}(?:\.[0-9]{{1,9}})?{unit})?" for unit in _DURATION_UNITS)
SIZE_PATTERN = rf"[0-9]{{1,20}}(?:\.[0-9]{{1,9}})? ?(?:{'|'.join(filter(None, _SIZE_UNITS))})?"


class Unexpected(ValueError):
    """Not what was expected; `hint` names what was probably meant."""

    def __init__(self, expected: str, hint: str = "") -> None:
        super().__init__(expected + hint)
        self.expected = expected
        self.hint = hint


def parse_duration(text: str) -> int:
    """Nanoseconds of `90s`, `10m`, `1h30m`, `1.5s` or `250ms`.

    Raises:
        ValueError: anything else, units out of order, or too long.
    """
    if not _DURATION.fullmatch(text):
        hint = f"; did you mean {text}s or {text}m?" if text.isdecimal() else ""
        raise Unexpected("expected a duration such as 90s, 10m or 1h30m", hint)
    parts = _DURATION_PART.findall(text)
    units = [_DURATION_UNITS[unit] for _, unit in parts]
    if any(first <= second for first, second in pairwise(units)):
        raise ValueError("expected a duration with each unit once, the largest first, such as 1h30m")
    total = sum(Fraction(number) * unit for (number, _), unit in zip(parts, units, strict=True))
    if total > MAX_DURATION_NS:
        raise ValueError("expected a duration of less than 10,000 years")
    return int(total)


def format_duration(nanos: int) -> str:
    """The shortest form that `parse_duration` reads back: `1h30m`."""
    sign, rest, words = ("-" if nanos < 0 else ""), abs(nanos), ""
    for unit in ("h", "m"):
        count, rest = divmod(rest, _DURATION_UNITS[unit])
        words += f"{count}{unit}" if count else ""
    seconds, fraction = divmod(rest, NANOS)
    if fraction:
        words += f"{seconds}.{fraction:09d}".rstrip("0") + "s"
    elif seconds or not words:
        words += f"{seconds}s"
    return sign + words


def parse_size(text: str) -> int:
    """Bytes of `8GiB`, `500GB` or `1024`.

    Raises:
        ValueError: anything else, or not a whole number of bytes.
    """
    match = _SIZE.fullmatch(text)
    factor = _SIZE_UNITS.get(match[2]) if match else None
    if match is None or factor is None:
        hint = f"; did you mean {text}iB or {text}B?" if text[-1:] in ("M", "G", "T") else ""
        hint = f"; did you mean {text}B?" if text[-2:] in ("Ki", "Mi", "Gi", "Ti") else hint
        raise Unexpected("expected a size such as 8GiB, 500GB or a number of bytes", hint)
    size = Fraction(match[1]) * factor
    if size.denominator != 1:
        raise ValueError("expected a whole number of bytes")
    return int(size)


def format_size(size: int) -> str:
    """The shortest exact form that `parse_size` reads back: `8GiB`."""
    units = sorted(_SIZE_UNITS.items(), key=lambda item: item[1], reverse=True)
    for unit, factor in units:
        if factor > 1 and size and size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)
