"""What a command prints, and where: data on stdout, all else on stderr."""

import os
import shutil
import sys
from typing import TYPE_CHECKING, TextIO

from iris_cli.cursor import fresh_line, wrote
from iris_cli.exits import named_failure
from iris_cli.table import clip_cells, cut_last_column, render_fields, render_table

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

    from google.protobuf.message import Message

_RED, _GREEN, _YELLOW = "31", "32", "33"
_COLOURS = {
    **dict.fromkeys(("SUCCEEDED", "READY", "HEALTHY", "AVAILABLE"), _GREEN),
    **dict.fromkeys(("FAILED", "LOST", "UNSCHEDULABLE", "WORKER_LOST", "QUOTA_EXCEEDED"), _RED),
    **dict.fromkeys(("SUSPECT", "BACKOFF", "KILLED", "PREEMPTED", "STOPPING"), _YELLOW),
}


class Output:
    """The two streams of a command, and the format that was asked for."""

    def __init__(self, options: "Namespace", *, sees_through: bool = False) -> None:
        """`sees_through`: what is done goes on although nobody reads of it any more."""
        self.format: str = options.output
        self.verbose: int = options.verbose
        self._sees_through = sees_through

    @property
    def wide(self) -> bool:
        """Whether tables show every column."""
        return self.format == "wide"

    @property
    def cuts(self) -> bool:
        """Whether long cells are cut: for eyes only, never for programs."""
        return not self.wide and is_terminal(sys.stdout)

    @property
    def structured(self) -> bool:
        """Whether stdout is for programs: json or yaml."""
        return self.format in ("json", "yaml")

    def note(self, text: str) -> None:
        """A line for people, on stderr; where it cannot be written, the command goes on."""
        try:
            sys.stderr.write(f"{fresh_line()}{text}\n")
            sys.stderr.flush()
        except BrokenPipeError:
            if not self._sees_through:
                raise
            swallow(sys.stderr)
        except OSError:
            swallow(sys.stderr)

    def detail(self, text: str) -> None:
        """A note that only `-v` shows."""
        if self.verbose:
            self.note(text)

    def line(self, text: str) -> None:
        """A line of data, on stdout; nothing where stdout is for programs."""
        if not self.structured:
            self._print(f"{text}\n")

    def table(self, headers: "Sequence[str]", rows: "Sequence[Sequence[str]]", empty: str) -> None:
        """A table on stdout; where it has no rows, a note that says so.

        The last column is cut to what a terminal has room for, elsewhere never;
        the others to what still is a column, except in wide tables.
        """
        if not rows:
            self.note(empty)
            return
        if not self.wide:
            rows = clip_cells(rows)
        if self.cuts:
            rows = cut_last_column(headers, rows, shutil.get_terminal_size().columns)
        paint = _painted if _colours_wanted(sys.stdout) else None
        self._print(render_table(headers, rows, paint))

    def fields(self, fields: "Sequence[tuple[str, str]]") -> None:
        """`name: value` lines on stdout."""
        paint = _painted if _colours_wanted(sys.stdout) else None
        self._print(render_fields(fields, paint))

    def message(self, message: "Message") -> None:
        """An RPC's response as one document."""
        from iris_cli.documents import message_to_dict

        self.document(message_to_dict(message))

    def document(self, value: object) -> None:
        """One document on stdout, in the structured format that was asked for."""
        from iris_cli.documents import render_document

        self._print(render_document(value, self.format))

    def stream_message(self, message: "Message") -> None:
        """One of a stream of responses: an object a line, or a YAML document."""
        from iris_cli.documents import message_to_dict, render_item

        self._print(render_item(message_to_dict(message), self.format))

    def task_bytes(self, data: bytes) -> None:
        """What a task wrote, unchanged; on stderr where stdout is for programs."""
        stream = sys.stderr if self.structured else sys.stdout
        with named_failure("standard error" if self.structured else "standard output"):
            stream.buffer.write(data)
            stream.buffer.flush()
        wrote(data, stream.fileno())

    def ask(self, question: str) -> bool:
        """A yes-or-no question on the terminal; anything but yes is no."""
        sys.stderr.write(f"{fresh_line()}{question} [y/N] ")
        sys.stderr.flush()
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    def _print(self, text: str) -> None:
        try:
            with named_failure("standard output"):
                sys.stdout.write(text)
                sys.stdout.flush()
        except BrokenPipeError:
            if not self._sees_through:
                raise
            swallow(sys.stdout)


def swallow(stream: TextIO) -> None:
    """From now on whatever is written there goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), stream.fileno())


def can_ask() -> bool:
    """Whether somebody is there to answer."""
    return is_terminal(sys.stdin) and is_terminal(sys.stderr)


def is_terminal(stream: "TextIO | None") -> bool:
    """Whether somebody looks at a stream."""
    return stream is not None and stream.isatty()


def _colours_wanted(stream: TextIO) -> bool:
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") in (None, "", "dumb")
    return not plain and is_terminal(stream)


def _painted(cell: str) -> str:
    colour = _COLOURS.get(cell)
    return f"\x1b[{colour}m{cell}\x1b[0m" if colour else cell
