"""What the doctor does on machines: dials, listens, tries directories. Also on others, where it is not installed.

Hosts get this file as text (`python3 -c`), so it needs no more than Python 3.10
and its standard library. Data comes as arguments and on standard input; the
answer is one JSON object on a line. It leaves nothing: no file has a name, and
no process outlives its deadline.

    dial SECONDS            < {"wait_s": 5, "hears": true, "to": {KEY: [HOST, PORT]}}
    room SECONDS PATH...
    listen SECONDS WORD PORT...
"""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

MOST_DIALS = 32
HEARD_BYTES = 64
LAST_PORT = 65535
SEND_S = 5.0


class PortTaken(Exception):
    """A port cannot be listened on; the message says which and why."""


def main(argv: Sequence[str]) -> int:
    """Run one command of those above."""
    command, seconds, *words = argv
    # Whatever hangs here, and whatever became of who asked.
    signal.alarm(int(seconds))
    if command == "listen":
        return _stand_in(words[0], [int(port) for port in words[1:]])
    if command == "dial":
        _say(dial_all(json.load(sys.stdin)))
    else:
        with open("/proc/mounts", encoding="utf-8", errors="surrogateescape") as mounts:
            _say({"mounts": mounts.read(), "rooms": {path: room(path) for path in words}})
    return 0


def _say(answer: object) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


# -- dialling ----------------------------------------------------------------


def dial_all(asked: Mapping[str, Any]) -> dict[str, str]:
    """What came of each: `connected`, with what was heard behind it, `refused`, or `failed` and why."""
    with ThreadPoolExecutor(MOST_DIALS) as pool:
        tries = {
            key: pool.submit(dial, host, int(port), float(asked["wait_s"]), bool(asked["hears"]))
            for key, (host, port) in asked["to"].items()
        }
        return {key: tried.result() for key, tried in tries.items()}


def dial(host: str, port: int, wait_s: float, hears: bool) -> str:
    """One connection; `hears` waits for the other side to speak first."""
    if port > LAST_PORT:
        # The resolver would cut the number, and dial another.
        return f"failed there is no port {port}"
    try:
        with socket.create_connection((host, port), wait_s) as peer:
            return f"connected {_heard(peer)}" if hears else "connected"
    except ConnectionRefusedError:
        return "refused"
    except (OSError, UnicodeError) as error:
        return f"failed {getattr(error, 'strerror', '') or str(error) or 'no answer'}"


def _heard(peer: socket.socket) -> str:
    try:
        return peer.recv(HEARD_BYTES).decode("ascii", "replace").strip()
    except OSError:
        return ""


# -- listening ---------------------------------------------------------------


def listen_on(ports: Sequence[int]) -> list[socket.socket]:
    """Listen on every address of this machine, on all of these ports or on none.

    Raises:
        PortTaken: one of them cannot be had.
    """
    found: list[socket.socket] = []
    try:
        for port in ports:
            found.append(_listen(port))
    except PortTaken:
        for listener in found:
            listener.close()
        raise
    return found


def _listen(port: int) -> socket.socket:
    if port > LAST_PORT:
        raise PortTaken(f"there is no port {port}")
    dual = socket.has_dualstack_ipv6()
    try:
        listener = socket.create_server(
            ("::" if dual else "0.0.0.0", port),
            family=socket.AF_INET6 if dual else socket.AF_INET,
            backlog=64,
            dualstack_ipv6=dual,
        )
    except OSError as error:
        raise PortTaken(f"cannot listen on port {port}: {error.strerror or error}") from error
    # One that was there when it was looked at can be gone when it is accepted.
    listener.setblocking(False)
    return listener


def serve(listeners: Sequence[socket.socket], word: str, until: int, events: int = select.POLLIN) -> None:
    """Tell whoever connects the word, until one of `events` is seen on the file descriptor `until`.

    Its hanging up, as that of a pipe whose other end is closed, is always among them.
    """
    by_number = {listener.fileno(): listener for listener in listeners}
    poller = select.poll()
    poller.register(until, events)
    for number in by_number:
        poller.register(number, select.POLLIN)
    while True:
        ready = [number for number, _ in poller.poll()]
        if until in ready:
            return
        for number in ready:
            _answer(by_number[number], word)


def _answer(listener: socket.socket, word: str) -> None:
    try:
        peer, _ = listener.accept()
        with peer:
            peer.settimeout(SEND_S)
            peer.sendall(word.encode("ascii"))
    except OSError:
        # Who hung up meanwhile does not want to know.
        return


def _stand_in(word: str, ports: Sequence[int]) -> int:
    """Listen until nobody reads our standard output any more: who asked is done, or gone."""
    try:
        listeners = listen_on(ports)
    except PortTaken as error:
        _say({"trouble": str(error)})
        return 0
    _say({"trouble": ""})
    serve(listeners, word, sys.stdout.fileno(), 0)
    return 0


# -- directories -------------------------------------------------------------


def room(path: str) -> dict[str, Any]:
    """Whether an absolute path is a directory that can be written, or can be made one.

    `there` is the lowest part of it that exists, `real` where it leads to, and
    `trouble` why not.
    """
    there = path
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    found: dict[str, Any] = {"there": there, "real": os.path.realpath(path), "free_bytes": 0, "trouble": ""}
    try:
        disk = os.statvfs(there)
        found["free_bytes"] = disk.f_bavail * disk.f_frsize
        if not os.path.isdir(there):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        # Has no name at any moment, and so is gone whatever happens to us.
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        found["trouble"] = error.strerror or str(error)
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
