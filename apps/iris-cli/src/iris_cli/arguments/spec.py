"""What a verb is, and the parser that every verb gets.

Knows no verb. A parser raises `CliError` where argparse would exit, so that
there is one place that ends the process.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterable

from iris_cli.exits import USAGE, CliError, named_failure

# What type checkers read as true, without the import of `typing`, which costs
# as much as a third of the interpreter.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from _typeshed import SupportsWrite

# Help is laid out for this many columns where there is no terminal.
DEFAULT_COLUMNS = 80
# Longer lines are hard to read, however wide the terminal.
MAX_COLUMNS = 100

OUTPUT_FORMATS = ("table", "wide", "json", "yaml")


class Verb:
    """One verb: what its help says, and the function that adds its options.

    `exits` are the exit statuses that mean something particular here, and
    `usage` replaces argparse's where that would mislead.
    """

    __slots__ = ("add_options", "description", "examples", "exits", "name", "summary", "usage")

    def __init__(
        self,
        name: str,
        summary: str,
        add_options: Callable[[argparse.ArgumentParser], None],
        *,
        text: "HelpText",
    ) -> None:
        self.name = name
        self.summary = summary
        self.add_options = add_options
        self.description = text.description
        self.examples = text.examples
        self.exits = text.exits
        self.usage = text.usage


class HelpText:
    """The prose of a verb's help."""

    __slots__ = ("description", "examples", "exits", "usage")

    def __init__(
        self,
        description: str,
        *,
        examples: tuple[str, ...] = (),
        exits: tuple[tuple[str, str], ...] = (),
        usage: str = "",
    ) -> None:
        self.description = description
        self.examples = examples
        self.exits = exits
        self.usage = usage


class Formatter(argparse.RawDescriptionHelpFormatter):
    """argparse's layout, without its import of `shutil` for the width."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=columns() - 2)


def columns() -> int:
    """How wide help is laid out."""
    wanted = os.environ.get("COLUMNS", "")
    if wanted.isdigit() and int(wanted) > 0:
        return min(int(wanted), MAX_COLUMNS)
    try:
        return min(os.get_terminal_size(1).columns or DEFAULT_COLUMNS, MAX_COLUMNS)
    except OSError:
        return DEFAULT_COLUMNS


class Parser(argparse.ArgumentParser):
    """An argparse parser that raises, and that suggests the nearest option."""

    def __init__(self, prog: str, **texts: str) -> None:
        super().__init__(
            prog=prog,
            usage=texts.get("usage") or None,
            description=texts.get("description"),
            epilog=texts.get("epilog"),
            formatter_class=Formatter,
            # An abbreviation that works today is ambiguous tomorrow.
            allow_abbrev=False,
            add_help=False,
        )

    def print_help(self, file: "SupportsWrite[str] | None" = None) -> None:
        # argparse ignores a pipe that nobody reads; `main` ends quietly there.
        out = sys.stdout if file is None else file
        with named_failure("standard output"):
            out.write(self.format_help())
            sys.stdout.flush()

    def error(self, message: str) -> "NoReturn":
        raise CliError(USAGE, message, hint=f"see: {self.prog} --help")

    def parse_exactly(self, words: list[str]) -> argparse.Namespace:
        """All of `words`, or a `CliError` that names what is not known."""
        found, unknown = self.parse_known_args(words)
        if unknown:
            self.error(self._unknown_words(unknown))
        return found

    def _unknown_words(self, unknown: list[str]) -> str:
        word = unknown[0]
        if not word.startswith("-"):
            return f"unexpected argument {word!r}"
        name = word.partition("=")[0]
        near = nearest(name, self._option_string_actions)
        return f"unknown option {name}" + (f"; did you mean {near}?" if near else "")


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that `word` was probably meant to be, or an empty string."""
    import difflib

    matches = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return matches[0] if matches else ""


def add_global_options(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """The options that every verb has, and that may stand before it too."""
    group = parser.add_argument_group("global options (before or after the command)")
    where = group.add_mutually_exclusive_group()
    return [
        where.add_argument("--config", metavar="FILE", help="the cluster's configuration"),
        where.add_argument(
            "--cluster",
            metavar="NAME",
            help="the cluster of that name: ./NAME.yaml, one in the user's"
            " configuration directory, or one that was started",
        ),
        group.add_argument(
            "-o",
            "--output",
            metavar="FORMAT",
            choices=OUTPUT_FORMATS,
            default=OUTPUT_FORMATS[0],
            help="table (default), wide, json or yaml",
        ),
        group.add_argument(
            "-v", "--verbose", action="count", default=0, help="say more; twice for error traces"
        ),
        group.add_argument("-h", "--help", action="help", help="show this help and exit"),
    ]


def verb_parser(noun: str, verb: Verb) -> Parser:
    """The parser of one verb with everything that its help shows."""
    prog = " ".join(word for word in ("iris", noun, verb.name) if word)
    usage = f"{prog} {verb.usage}" if verb.usage else ""
    parser = Parser(prog, usage=usage, description=verb.description, epilog=_epilog(verb))
    verb.add_options(parser)
    add_global_options(parser)
    return parser


def _epilog(verb: Verb) -> str:
    parts = []
    if verb.examples:
        parts.append("examples:\n" + "\n".join(f"  {line}" for line in verb.examples))
    if verb.exits:
        width = max(len(status) for status, _ in verb.exits)
        rows = (f"  {status:<{width}}  {meaning}" for status, meaning in verb.exits)
        parts.append("exit status:\n" + "\n".join(rows))
    return "\n\n".join(parts)
