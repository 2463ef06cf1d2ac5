"""From words to a command: parse, run, and report what went wrong in one line.

Here is the one place that catches every error of a command.
"""

import contextlib
import io
import os
import sys

from iris_cli.exits import FAILED, INTERRUPTED, USAGE, CliError

# What type checkers read as true, without the import of `typing`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

# The module of each command; each has `run(options) -> int`. They are imported
# when the command runs, since they bring gRPC along.
COMMANDS = {
    ("cluster", "start"): "iris_cli.commands.cluster_start",
    ("cluster", "status"): "iris_cli.commands.cluster_status",
    ("cluster", "stop"): "iris_cli.commands.cluster_stop",
    ("cluster", "restart"): "iris_cli.commands.cluster_restart",
    ("cluster", "tunnel"): "iris_cli.commands.cluster_tunnel",
    ("cluster", "login"): "iris_cli.commands.cluster_login",
    ("cluster", "gc"): "iris_cli.commands.cluster_gc",
    ("config", "validate"): "iris_cli.commands.config_validate",
    ("config", "show"): "iris_cli.commands.config_show",
    ("config", "schema"): "iris_cli.commands.config_schema",
    ("config", "accelerators"): "iris_cli.commands.config_accelerators",
    ("job", "run"): "iris_cli.commands.job_run",
    ("job", "list"): "iris_cli.commands.job_list",
    ("job", "show"): "iris_cli.commands.job_show",
    ("job", "logs"): "iris_cli.commands.job_logs",
    ("job", "wait"): "iris_cli.commands.job_wait",
    ("job", "stop"): "iris_cli.commands.job_stop",
    ("group", "list"): "iris_cli.commands.group_list",
    ("slice", "list"): "iris_cli.commands.slice_list",
    ("worker", "list"): "iris_cli.commands.worker_list",
    ("worker", "show"): "iris_cli.commands.worker_show",
    ("", "doctor"): "iris_cli.commands.doctor",
    ("", "events"): "iris_cli.commands.events",
    ("", "version"): "iris_cli.commands.version",
}


def run(argv: list[str]) -> int:
    """Run one command line; returns its exit status."""
    _never_fail_to_print()
    if not argv:
        from iris_cli._help_text import HELP

        sys.stderr.write(HELP)
        return USAGE
    from iris_cli.signals import handled

    with handled() as ending:
        status = _run_reported(argv)
    return ending.status(status)


def _run_reported(argv: list[str]) -> int:
    try:
        return _run_command(argv)
    except CliError as error:
        _report(error.message, error.hint, error.details, error.after)
        if _wants_trace(argv) and error.status != USAGE:
            _print_trace()
        return error.status
    except KeyboardInterrupt:
        sys.stderr.write("\niris: interrupted\n")
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except OSError as error:
        # A full disk, a directory without permission: the machine's, not ours.
        where = f"{error.filename}: " if error.filename else ""
        _report(f"{where}{error.strerror or error}", "", ())
        if _wants_trace(argv):
            _print_trace()
        return FAILED
    except Exception as error:
        # The catch-all of a command: a defect of iris itself.
        first_line = f"{type(error).__name__}: {error}".splitlines()[0]
        traced = _wants_trace(argv)
        hint = "" if traced else "this is a defect of iris; IRIS_DEBUG=1 or -v -v shows the trace"
        _report(f"unexpected error: {first_line}", hint, ())
        if traced:
            _print_trace()
        return FAILED


def _run_command(argv: list[str]) -> int:
    from iris_cli.arguments.words import split_words

    words = split_words(argv)
    if not words.verb:
        sys.stdout.write(_help_of(words.noun))
        return 0
    options = _parse(words.noun, words.verb, words.options, words.command)
    if options is None:
        return 0
    import importlib

    module = importlib.import_module(COMMANDS[words.noun, words.verb])
    status: int = module.run(options)
    return status


def _help_of(noun: str) -> str:
    if not noun:
        from iris_cli._help_text import HELP

        return HELP
    from iris_cli.arguments.tree import noun_help

    return noun_help(noun)


def _parse(noun: str, verb: str, words: list[str], command: list[str] | None) -> "Namespace | None":
    """The options of a verb; None where its help was printed."""
    from iris_cli.arguments.spec import verb_parser
    from iris_cli.arguments.tree import verbs_of

    parser = verb_parser(noun, verbs_of(noun)[verb])
    takes_command = (noun, verb) == ("job", "run")
    if command is not None and not takes_command:
        words = [*words, "--", *command]
    try:
        options = parser.parse_exactly(words)
    except SystemExit:
        # argparse leaves by this door after it has printed the help.
        return None
    if takes_command:
        options.command = _checked_command(options.command, command)
    return options


def _checked_command(before: list[str], after: list[str] | None) -> list[str]:
    """The command of `job run`, which has to stand behind `--`."""
    see = "see: iris job run --help"
    if after is None and before:
        words = " ".join(before)
        raise CliError(USAGE, f"put -- before the command: iris job run [options] -- {words}", hint=see)
    if before:
        raise CliError(USAGE, f"unexpected argument {before[0]!r} before --", hint=see)
    if not after or not after[0]:
        raise CliError(USAGE, "a command is missing: iris job run [options] -- COMMAND [ARG ...]", hint=see)
    return after


def _report(message: str, hint: str, details: tuple[str, ...], after: tuple[str, ...] = ()) -> None:
    from iris_cli.cursor import fresh_line

    lines = [*details]
    if message:
        lines.append(f"iris: {message}")
    lines += after
    if hint:
        lines.append(f"      {hint}")
    # Where both share a pipe, what was printed before stays before.
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    try:
        sys.stderr.write(fresh_line() + "".join(f"{line}\n" for line in lines))
        sys.stderr.flush()
    except BrokenPipeError:
        raise
    except OSError:
        # The status still says it.
        from iris_cli.output import swallow

        swallow(sys.stderr)


def _wants_trace(argv: list[str]) -> bool:
    # From the words, since the parser itself may have failed.
    if os.environ.get("IRIS_DEBUG", "") not in ("", "0"):
        return True
    own = argv[: argv.index("--")] if "--" in argv else argv
    return sum(_verbosity(word) for word in own) >= 2


def _verbosity(word: str) -> int:
    if word == "--verbose":
        return 1
    return len(word) - 1 if word.startswith("-v") and set(word[1:]) == {"v"} else 0


def _print_trace() -> None:
    import traceback

    traceback.print_exc()


def _never_fail_to_print() -> None:
    """Characters that the terminal's encoding lacks are escaped, not fatal; and nothing is cut short.

    Unbuffered streams (PYTHONUNBUFFERED) write straight to the file, and drop
    what a full disk or a slow pipe does not take at once.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        raw = getattr(stream, "buffer", None)
        if isinstance(raw, io.RawIOBase):
            buffer = io.BufferedWriter(raw)
            stream = io.TextIOWrapper(buffer, stream.encoding, line_buffering=name == "stderr")
            setattr(sys, name, stream)
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
