"""The exit statuses of `iris`, and the error that carries one.

Knows nothing of gRPC, files or terminals; `statuses` maps gRPC's codes here.
"""

import contextlib

# What type checkers read as true, without the import of `typing`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

DONE = 0
FAILED = 1
USAGE = 2
NOT_FOUND = 3
NOT_ALLOWED = 4
UNREACHABLE = 5
LEFT_OVER = 6
TIMED_OUT = 7
STREAM_BROKEN = 8

# Statuses from here on are Iris's own where a job's command was submitted, so
# that they cannot be taken for the program's: 110 + one of the above.
AFTER_SUBMISSION = 110

# What a shell shows for a program that SIGINT, SIGPIPE or SIGTERM ended.
INTERRUPTED = 130
BROKEN_PIPE = 141
TERMINATED = 143

# Programs that could not be started, as shells report them.
NOT_EXECUTABLE = 126
COMMAND_NOT_FOUND = 127
SIGNALLED = 128


class CliError(Exception):
    """Ends a command: an exit status, one line that says why, perhaps a hint.

    `details` are lines printed as they stand, for findings that have a format
    of their own; those in `after` belong under the message, such as a log's end.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        hint: str = "",
        details: tuple[str, ...] = (),
        after: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.hint = hint
        self.details = details
        self.after = after


class OutputFailed(CliError):
    """What was asked for cannot be written: a full disk, as a rule. A closed pipe is none."""

    def __init__(self, error: OSError, stream: str) -> None:
        super().__init__(FAILED, f"cannot write {stream}: {error.strerror or error}")


@contextlib.contextmanager
def named_failure(stream: str) -> "Iterator[None]":
    """A failure to write that says what could not be written."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputFailed(error, stream) from error


def after_submission(error: CliError) -> CliError:
    """The same error where the job exists, with a status that says so."""
    status = error.status
    if 0 < status < AFTER_SUBMISSION:
        status += AFTER_SUBMISSION
    return CliError(status, error.message, hint=error.hint, details=error.details, after=error.after)
