"""Entry point of `iris`.

Imports nothing but `sys`, so that the top-level help and the version cost no
more than the interpreter (benchmark 7); everything else is behind `dispatch`.
"""

import sys

INTERRUPTED = 130
BROKEN_PIPE = 141


def main(argv: list[str] | None = None) -> int:
    """Run one command line; returns its exit status."""
    words = sys.argv[1:] if argv is None else argv
    try:
        if words in (["--help"], ["-h"], ["help"]):
            from iris_cli._help_text import HELP

            return _print(HELP)
        if words in (["--version"], ["-V"]):
            from iris_cli import __version__

            return _print(f"iris {__version__}\n")
        from iris_cli.dispatch import run

        return run(words)
    except KeyboardInterrupt:
        # Ctrl-C during the imports; commands that have something to say about
        # it catch it themselves.
        return INTERRUPTED
    except BrokenPipeError:
        # `iris job logs ID | head`: whoever reads has seen enough.
        _silence_stdout()
        return BROKEN_PIPE


def _print(text: str) -> int:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        _silence_stdout()
        return BROKEN_PIPE
    return 0


def _silence_stdout() -> None:
    """The interpreter flushes once more at exit and would complain there."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
