"""Words for people: durations, ages, sizes, states, and text that is safe to print.

Pure functions; they know no terminal and no command.
"""

from typing import Any, Protocol

from google.protobuf.timestamp_pb2 import Timestamp

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def duration(seconds: float) -> str:
    """`0.4s`, `12.3s`, `4m05s`, `2h03m`, `3d04h`."""
    seconds = max(0.0, seconds)
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours}h{minutes:02}m"
    days, hours = divmod(hours, 24)
    return f"{days}d{hours:02}h"


def between(start: Timestamp | None, end: Timestamp | None) -> float | None:
    """Seconds from one moment to another; None where one is not known."""
    if start is None or end is None:
        return None
    return max(0.0, seconds_of(end) - seconds_of(start))


def seconds_of(moment: Timestamp) -> float:
    """Seconds since the epoch."""
    return moment.seconds + moment.nanos / 1e9


def moment_text(moment: Timestamp) -> str:
    """A moment in UTC, to the second, as ISO 8601 writes it."""
    return moment.ToJsonString()[:19] + "Z"


def size(count: int) -> str:
    """`512 B`, `1.5 GiB`."""
    value = float(count)
    for unit in _UNITS:
        if value < 1024 or unit == _UNITS[-1]:
            break
        value /= 1024
    return f"{count} B" if unit == "B" else f"{value:.1f} {unit}".replace(".0 ", " ")


def cpus(millis: int) -> str:
    """`2`, `0.5`."""
    return f"{millis / 1000:g}"


class EnumType(Protocol):
    """A protobuf enum's class."""

    def Name(self, number: Any) -> str:
        """The name of one of its values."""
        ...


def short_name(enum: EnumType, value: int) -> str:
    """`SLICE_STATE_READY` is READY; a value of a newer release is its number."""
    try:
        name = enum.Name(value)
    except ValueError:
        return f"#{value}"
    # The type's prefix is what the names of all its values begin with.
    return name.removeprefix(enum.Name(0).removesuffix("UNSPECIFIED"))


def safe(text: str) -> str:
    """Text on one line without control characters, which could move the cursor."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    code = ord(char)
    return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(char) or (
        f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
    )


def reason_words(reason: str, message: str) -> str:
    """`starting — slice x is booting`, or whichever half there is."""
    return safe(" — ".join(filter(None, (reason, message))))


def why_words(state: str, reason: str, message: str) -> str:
    """`reason_words` without a reason that only says the state again."""
    return reason_words("" if reason.lower() == state.lower() else reason, message)


def clip(text: str, width: int) -> str:
    """Text of at most `width` characters."""
    return text if len(text) <= width else text[: width - 1] + "…"


def plural(count: int, noun: str) -> str:
    """`1 slice`, `2 slices`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
