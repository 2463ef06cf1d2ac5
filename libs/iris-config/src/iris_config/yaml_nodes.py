"""YAML text to nodes with positions, within limits.

Knows nothing of what the nodes mean. Never builds a Python object from a tag.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml
from yaml.composer import Composer
from yaml.resolver import Resolver

from iris_config.files import MAX_BYTES
from iris_config.problems import ConfigError, Position, Problem

# The schema is 6 levels deep.
MAX_DEPTH = 32


class _TooDeep(yaml.MarkedYAMLError):
    pass


if TYPE_CHECKING or not yaml.__with_libyaml__:
    _Loader = yaml.SafeLoader
else:
    # PyYAML's own C composer recurses on the C stack without a limit: "[" * 200_000
    # ends the process. The pure one, over the C parser's events, is as fast.
    class _Loader(Composer, yaml.cyaml.CParser, Resolver):
        def __init__(self, text: str) -> None:
            yaml.cyaml.CParser.__init__(self, text)
            Composer.__init__(self)
            Resolver.__init__(self)


class _Composer(_Loader):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self._depth >= MAX_DEPTH:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise _TooDeep(None, None, f"nested more than {MAX_DEPTH} levels deep", mark)
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


def compose(text: str, source: str) -> yaml.MappingNode:
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
        root = _Composer(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = " ".join(part for part in (error.context, error.problem) if part)
        where = Position(mark.line + 1, mark.column + 1) if mark else None
        raise ConfigError(source, [Problem(where, "", f"not valid YAML: {words}")]) from error
    except yaml.reader.ReaderError as error:
        raise ConfigError(source, [_unreadable(text, error)]) from error
    except UnicodeEncodeError as error:
        # A lone surrogate: the C parser wants UTF-8.
        where = _position(text, error.start)
        raise ConfigError(source, [Problem(where, "", "not valid YAML: not a character")]) from error
    if root is None:
        raise ConfigError(source, [Problem(Position(1, 1), "", "the configuration is empty")])
    if not isinstance(root, yaml.MappingNode):
        words = "expected a mapping, lines such as name: demo"
        raise ConfigError(source, [Problem(position(root), "", words)])
    return root


def position(node: yaml.Node) -> Position:
    """Where a node begins."""
    return Position(node.start_mark.line + 1, node.start_mark.column + 1)


def _unreadable(text: str, error: yaml.reader.ReaderError) -> Problem:
    # Not by error.position, which counts bytes or characters with the parser;
    # nor is the character allowed anywhere, so its first place is the one.
    code = error.character if isinstance(error.character, int) else ord(error.character)
    where = _position(text, max(0, text.find(chr(code))))
    return Problem(where, "", f"not valid YAML: character U+{code:04X} is not allowed")


def _position(text: str, index: int) -> Position:
    before = text[:index]
    return Position(before.count("\n") + 1, index - (before.rfind("\n") + 1) + 1)
