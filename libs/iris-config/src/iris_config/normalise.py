"""YAML nodes -> the tree that `ParseDict` takes, field by field of a descriptor.

Durations, sizes and enum names are understood wherever a message has them; no
field is known here by name. Every mistake is collected with its position.
"""

from __future__ import annotations

import difflib
import functools
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import yaml
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from iris_config.problems import FieldPath, Position, Problem, field_name
from iris_config.units import NANOS, parse_duration, parse_size
from iris_config.yaml_nodes import position
from iris_proto.v1 import config_pb2

DURATION = "google.protobuf.Duration"

_NULL = "tag:yaml.org,2002:null"
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9_]{0,30})")
_FLOAT = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]{1,3})?")
_INT_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_BOOLS = {"true": True, "false": False}


class _Bad(Exception):
    """A value that cannot be used; the field is left out, the rest is read."""


@dataclass
class Normalised:
    """A tree for `ParseDict`, and where each of its parts was written.

    `positions` has every field that was written, also one with a problem.
    """

    value: dict[str, object] = field(default_factory=dict)
    positions: dict[FieldPath, Position] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def complain(self, where: Position, path: FieldPath, message: str) -> None:
        """Note a problem."""
        self.problems.append(Problem(where, field_name(path), message))


def normalise(root: yaml.MappingNode, descriptor: Descriptor) -> Normalised:
    """Read a document as a message; problems are in the result."""
    into = Normalised()
    into.positions[()] = position(root)
    into.value = _message(root, descriptor, (), into)
    return into


def enum_names(descriptor: EnumDescriptor) -> dict[str, str]:
    """Short lower-case names of an enum's values -> their names in the proto."""
    prefix = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", descriptor.name).upper() + "_"
    names = {name.removeprefix(prefix).lower(): name for name in descriptor.values_by_name}
    names.pop("unspecified", None)
    return names


