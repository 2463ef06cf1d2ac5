"""Which bytes of a log are gone: ranges, in order, that neither overlap nor touch.

Pure but for their form on disk. Knows no files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TypeAlias

# From the first byte that is gone to the first that is there again.
Gap: TypeAlias = tuple[int, int]
Gaps: TypeAlias = Sequence[Gap]


def with_gap(gaps: Gaps, begin: int, end: int) -> list[Gap]:
    """The gaps with one more, which may swallow some of them."""
    apart = [gap for gap in gaps if gap[1] < begin or end < gap[0]]
    near = [gap for gap in gaps if not (gap[1] < begin or end < gap[0])]
    whole = (min([begin, *(gap[0] for gap in near)]), max([end, *(gap[1] for gap in near)]))
    return sorted([*apart, whole])


def skip_gap(gaps: Gaps, offset: int) -> int:
    """The first offset from here on that is not in a gap."""
    return next((end for begin, end in gaps if begin <= offset < end), offset)


def next_gap(gaps: Gaps, offset: int) -> int | None:
    """Where the first gap begins that lies beyond an offset."""
    return next((begin for begin, _ in gaps if begin > offset), None)


def first_kept(gaps: Gaps) -> int:
    """Where the log begins by now."""
    return skip_gap(gaps, 0)


def kept_parts(gaps: Gaps, length: int) -> Iterator[Gap]:
    """What is there of a log of this length: begin and end of each part, in order."""
    at = 0
    for begin, end in gaps:
        if at < begin:
            yield at, begin
        at = end
    if at < length:
        yield at, length


def encode_gaps(gaps: Gaps) -> bytes:
    """As they are written."""
    return json.dumps(list(gaps)).encode() + b"\n"


def decode_gaps(data: bytes) -> list[Gap]:
    """What `encode_gaps` wrote.

    Raises:
        ValueError: it did not.
    """
    return [(int(begin), int(end)) for begin, end in json.loads(data)]
