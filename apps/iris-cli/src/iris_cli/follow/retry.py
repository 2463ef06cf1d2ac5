"""Streams that are opened again where they broke, for as long as that may help."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from iris_cli.client import Connection, Controller, RpcFailed
from iris_cli.exits import STREAM_BROKEN, UNREACHABLE, CliError
from iris_cli.text import duration

T = TypeVar("T")

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2.0
# A controller that is started again answers well within this.
DEFAULT_LIMIT_S = 60.0
LIMIT_VARIABLE = "IRIS_RECONNECT_TIMEOUT"
# Breaks that are mended sooner are not worth a line.
QUIET_S = 0.5
# On this machine a connection that is refused is refused at once: a stream
# that stood for this long was answered, if only with silence.
STEADY_S = 5.0


def limit_from_environment() -> float:
    """How long to go on trying, in seconds: `IRIS_RECONNECT_TIMEOUT` or the default."""
    from iris_config.units import parse_duration

    text = os.environ.get(LIMIT_VARIABLE, "")
    if not text:
        return DEFAULT_LIMIT_S
    try:
        return parse_duration(text) / 1e9
    except ValueError as error:
        raise CliError(2, f"{LIMIT_VARIABLE}={text!r}: {error}") from error


class Stopped(Exception):
    """Whoever reads the stream has asked it to end."""


class Retry:
    """Decides whether a broken stream is opened again, and after which pause.

    One for each stream. `patient` streams are tried again even if they never
    worked: there is something to lose. `clock` and `wait` are for tests; `wait`
    returns whether the stream was asked to end meanwhile.
    """

    def __init__(
        self,
        limit_s: float,
        *,
        patient: bool,
        announce: Callable[[str], None],
        stopped: threading.Event | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit_s = limit_s
        self._announce = announce
        self._stopped = stopped or threading.Event()
        self._clock = clock
        self._worked = patient
        self._broken_since: float | None = None
        self._pause_s = FIRST_PAUSE_S
        self._opened_at = self._paused_at = float("inf")
        self._announced = False

    def opened(self) -> None:
        """The stream was opened; whether anybody answers is not known yet."""
        self._opened_at = self._clock()

    def progress(self) -> None:
        """The stream brought something."""
        if self._announced:
            self._announce("connected again")
        self._worked = True
        self._broken_since = None
        self._announced = False

    def pause(self, error: CliError) -> None:
        """Wait before the stream is opened again.

        Raises:
            CliError: it is not worth it, or not any more.
            Stopped: nobody reads any more.
        """
        if self._stopped.is_set():
            raise Stopped from error
        now = self._clock()
        if now - self._opened_at >= STEADY_S:
            # It stood, though it had nothing to bring: this break is a new one.
            self._worked, self._broken_since = True, None
        if not self._worked or not isinstance(error, RpcFailed) or not error.again:
            raise error
        if self._broken_since is None:
            self._broken_since = now
        broken_s = now - self._broken_since
        if broken_s >= self._limit_s:
            raise self._given_up(error) from error
        if broken_s >= QUIET_S and not self._announced:
            self._announced = True
            limit = duration(self._limit_s)
            self._announce(f"connection lost ({error.message}); trying again for up to {limit}")
        # A stream that breaks again soon after it was mended is not asked for
        # ever faster.
        if now - self._paused_at > 2 * LONGEST_PAUSE_S:
            self._pause_s = FIRST_PAUSE_S
        self._paused_at, self._opened_at = now, float("inf")
        if self._stopped.wait(min(self._pause_s, self._limit_s - broken_s)):
            raise Stopped from error
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)

    def _given_up(self, error: CliError) -> CliError:
        status = UNREACHABLE if error.status == UNREACHABLE else STREAM_BROKEN
        tried = f"gave up after {duration(self._limit_s)} without contact"
        return CliError(status, f"{error.message}; {tried}", hint=error.hint)


def resilient(
    controller: Controller,
    open_stream: Callable[[Connection], Iterator[T]],
    is_last: Callable[[T], bool],
    retry: Retry,
) -> Iterator[T]:
    """Every message up to the last one, over as many connections as it takes.

    `open_stream` is called anew for each connection, so it can ask for what is
    still missing.

    Raises:
        CliError: the stream broke and could not be mended.
    """
    while True:
        try:
            with controller.connect() as connection:
                retry.opened()
                for message in open_stream(connection):
                    retry.progress()
                    yield message
                    if is_last(message):
                        return
            error = RpcFailed(STREAM_BROKEN, "the controller ended the stream before its end", again=True)
        except RpcFailed as failure:
            error = failure
        retry.pause(error)
