"""YAML nodes -> the tree that `ParseDict` takes, field by field of a descriptor.

Durations, sizes, enum names and each field's `rule` are understood wherever a
message has them; no field is known here by name. Every mistake is collected
with its position.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from iris_config.environment import expand, names_a_secret
from iris_config.problems import FieldPath, Position, Problem, field_name
from iris_config.scalars import DURATION, nearest, scalar_parser, text_parser
from iris_config.units import Unexpected
from iris_config.yaml_nodes import Mapping as MappingNode
from iris_config.yaml_nodes import Node, Scalar, position
from iris_config.yaml_nodes import Sequence as SequenceNode
from iris_proto.v1 import config_pb2

# More than anybody mends in one go, and a bound for what is printed.
MAX_PROBLEMS = 500
# What is shorter stands in many a word, and keeps nobody out.
SHORTEST_SECRET = 4


class TooManyProblems(Exception):
    """The rest of the document is not looked at."""


class _Bad(Exception):
    """A value that cannot be used; the field is left out, the rest is read."""


@dataclass
class Normalised:
    """A tree for `ParseDict`, and where each of its parts was written."""

    root: MappingNode
    environment: Mapping[str, str]
    value: dict[str, object] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    # Misspelt keys by the field that was probably meant, which they are read as.
    meant: dict[FieldPath, str] = field(default_factory=dict)
    # The variables that a value was made of.
    variables: dict[FieldPath, tuple[str, ...]] = field(default_factory=dict)
    # Texts under names that the author chose, such as environment variables.
    named: list[FieldPath] = field(default_factory=list)

    def complain(self, where: Position, path: FieldPath, message: str) -> None:
        """Note a problem.

        Raises:
            TooManyProblems: with the one that was one too many.
        """
        self.problems.append(Problem(where, field_name(path), message))
        if len(self.problems) >= MAX_PROBLEMS:
            self.problems.append(Problem(where, "", "too many problems; the rest was not read"))
            raise TooManyProblems

    def is_written(self, path: FieldPath) -> bool:
        """Whether the file has something there, be it wrong."""
        return self._find(path) is not None

    def position(self, path: FieldPath) -> Position:
        """Where a field is, or for one that is missing where its parent is."""
        while (found := self._find(path)) is None:
            path = path[:-1]
        return found

    def redacted(self, text: str) -> str:
        """A message without what variables with a secret's name hold."""
        for name in dict.fromkeys(name for names in self.variables.values() for name in names):
            value = self.environment.get(name, "")
            if len(value) >= SHORTEST_SECRET and names_a_secret(name):
                text = text.replace(value, f"${{{name}}}")
        return text

    def _find(self, path: FieldPath) -> Position | None:
        node: Node = self.root
        where = position(node)
        for depth, part in enumerate(path):
            if isinstance(node, MappingNode):
                entry = node.find(self.meant.get(path[: depth + 1], part) if self.meant else part)
                if entry is None:
                    return None
                key, node = entry
                where = _at(key, node)
            elif isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.items):
                node = node.items[part]
                where = position(node)
            else:
                return None
        return where


def normalise(root: MappingNode, descriptor: Descriptor, environment: Mapping[str, str]) -> Normalised:
    """Read a document as a message; problems are in the result."""
    into = Normalised(root, environment)
    with contextlib.suppress(TooManyProblems):
        into.value = _message(root, _shape(descriptor), (), into)
    return into


def _at(key: Node, child: Node) -> Position:
    # A scalar is found at its value, a mapping or list at its key: the value
    # may begin lines below.
    return position(child if isinstance(child, Scalar) else key)


_Reader: TypeAlias = Callable[[Node, FieldPath, Normalised], object]


class _Entry(NamedTuple):
    """A field as its mapping sees it."""

    read: _Reader
    oneof: str
    # `missing; expected …`, or empty where it may be left out.
    missing: str


class _Shape(NamedTuple):
    """A message as its mapping sees it."""

    fields: Mapping[str, _Entry]
    required: tuple[str, ...]
    # `expected one of …` by the names of the oneofs that need an arm.
    oneofs: Mapping[str, str]


# The same for every group of a file: a fleet has hundreds.
@functools.cache
def _shape(descriptor: Descriptor) -> _Shape:
    fields = {one.name: _Entry(_reader(one), _oneof(one), _missing(one)) for one in descriptor.fields}
    oneofs = {
        one.name: ", ".join(arm.name for arm in one.fields)
        for one in descriptor.oneofs
        if one.GetOptions().Extensions[config_pb2.one_required]
    }
    return _Shape(fields, tuple(name for name, entry in fields.items() if entry.missing), oneofs)


def _oneof(field_: FieldDescriptor) -> str:
    oneof = field_.containing_oneof
    # An `optional` field is alone in a oneof of the compiler's own.
    return "" if oneof is None or oneof.name.startswith("_") else str(oneof.name)


def _missing(field_: FieldDescriptor) -> str:
    rule = field_.GetOptions().Extensions[config_pb2.rule]
    if not rule.required:
        return ""
    kind = "a list with " if field_.is_repeated else ""
    return f"missing; expected {kind}{rule.expected}"


def _message(node: MappingNode, shape: _Shape, path: FieldPath, into: Normalised) -> dict[str, object]:
    value: dict[str, object] = {}
    written: dict[str, Scalar] = {}
    given: set[str] = set()
    arms: dict[str, str] = {}
    for key, child in _entries(node, written, path, into):
        name = key.text
        entry = shape.fields.get(name)
        if entry is None:
            name = _meant(node, key, shape, path, into)
            if not name:
                continue
            entry = shape.fields[name]
        if entry.oneof:
            if entry.oneof in arms:
                both = f"{arms[entry.oneof]} and {name}"
                into.complain(position(key), (*path, name), f"expected only one of {both}")
                continue
            arms[entry.oneof] = name
        given.add(name)
        _put(value, name, (key, child), path, entry.read, into)
    for name in shape.required:
        if name not in given:
            into.complain(into.position(path), (*path, name), shape.fields[name].missing)
    for oneof, names in shape.oneofs.items():
        if oneof not in arms and not written:
            into.complain(into.position(path), path, f"missing; expected one of {names}")
    return value


