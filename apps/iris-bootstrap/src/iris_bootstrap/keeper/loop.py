"""The keeper's one loop: signals, children, the session's orders and the time, in turn.

Knows how its parts fit together and takes no decision about an attempt.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
from contextlib import suppress
from functools import partial
from itertools import islice

from iris_bootstrap.keeper import frames
from iris_bootstrap.keeper.dead_man import DeadMan
from iris_bootstrap.keeper.ending import Clock
from iris_bootstrap.keeper.frames import FrameError, Message
from iris_bootstrap.keeper.link import Backoff, Link
from iris_bootstrap.keeper.memory import Memory
from iris_bootstrap.keeper.silence import SPEAK_S, Silence
from iris_bootstrap.keeper.tasks import Tasks
from iris_bootstrap.log import Log
from iris_platform import processes
from iris_platform.health_port import answer

# Starts to a turn: each holds up the loop for as long as a process takes to be made.
_STARTS_PER_TURN = 8
# Beyond so many, orders stay in the pipe until processes have been made.
_MOST_QUEUED = 512
_REAPED_PER_TURN = 256
# Boot time passes during suspension and timeouts do not count it; so much late is early enough,
# with tasks under a lease and without.
_LONGEST_WAIT_S = 1.0
_LONGEST_IDLE_WAIT_S = 10.0
# What a session may take to say something; it says then how long it may be silent.
_FIRST_WORDS_S = 60.0
# So far ahead a contact is noted, so that it seldom is: less than what machines may be late to go.
_CONTACT_NOTED_S = 30.0
# For the session to deliver the last reports.
_BYE_S = 3.0

_SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Keeper:
    """Runs until it is told to leave, or has had no controller for too long."""

    def __init__(
        self,
        session_command: list[str],
        tasks: Tasks,
        memory: Memory,
        clock: Clock,
        orphan_timeout_s: float,
        log: Log,
        dead_man: DeadMan | None = None,
    ) -> None:
        """An orphan leaves; with a `dead_man` it does so when that has succeeded."""
        self._session_command = session_command
        self._tasks = tasks
        self._memory = memory
        self._clock = clock
        self._log = log
        self._orphan_timeout_s = orphan_timeout_s
        self._dead_man = dead_man
        # The keeper's own start counts as work, but not that of one that takes over: one that dies again
        # and again without a controller must go as well.
        now_s = clock.boot_s()
        self._busy_until_s = now_s if memory.contact_s is None else min(now_s, memory.contact_s)
        self._selector = selectors.DefaultSelector()
        self._wakeup = _catch_signals()
        self._selector.register(self._wakeup, selectors.EVENT_READ)
        self._health: socket.socket | None = None
        self._link: Link | None = None
        self._link_started_s = 0.0
        self._silence = Silence(clock.boot_s())
        self._suspect_after_s = _FIRST_WORDS_S
        self._listening = 0
        self._more_to_reap = False
        self._backoff = Backoff()
        self._leaving = ""
        self._said_bye = False
        self._file_problem: str | None = None

    def answer_on(self, health: socket.socket) -> None:
        """Answer on a health port as long as the loop turns."""
        self._health = health
        self._selector.register(health, selectors.EVENT_READ)

    def run(self) -> str:
        """Keep the host's tasks until it is time to leave; returns why."""
        # In a turn like any later one, so that it is on record and told what it must know.
        self._tasks.timers.set("session", self._clock.boot_s(), self._start_session)
        while not self._is_done():
            self._turn()
        return self._leaving

    def _turn(self) -> None:
        for key, _ in self._selector.select(self._wait_s()):
            if key.fileobj is self._wakeup:
                self._on_signals()
            elif self._health is not None and key.fileobj is self._health:
                answer(self._health)
        self._read_orders()
        for action in self._tasks.timers.take_due(self._clock.boot_s()):
            action()
        # What starts must be on record first.
        if (error := self._memory.flush()) is not None:
            self._tasks.refuse_queued(error)
        self._note_file(error)
        self._tasks.start_some(_STARTS_PER_TURN)
        self._reap()
        self._tasks.list_new()
        self._watch_contact()
        # What is reported must be on record first, where that is possible.
        self._memory.flush()
        self._write_news()

    def _note_file(self, error: OSError | None) -> None:
        """Say when the keeper's file cannot be written, and when it can be again."""
        problem = error.strerror if error is not None else None
        if problem != self._file_problem:
            self._file_problem = problem
            self._log("file_not_written" if problem else "file_written_again", error=problem)

    def _wait_s(self) -> float:
        if self._tasks.queued or self._more_to_reap:
            return 0.0
        now_s = self._clock.boot_s()
        busy = self._tasks.busy
        next_s = now_s + (_LONGEST_WAIT_S if busy else _LONGEST_IDLE_WAIT_S)
        orphaned_at_s = self._orphaned_at_s()
        if not busy and not self._leaving and (self._dead_man is None or orphaned_at_s > now_s):
            next_s = min(next_s, orphaned_at_s)
        if (due_s := self._tasks.timers.next_s()) is not None:
            next_s = min(next_s, due_s)
        return max(next_s - now_s, 0.0)

    # Signals and children.

    def _on_signals(self) -> None:
        with suppress(BlockingIOError):
            for number in self._wakeup.recv(4096):
                if number != signal.SIGCHLD:
                    self._on_told_to_leave(signal.Signals(number).name)

    def _on_told_to_leave(self, why: str) -> None:
        self._log("leaving" if not self._leaving else "hurrying", why=why)
        if self._leaving:
            self._tasks.hurry()
        else:
            self._leave(why)

    def _leave(self, why: str) -> None:
        self._leaving = why
        if self._dead_man is not None:
            self._dead_man.call_off()
        self._tasks.timers.cancel("session")
        self._tasks.leave()

    def _reap(self) -> None:
        reaped = 0
        while reaped < _REAPED_PER_TURN:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            reaped += 1
            self._tasks.endings.on_exit(pid, status)
            if self._dead_man is not None:
                self._dead_man.on_exit(pid, status, self._clock.boot_s())
            if self._link is not None and pid == self._link.pid:
                self._on_session_exit(self._link, status)
        # Those that are left have had their signal, and will not wake us again.
        self._more_to_reap = reaped == _REAPED_PER_TURN
        if reaped:
            self._tasks.endings.judge()

    # The session.

    def _start_session(self) -> None:
        # What changed before is in what a session is told first.
        self._memory.changed.clear()
        try:
            link = Link(self._session_command, self._memory.messages())
        except OSError as error:
            self._log("session_not_started", error=error.strerror)
            self._start_session_later(0.0)
            return
        self._tasks.trees.admit(link.pid, None)
        self._link = link
        now_s = self._link_started_s = self._clock.boot_s()
        self._silence = Silence(now_s)
        # Its own lease says it better; a busy machine takes a while to start a session.
        self._suspect_after_s = _FIRST_WORDS_S
        self._tasks.timers.set("watch", now_s + SPEAK_S, partial(self._watch_session, link))
        start_time = processes.start_time(link.pid)
        self._memory.add_agent({"kind": "session", "pid": link.pid, "start_time": start_time})
        self._listening = 0
        self._listen(link)

    def _listen(self, link: Link, writing: bool = False) -> None:
        """Wait for what the link is ready for; for no orders while too many wait."""
        wanted = 0
        if self._tasks.queued < _MOST_QUEUED:
            wanted |= selectors.EVENT_READ
        if writing:
            wanted |= selectors.EVENT_WRITE
        if link.socket is None or wanted == self._listening:
            return
        if not self._listening:
            self._selector.register(link.socket, wanted)
        elif not wanted:
            self._selector.unregister(link.socket)
        else:
            self._selector.modify(link.socket, wanted)
        self._listening = wanted

    def _read_orders(self) -> None:
        link = self._link
        if link is None or link.socket is None or self._tasks.queued >= _MOST_QUEUED:
            return
        try:
            orders = link.read()
            if orders is not None:
                for order in orders:
                    self._on_order(link, order)
                return
        except (FrameError, ValueError) as error:
            self._log("bad_order", error=str(error))
        self._hang_up(link)

    def _on_order(self, link: Link, order: Message) -> None:
        match order:
            case frames.Ping(sequence):
                link.say(frames.Pong(sequence))
            case frames.Job():
                self._tasks.on_job(order)
            case frames.Start():
                self._tasks.on_start(order)
            case frames.Release():
                self._tasks.on_release(order)
            case frames.Stop():
                self._tasks.on_stop(order)
            case frames.Lease():
                self._suspect_after_s = order.suspect_after_s
                self._tasks.on_lease(order)
            case frames.Notice():
                self._tasks.on_notice(order)
            case frames.Forget():
                self._tasks.on_forget(order)
            case _:
                raise FrameError(f"not an order: {type(order).__name__}")

    def _watch_session(self, link: Link) -> None:
        """Replace a session that is there and says nothing: it speaks as often as it wants us to."""
        if link is not self._link or not self._suspect_after_s:
            return
        now_s = self._clock.boot_s()
        # Where we do not listen, it is not the one that is silent.
        heard = link.heard or self._tasks.queued >= _MOST_QUEUED
        link.heard = False
        if self._silence.look(now_s, self._suspect_after_s, heard):
            self._log("session_silent", for_s=self._suspect_after_s)
            self._hang_up(link)
        else:
            self._tasks.timers.set("watch", now_s + SPEAK_S, partial(self._watch_session, link))

    def _hang_up(self, link: Link) -> None:
        """End a session that is no use any more; it is reaped like any child."""
        self._close(link)
        link.kill()

    def _close(self, link: Link) -> None:
        if link.socket is not None and self._listening:
            self._selector.unregister(link.socket)
            self._listening = 0
        link.close()

    def _on_session_exit(self, link: Link, status: int) -> None:
        self._close(link)
        self._link = None
        lived_s = self._clock.boot_s() - self._link_started_s
        if not self._leaving:
            self._log("session_ended", status=os.waitstatus_to_exitcode(status), lived_s=round(lived_s, 3))
            self._start_session_later(lived_s)

    def _start_session_later(self, lived_s: float) -> None:
        when_s = self._clock.boot_s() + self._backoff.after(lived_s)
        self._tasks.timers.set("session", when_s, self._start_session)

    def _write_news(self) -> None:
        link = self._link
        if link is not None and link.socket is not None:
            link.fill(self._take_news)
            self._listen(link, writing=link.write())

    def _take_news(self, at_most: int) -> list[Message]:
        keys = list(islice(self._memory.changed, at_most))
        reports = []
        for key in keys:
            del self._memory.changed[key]
            attempt = self._memory.attempts.get(key)
            if attempt is not None and attempt.report is not None:
                reports.append(attempt.report)
        return [frames.Reports(reports)] if reports else []

    # The end.

    def _watch_contact(self) -> None:
        """Leave when nothing has run and no controller has answered for too long."""
        now_s = self._clock.boot_s()
        if self._tasks.busy:
            self._busy_until_s = now_s
        elif not self._leaving and now_s >= self._orphaned_at_s():
            self._on_orphaned(now_s)
        elif self._dead_man is not None:
            self._dead_man.call_off()
        noted_s, alone_s = self._memory.contact_s, self._alone_since_s()
        if not self._leaving and (noted_s is None or alone_s > noted_s):
            self._memory.add_contact(alone_s + _CONTACT_NOTED_S)

    def _on_orphaned(self, now_s: float) -> None:
        if self._dead_man is None or self._dead_man.has_succeeded:
            self._log("orphaned")
            self._leave("orphan_timeout")
        elif pid := self._dead_man.begin(now_s):
            self._tasks.trees.admit(pid, None)

    def _alone_since_s(self) -> float:
        lease = self._tasks.lease
        # The beat that was acknowledged was sent one lease before it ends.
        contact_s = 0.0 if lease is None else lease.deadline_s - lease.lease_s
        return max(self._busy_until_s, contact_s)

    def _orphaned_at_s(self) -> float:
        lease = self._tasks.lease
        timeout_s = self._orphan_timeout_s if lease is None else lease.orphan_timeout_s
        return self._alone_since_s() + timeout_s

    def _give_up(self, link: Link) -> None:
        if self._link is link:
            self._hang_up(link)

    def _is_done(self) -> bool:
        if not self._leaving or self._tasks.busy:
            return False
        link = self._link
        if link is not None and not self._said_bye and not self._memory.changed:
            self._said_bye = True
            link.say(frames.Bye(self._leaving))
            self._tasks.timers.set("bye", self._clock.boot_s() + _BYE_S, partial(self._give_up, link))
            self._write_news()
        return link is None


def _catch_signals() -> socket.socket:
    """A socket on which the numbers of caught signals arrive."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    # Closing the sending end would make the next signal an error: it lives as long as the process.
    signal.set_wakeup_fd(theirs.detach(), warn_on_full_buffer=False)
    for number in _SIGNALS:
        # `nohup` means what it says.
        if not (number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN):
            signal.signal(number, _nothing)
    return ours


def _nothing(_number: int, _frame: object) -> None:
    """The wake-up is all that a signal is for."""
