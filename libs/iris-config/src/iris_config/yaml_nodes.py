"""YAML text to nodes with positions, within limits.

Knows nothing of what the nodes mean, and resolves no tags: what a scalar is, is
the schema's word. Our own nodes, since PyYAML's C composer recurses on the C
stack without a limit ("[" * 200_000 ends the process) and its Python one takes
twice the time of the C parser's events alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import yaml

from iris_config.files import MAX_BYTES
from iris_config.problems import ConfigError, Position, Problem

# The schema is 7 levels deep.
MAX_DEPTH = 32
# Values, those behind an alias counted each time: a thousand groups have 30,000.
MAX_VALUES = 200_000
_TOO_MANY = f"more than {MAX_VALUES:,} values, those behind aliases counted each time"

_Loader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader

# What a schema without tags reads as it is written, whatever they say.
_TAGS = frozenset(
    {"!", *(f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "map", "seq"))}
)
# The plain scalars that mean nothing at all (YAML 1.2, core schema).
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


@dataclass(slots=True)
class Scalar:
    """One value, as it is written; `plain` without quotes."""

    text: str
    plain: bool
    mark: yaml.Mark
    size = 1

    @property
    def is_null(self) -> bool:
        """Whether nothing was written."""
        return self.plain and self.text in _NULLS


@dataclass(slots=True)
class Mapping:
    """Keys with their values, in order; a key may come twice."""

    entries: list[tuple[Node, Node]]
    mark: yaml.Mark
    size: int = 1
    _index: dict[str, tuple[Node, Node]] | None = None

    def find(self, name: str | int) -> tuple[Node, Node] | None:
        """The first key of that name, and its value."""
        if self._index is None:
            # From the last, so that the first stays.
            self._index = {
                key.text: (key, child) for key, child in reversed(self.entries) if type(key) is Scalar
            }
        return self._index.get(name) if isinstance(name, str) else None


@dataclass(slots=True)
class Sequence:
    """Values in order."""

    items: list[Node]
    mark: yaml.Mark
    size: int = 1


Node: TypeAlias = "Scalar | Mapping | Sequence"


def position(node: Node) -> Position:
    """Where a node begins."""
    return _place(node.mark)


class _Refused(Exception):
    """A limit was passed, or an alias leads nowhere."""

    def __init__(self, message: str, mark: yaml.Mark) -> None:
        super().__init__(message)
        self.mark = mark


class _Composer:
    """Builds one document from the parser's events."""

    def __init__(self, text: str) -> None:
        # `Any`, since the type stubs have every mark and anchor as optional.
        self._events: Iterator[Any] = yaml.parse(text, Loader=_Loader)
        self._anchors: dict[str, Node] = {}

    def root(self) -> Node | None:
        """The document's root; None where there is no document."""
        next(self._events)
        if not isinstance(next(self._events), yaml.DocumentStartEvent):
            return None
        node = self._node(next(self._events), 1)
        next(self._events)
        after = next(self._events)
        kind = type(after)
        if kind is yaml.DocumentStartEvent:
            raise _Refused("expected a single document, found another", after.start_mark)
        return node

    def _node(self, event: Any, depth: int) -> Node:
        kind = type(event)
        if kind is not yaml.AliasEvent and event.tag is not None and event.tag not in _TAGS:
            raise _Refused(f"the tag {event.tag} is not understood here", event.start_mark)
        if kind is yaml.ScalarEvent:
            node: Node = Scalar(event.value, event.implicit[0], event.start_mark)
        elif kind is yaml.AliasEvent:
            return self._alias(event)
        elif depth > MAX_DEPTH:
            raise _Refused(f"nested more than {MAX_DEPTH} levels deep", event.start_mark)
        elif kind is yaml.MappingStartEvent:
            node = self._mapping(event, depth)
        else:
            node = self._sequence(event, depth)
        if event.anchor is not None:
            # Known from here on only, so that no node can hold itself.
            self._anchors[event.anchor] = node
        return node

    def _alias(self, event: Any) -> Node:
        node = self._anchors.get(event.anchor)
        if node is None:
            raise _Refused(f"there is no &{event.anchor} before this alias", event.start_mark)
        return node

    def _mapping(self, event: Any, depth: int) -> Mapping:
        node = Mapping([], event.start_mark)
        for key_event in self._events:
            if type(key_event) is yaml.MappingEndEvent:
                break
            key = self._node(key_event, depth + 1)
            value = self._node(next(self._events), depth + 1)
            node.entries.append((key, value))
            node.size += key.size + value.size
            if node.size > MAX_VALUES:
                raise _Refused(_TOO_MANY, key.mark)
        return node

    def _sequence(self, event: Any, depth: int) -> Sequence:
        node = Sequence([], event.start_mark)
        for item_event in self._events:
            if type(item_event) is yaml.SequenceEndEvent:
                break
            item = self._node(item_event, depth + 1)
            node.items.append(item)
            node.size += item.size
            if node.size > MAX_VALUES:
                raise _Refused(_TOO_MANY, item.mark)
        return node


def compose(text: str, source: str) -> Mapping:
    """The root of a document.

    Raises:
        ConfigError: empty, not YAML, not a mapping, several documents, or
            beyond the limits.
    """
    if len(text) > MAX_BYTES:
        raise ConfigError(source, [Problem(None, "", f"larger than {MAX_BYTES // 1024 // 1024} MiB")])
    # Editors on other systems put a byte order mark first.
    text = text.removeprefix("\ufeff")
    try:
        root = _Composer(text).root()
    except _Refused as error:
        raise ConfigError(source, [Problem(_place(error.mark), "", f"not usable YAML: {error}")]) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = " ".join(part for part in (error.context, error.problem) if part)
        if mark is not None and _line(text, mark.line)[mark.column : mark.column + 1] == "\t":
            words = "a tab; YAML is indented with spaces"
        where = _place(mark) if mark else None
        raise ConfigError(source, [Problem(where, "", f"not valid YAML: {words}")]) from error
    except yaml.reader.ReaderError as error:
        raise ConfigError(source, [_unreadable(text, error)]) from error
    except UnicodeEncodeError as error:
        # A lone surrogate: the C parser wants UTF-8.
        where = _position(text, error.start)
        raise ConfigError(source, [Problem(where, "", "not valid YAML: not a character")]) from error
    if root is None:
        raise ConfigError(source, [Problem(Position(1, 1), "", "the configuration is empty")])
    if not isinstance(root, Mapping):
        words = "expected a mapping, lines such as name: demo"
        raise ConfigError(source, [Problem(position(root), "", words)])
    return root


def _line(text: str, number: int) -> str:
    lines = text.split("\n", number + 1)
    return lines[number] if number < len(lines) else ""


def _place(mark: yaml.Mark) -> Position:
    return Position(mark.line + 1, mark.column + 1)


def _unreadable(text: str, error: yaml.reader.ReaderError) -> Problem:
    # Not by error.position, which counts bytes or characters with the parser;
    # nor is the character allowed anywhere, so its first place is the one.
    code = error.character if isinstance(error.character, int) else ord(error.character)
    where = _position(text, max(0, text.find(chr(code))))
    return Problem(where, "", f"not valid YAML: character U+{code:04X} is not allowed")


def _position(text: str, index: int) -> Position:
    before = text[:index]
    return Position(before.count("\n") + 1, index - (before.rfind("\n") + 1) + 1)