def _meant(node: MappingNode, key: Scalar, shape: _Shape, path: FieldPath, into: Normalised) -> str:
    """Complains of an unknown key; returns the field that it is read as, to find all mistakes in one go."""
    meant = nearest(key.text, shape.fields)
    words = f"did you mean {meant}?" if meant else f"known here: {', '.join(shape.fields) or 'none'}"
    into.complain(position(key), (*path, key.text), f"unknown key; {words}")
    if not meant or node.find(meant) is not None or (*path, meant) in into.meant:
        return ""
    into.meant[(*path, meant)] = key.text
    return meant


def _entries(
    node: MappingNode, written: dict[str, Scalar], path: FieldPath, into: Normalised
) -> Iterable[tuple[Scalar, Node]]:
    for key, child in node.entries:
        if type(key) is not Scalar:
            into.complain(position(key), path, "expected a plain word as the key")
        elif key.text == "<<" and key.plain:
            into.complain(
                position(key), (*path, "<<"), "merge keys are not understood here; write the fields out"
            )
        elif key.text in written:
            line = position(written[key.text]).line
            into.complain(position(key), (*path, key.text), f"written twice; first on line {line}")
        else:
            written[key.text] = key
            yield key, child


def _put(
    value: dict[str, object],
    name: str,
    entry: tuple[Scalar, Node],
    above: FieldPath,
    read: _Reader,
    into: Normalised,
) -> None:
    path = (*above, name)
    try:
        value[name] = read(entry[1], path, into)
    except _Bad as error:
        into.complain(_at(*entry), path, str(error))


def _reader(field_: FieldDescriptor) -> _Reader:
    entry = field_.message_type
    if entry is not None and entry.GetOptions().map_entry:
        return _map_reader(entry.fields_by_name["value"], text_parser(field_))
    read = _single_reader(field_)
    return _list_reader(read, _missing(field_)) if field_.is_repeated else read


def _map_reader(of: FieldDescriptor, check_name: Callable[[str], object]) -> _Reader:
    read, is_text = _single_reader(of), of.message_type is None

    def read_map(node: Node, path: FieldPath, into: Normalised) -> object:
        if not isinstance(node, MappingNode):
            raise _Bad(f"expected a mapping of names, found {_found(node)}")
        value: dict[str, object] = {}
        for key, child in _entries(node, {}, path, into):
            try:
                check_name(key.text)
            except ValueError as error:
                into.complain(position(key), (*path, key.text), f"{error}, found {_found(key)}")
                continue
            _put(value, key.text, (key, child), path, read, into)
            if is_text:
                into.named.append((*path, key.text))
        return value

    return read_map


def _list_reader(read: _Reader, missing: str) -> _Reader:
    def read_list(node: Node, path: FieldPath, into: Normalised) -> object:
        if not isinstance(node, SequenceNode):
            raise _Bad(f"expected a list such as [a, b], found {_found(node)}")
        if missing and not node.items:
            raise _Bad(missing.replace("missing", "empty"))
        value: list[object] = []
        for index, child in enumerate(node.items):
            here = (*path, index)
            try:
                value.append(read(child, here, into))
            except _Bad as error:
                into.complain(position(child), here, str(error))
        return value

    return read_list


def _single_reader(field_: FieldDescriptor) -> _Reader:
    descriptor = field_.message_type
    if descriptor is None or descriptor.full_name == DURATION:
        return _scalar_reader(scalar_parser(field_))

    def read_message(node: Node, path: FieldPath, into: Normalised) -> object:
        if isinstance(node, MappingNode):
            return _message(node, _shape(descriptor), path, into)
        is_null = isinstance(node, Scalar) and node.is_null
        hint = "; write {} for its defaults" if is_null else ""
        raise _Bad(f"expected a mapping, found {_found(node)}{hint}")

    return read_message


def _scalar_reader(parse: Callable[[str], object]) -> _Reader:
    def read_scalar(node: Node, path: FieldPath, into: Normalised) -> object:
        if type(node) is not Scalar:
            raise _Bad(f"expected a single value, found {_found(node)}")
        if node.is_null:
            raise _Bad("has no value; give one or leave the key out")
        text = node.text
        names: tuple[str, ...] = ()
        try:
            if "${" in text:
                text, names = expand(text, into.environment)
                if names:
                    into.variables[path] = names
        except ValueError as error:
            raise _Bad(str(error)) from error
        try:
            return parse(text)
        except Unexpected as error:
            raise _Bad(f"{error.expected}, found {_found(node)}{error.hint}{_empty(names, into)}") from error
        except ValueError as error:
            # As it is written: what a variable holds may be a secret.
            raise _Bad(f"{error}, found {_found(node)}{_empty(names, into)}") from error

    return read_scalar


def _empty(names: tuple[str, ...], into: Normalised) -> str:
    """Which of the variables of a value that cannot be used is empty."""
    empty = [name for name in names if into.environment.get(name) == ""]
    return f"; the environment variable {empty[0]} is empty" if empty else ""


def _found(node: Node) -> str:
    if isinstance(node, MappingNode):
        return "a mapping"
    if isinstance(node, SequenceNode):
        return "a list"
    if node.is_null:
        return "nothing"
    text = node.text if len(node.text) <= 40 else node.text[:37] + "..."
    return repr(text)
