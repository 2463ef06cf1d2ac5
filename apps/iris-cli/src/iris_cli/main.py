"""Entry point of `iris`.

Imports nothing but `sys`, so that the top-level help and the version cost no
more than the interpreter (benchmark 7); everything else is behind `dispatch`.
"""

import sys

FAILED = 1
# What type checkers read as true, without the import of `typing`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

INTERRUPTED = 130
BROKEN_PIPE = 141
TERMINATED = 143


def main(argv: list[str] | None = None) -> int:
    """Run one command line; returns its exit status."""
    words = sys.argv[1:] if argv is None else argv
    if None in (sys.stdin, sys.stdout, sys.stderr):
        from iris_platform.streams import open_missing_streams

        open_missing_streams()
    try:
        return _status_of(words)
    finally:
        _abandon_unwritable()


def _status_of(words: list[str]) -> int:
    status = 0
    try:
        status = _run(words)
        sys.stdout.flush()
        if status in (INTERRUPTED, TERMINATED):
            _leave(status)
    except KeyboardInterrupt:
        # Ctrl-C during the imports; commands that have something to say about
        # it catch it themselves.
        _leave(INTERRUPTED)
    except BrokenPipeError:
        # `iris job logs ID | head`: whoever reads has seen enough.
        return BROKEN_PIPE
    except OSError as error:
        # Otherwise the command has reported it, and this is its echo.
        if status == 0:
            sys.stderr.write(f"iris: cannot write standard output: {error.strerror}\n")
        return status or FAILED
    return status


def _run(words: list[str]) -> int:
    if words in (["--help"], ["-h"], ["help"]):
        from iris_cli._help_text import HELP

        sys.stdout.write(HELP)
        return 0
    if words in (["--version"], ["-V"]):
        from iris_cli import __version__

        sys.stdout.write(f"iris {__version__}\n")
        return 0
    from iris_cli.dispatch import run

    return run(words)


def _leave(status: int) -> "NoReturn":
    """End now: threads that wait for an answer would keep an interrupted command."""
    import os

    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            # Nobody reads it any more, which is why we end.
            continue
    os._exit(status)


def _abandon_unwritable() -> None:
    """The interpreter flushes once more at exit; what cannot be written then would change the status."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            from iris_cli.output import swallow

            swallow(stream)
