"""How the text of a single value is read, by the descriptor of its field.

Each parser takes text, returns what `ParseDict` takes, and raises `ValueError`
with what was expected.
"""

from __future__ import annotations

import difflib
import functools
import math
import re
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor

from iris_config.units import NANOS, Unexpected, format_size, parse_duration, parse_size
from iris_proto.v1 import config_pb2

DURATION = "google.protobuf.Duration"

ScalarParser: TypeAlias = Callable[[str], object]

_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9_]{0,30})")
_FLOAT = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]{1,3})?")
INT_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
# YAML 1.2, core schema.
BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


def scalar_parser(field: FieldDescriptor) -> ScalarParser:
    """The parser of a field's values, `rule` included; of a list's, for one item."""
    if field.message_type is not None:
        return _duration
    if field.enum_type is not None:
        return functools.partial(_enum, names=enum_names(field.enum_type))
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return text_parser(field)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return _bool
    if field.cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return _bounded(_number, field, "{:g}".format)
    if field.GetOptions().Extensions[config_pb2.bytes_size]:
        return _bounded(parse_size, field, format_size)
    return _bounded(_whole, field, str)


def enum_names(descriptor: EnumDescriptor) -> dict[str, str]:
    """Short lower-case names of an enum's values -> their names in the proto."""
    prefix = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", descriptor.name).upper() + "_"
    names = {name.removeprefix(prefix).lower(): name for name in descriptor.values_by_name}
    names.pop("unspecified", None)
    return names


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that was probably meant; empty if none is near."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return close[0] if close else ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean …?`, or nothing if no known word is near."""
    meant = nearest(word, known)
    return f"; did you mean {meant}?" if meant else ""


def text_parser(field: FieldDescriptor) -> ScalarParser:
    """The parser of a text by its field's `rule`; of a map, for the names in it."""
    # The schema says text, so `no` and `1.10` are taken as they stand.
    rule = field.GetOptions().Extensions[config_pb2.rule]
    if not rule.pattern and not rule.required:
        return str
    matches = re.compile(rule.pattern or "(?s:.+)").fullmatch
    expected = f"expected {rule.expected}"

    def parse(text: str) -> str:
        if not matches(text):
            raise ValueError(expected)
        return text

    return parse


def number_range(field: FieldDescriptor) -> tuple[float, float]:
    """The least and the greatest number that a field may hold, `rule` included; perhaps infinite."""
    rule = field.GetOptions().Extensions[config_pb2.rule]
    low, high = INT_RANGES.get(field.cpp_type, (-math.inf, math.inf))
    if rule.HasField("minimum"):
        low = type(low)(rule.minimum)
    if rule.HasField("maximum"):
        high = type(high)(rule.maximum)
    return low, high


def _bounded(
    parse: Callable[[str], float], field: FieldDescriptor, words: Callable[[Any], str]
) -> ScalarParser:
    low, high = number_range(field)
    has_maximum = field.GetOptions().Extensions[config_pb2.rule].HasField("maximum")
    both = f"expected a number from {words(low)} to {words(high)}" if has_maximum else ""

    def parse_bounded(text: str) -> float:
        number = parse(text)
        if number < low:
            raise ValueError(both or f"expected a number of at least {words(low)}")
        if number > high:
            raise ValueError(both or f"expected a number of at most {words(high)}")
        return number

    return parse_bounded


# A file says the same few over and over.
@functools.lru_cache(maxsize=256)
def _duration(text: str) -> str:
    nanos = parse_duration(text)
    if nanos == 0:
        raise ValueError("expected a duration longer than 0s")
    return f"{nanos // NANOS}.{nanos % NANOS:09d}s"


def _enum(text: str, names: dict[str, str]) -> str:
    if text not in names:
        raise Unexpected(f"expected one of {', '.join(names)}", did_you_mean(text, names))
    return names[text]


def _bool(text: str) -> bool:
    if text not in BOOLS:
        raise ValueError("expected true or false")
    return BOOLS[text]


def _whole(text: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise ValueError("expected a whole number")
    return int(text)


def _number(text: str) -> float:
    number = float(text) if _FLOAT.fullmatch(text) else math.nan
    if not math.isfinite(number):
        raise ValueError("expected a number")
    return number
