"""The metadata servers of VMs: sockets in their own networks, answered from here."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.harness.cloud import metadata
from tests.harness.cloud.metadata import Question, Reply

ADDRESS = "169.254.169.254"
PORT = 80
NAMES = "metadata.google.internal metadata"
Answers = Callable[[Question], Reply]
FORBIDDEN = "<!DOCTYPE html>\n<html lang=en>\n<title>Error 403 (Forbidden)!!1</title>\n"
NOT_FOUND = "<!DOCTYPE html>\n<html lang=en>\n<title>Error 404 (Not Found)!!1</title>\n"


class MetadataServer:
    """Answers whoever connects to a listening socket, until it is closed. `ask` may take its time."""

    def __init__(self, listening: socket.socket, ask: Answers) -> None:
        self._listening = listening
        self._ask = ask
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._accept, name="metadata", daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self._open.add(connection)
            serve = threading.Thread(target=self._serve, args=(connection,), name="metadata", daemon=True)
            serve.start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            _Handler(connection, self._ask)
        self._open.discard(connection)

    def close(self) -> None:
        """Hangs up; who still waits for a change hears nothing."""
        with contextlib.suppress(OSError):
            # What makes `accept` return.
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "Metadata Server for VM", ""

    def __init__(self, connection: socket.socket, ask: Answers) -> None:
        self._ask = ask
        # There is no server object: one socket, one VM.
        super().__init__(connection, ("", 0), None)  # type: ignore[arg-type]

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass

    def log_error(self, *words: Any) -> None:
        pass

    def do_PUT(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        self._answer(self.rfile.read(size).decode())

    def do_GET(self) -> None:
        if self.path in ("/", ""):
            self._send(Reply(200, "computeMetadata/\n"))
            return
        self._answer(None)

    def _answer(self, put: str | None) -> None:
        question = metadata.understand(self.path)
        if self.headers.get(metadata.HEADER) != metadata.FLAVOR or "X-Forwarded-For" in self.headers:
            self._send(Reply(403, FORBIDDEN))
        elif question is None:
            self._send(Reply(404, NOT_FOUND))
        else:
            reply = self._ask(replace(question, put=put))
            self._send(Reply(404, NOT_FOUND) if reply.status == 404 else reply)

    def _send(self, reply: Reply) -> None:
        body = reply.body.encode()
        kind = "application/json" if reply.is_json else "application/text"
        self.send_response(reply.status)
        self.send_header(metadata.HEADER, metadata.FLAVOR)
        self.send_header("Content-Type", "text/html" if reply.status >= 400 else kind)
        self.send_header("ETag", reply.etag)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