def nearest(word: str, known: Iterable[str]) -> str:
    """` (did you mean …?)`, or nothing if no known word is near."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _message(
    node: yaml.MappingNode, descriptor: Descriptor, path: FieldPath, into: Normalised
) -> dict[str, object]:
    value: dict[str, object] = {}
    arms: dict[str, str] = {}
    for key, child in _entries(node, path, into):
        field_ = descriptor.fields_by_name.get(key.value)
        here = (*path, key.value)
        if field_ is None:
            known = descriptor.fields_by_name
            hint = nearest(key.value, known) or f"; known here: {', '.join(known) or 'none'}"
            into.complain(position(key), here, f"unknown key{hint}")
            continue
        oneof = field_.containing_oneof
        if oneof is not None and oneof.name in arms and not oneof.name.startswith("_"):
            both = f"{arms[oneof.name]} and {key.value}"
            into.complain(position(key), here, f"expected only one of {both}")
            continue
        if oneof is not None:
            arms[oneof.name] = key.value
        _put(value, key, child, here, _reader(field_), into)
    return value


def _entries(
    node: yaml.MappingNode, path: FieldPath, into: Normalised
) -> Iterable[tuple[yaml.ScalarNode, yaml.Node]]:
    first: dict[str, Position] = {}
    for key, child in node.value:
        if not isinstance(key, yaml.ScalarNode):
            into.complain(position(key), path, "expected a plain word as the key")
            continue
        if key.tag == "tag:yaml.org,2002:merge":
            into.complain(position(key), (*path, "<<"), "merge keys are not understood here")
            continue
        if key.value in first:
            line = first[key.value].line
            into.complain(position(key), (*path, key.value), f"written twice; first on line {line}")
            continue
        first[key.value] = position(key)
        yield key, child


_Reader = Callable[[yaml.Node, FieldPath, Normalised], object]


def _put(
    value: dict[str, object],
    key: yaml.ScalarNode,
    child: yaml.Node,
    path: FieldPath,
    read: _Reader,
    into: Normalised,
) -> None:
    # A scalar is found at its value, a mapping or list at its key: the value
    # may begin lines below.
    into.positions[path] = position(child if isinstance(child, yaml.ScalarNode) else key)
    try:
        value[key.value] = read(child, path, into)
    except _Bad as error:
        into.complain(into.positions[path], path, str(error))


# The same for every group of a file: a fleet has hundreds.
@functools.cache
def _reader(field_: FieldDescriptor) -> _Reader:
    entry = field_.message_type
    if entry is not None and entry.GetOptions().map_entry:
        return _map_reader(_single_reader(entry.fields_by_name["value"]))
    read = _single_reader(field_)
    return _list_reader(read) if field_.is_repeated else read


def _map_reader(read: _Reader) -> _Reader:
    def read_map(node: yaml.Node, path: FieldPath, into: Normalised) -> object:
        if not isinstance(node, yaml.MappingNode):
            raise _Bad(f"expected a mapping of names, found {_found(node)}")
        value: dict[str, object] = {}
        for key, child in _entries(node, path, into):
            _put(value, key, child, (*path, key.value), read, into)
        return value

    return read_map


def _list_reader(read: _Reader) -> _Reader:
    def read_list(node: yaml.Node, path: FieldPath, into: Normalised) -> object:
        if not isinstance(node, yaml.SequenceNode):
            raise _Bad(f"expected a list such as [a, b], found {_found(node)}")
        value: list[object] = []
        for index, child in enumerate(node.value):
            here = (*path, index)
            into.positions[here] = position(child)
            try:
                value.append(read(child, here, into))
            except _Bad as error:
                into.complain(position(child), here, str(error))
        return value

    return read_list


def _single_reader(field_: FieldDescriptor) -> _Reader:
    if field_.message_type is not None:
        descriptor = field_.message_type
        if descriptor.full_name == DURATION:
            return _scalar_reader(_duration)

        def read_message(node: yaml.Node, path: FieldPath, into: Normalised) -> object:
            if isinstance(node, yaml.MappingNode):
                return _message(node, descriptor, path, into)
            hint = "; write {} for its defaults" if node.tag == _NULL else ""
            raise _Bad(f"expected a mapping, found {_found(node)}{hint}")

        return read_message
    if field_.enum_type is not None:
        names = enum_names(field_.enum_type)
        return _scalar_reader(lambda text: _enum(text, names))
    if field_.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        # The schema says text, so `no` and `1.10` are taken as they stand.
        return _scalar_reader(str)
    if field_.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return _scalar_reader(_bool)
    if field_.cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return _scalar_reader(_number)
    low, high = _INT_RANGES[field_.cpp_type]
    if field_.GetOptions().Extensions[config_pb2.bytes_size]:
        return _scalar_reader(lambda text: _in_range(parse_size(text), low, high))
    return _scalar_reader(lambda text: _in_range(_whole(text), low, high))


def _scalar_reader(parse: Callable[[str], object]) -> _Reader:
    def read_scalar(node: yaml.Node, path: FieldPath, into: Normalised) -> object:
        if not isinstance(node, yaml.ScalarNode):
            raise _Bad(f"expected a single value, found {_found(node)}")
        if node.tag == _NULL:
            raise _Bad("has no value; give one or leave the key out")
        try:
            return parse(node.value)
        except ValueError as error:
            raise _Bad(f"{error}, found {_found(node)}") from error

    return read_scalar


def _duration(text: str) -> str:
    nanos = parse_duration(text)
    return f"{nanos // NANOS}.{nanos % NANOS:09d}s"


def _enum(text: str, names: dict[str, str]) -> str:
    if text not in names:
        raise ValueError(f"expected one of {', '.join(names)}{nearest(text, names)}")
    return names[text]


def _bool(text: str) -> bool:
    if text not in _BOOLS:
        raise ValueError("expected true or false")
    return _BOOLS[text]


def _whole(text: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise ValueError("expected a whole number")
    return int(text)


def _number(text: str) -> float:
    number = float(text) if _FLOAT.fullmatch(text) else math.nan
    if not math.isfinite(number):
        raise ValueError("expected a number")
    return number


def _in_range(number: int, low: int, high: int) -> int:
    if not low <= number <= high:
        raise ValueError(f"expected a number from {low} to {high}")
    return number


def _found(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    if node.tag == _NULL:
        return "nothing"
    text = node.value if len(node.value) <= 40 else node.value[:37] + "..."
    return repr(text)
