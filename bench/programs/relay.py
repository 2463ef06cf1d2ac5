"""The limit of benchmark 3: two unary calls, then a process, and nothing else.

The first line says how to be: an empty word is the host, which spawns the words
of each call and answers with what they printed; an address is the controller,
which hands each call on to the host there. The answer is the own address.
"""

import json
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

METHOD = "/iris.bench.Relay/Run"
WRITING = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC
Handler = Callable[[bytes, grpc.ServicerContext], bytes]


def spawn(request: bytes, context: grpc.ServicerContext) -> bytes:
    """Run the words of a request in a session of their own; what they printed."""
    argv = request.split(b"\0")
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, "spawned.log", WRITING, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=actions, setsid=True)
    os.waitpid(pid, 0)
    return Path("spawned.log").read_bytes()


class Relay(grpc.GenericRpcHandler):
    """One method, of bytes."""

    def __init__(self, handler: Handler) -> None:
        self._handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(handler)

    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        """The handler, for the one method."""
        return self._handler if details.method == METHOD else None


def handler_to(address: str) -> Handler:
    """Hands calls on to the host at an address; spawns them itself without one."""
    if not address:
        return spawn
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = grpc.insecure_channel(address).unary_unary(METHOD)
    return lambda request, context: call(request)


server = grpc.server(ThreadPoolExecutor(1), options=[("grpc.so_reuseport", 0)])
server.add_generic_rpc_handlers((Relay(handler_to(json.loads(sys.stdin.readline()))),))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(json.dumps(f"127.0.0.1:{port}"), flush=True)
sys.stdin.read()
server.stop(None)
