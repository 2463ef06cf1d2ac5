"""Ways from hosts back to a controller that they cannot dial: SSH forwards that it holds.

A host's agent dials a port of the host's own loopback interface, and has it
written down: it is the same after the controller, or the connection, is new.
Each host's connection has a thread, which makes it again when it broke.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from iris_platform.base import PlatformError, Refused, Unreachable
from iris_platform.files import make_private_dir, write_atomic
from iris_platform.manual.connections import Connections
from iris_platform.manual.records import Records
from iris_platform.ssh.connection import SshConnection

# Below what kernels give out by themselves, and below what agents reserve for gangs.
FIRST_PORT, PORT_PAIRS = 12_000, 4_000
# How often a connection, and what hosts there are, is looked at.
LOOK_S = 1.0
# Before a connection is made again: so long, then twice as long, ...
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
# For one try: to connect, and three answers.
UP_S = 120.0
SESSION_S = 20.0
END_S = 15.0

# Constant text. Ends the SSH session $1 that began at $2, unless it is this one: one of
# ours whose end never reached this host holds the ports for as long as TCP waits, which
# is a quarter of an hour. Prints the same two of this session.
_SESSION = """\
began() {
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  case $stat in *"(sshd"*|*"(dropbear"*) ;; *) return 1 ;; esac
  set -- ${stat##*\\)}
  shift 19
  echo "$1"
}
parent() {
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  set -- ${stat##*\\)}
  echo "$2"
}
own=
pid=$$
for step in 1 2 3 4; do
  pid=$(parent "$pid") || break
  if start=$(began "$pid"); then
    own="$pid $start"
    break
  fi
done
if [ -n "$1" ] && [ "$own" != "$1 $2" ] && [ "$(began "$1")" = "$2" ]; then
  kill -9 "$1"
  for step in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    [ "$(began "$1")" = "$2" ] || break
    sleep 0.1
  done
fi
[ -z "$own" ] || echo "$own"
"""

log = logging.getLogger(__name__)

Targets = tuple[tuple[str, int], ...]


def ports_on_hosts(cluster_id: str) -> tuple[int, int]:
    """Where agents find the controller on their own host: the port for agents, the one for joining."""
    number = int.from_bytes(hashlib.sha256(cluster_id.encode()).digest()[:8], "big")
    port = FIRST_PORT + 2 * (number % PORT_PAIRS)
    return port, port + 1


class Forwards:
    """The ways back from the hosts of one pool.

    `connections` are those to the hosts; `wanted` are the hosts that need a way now;
    `ports` are taken on each of them; `directory` is for what must be known
    after a crash.
    """

    def __init__(
        self,
        connections: Connections,
        wanted: Callable[[], Iterable[str]],
        ports: tuple[int, int],
        directory: Path,
    ) -> None:
        self._connections = connections
        self._wanted = wanted
        self._ports = ports
        self._directory = directory
        self._lock = threading.Lock()
        self._ways: dict[str, _Way] = {}
        # Asked for while `wanted` was being read.
        self._new: set[str] = set()
        self._targets: Targets | None = None
        self._trouble = ""

    @contextmanager
    def serve(self, addresses: tuple[str, str]) -> Iterator[None]:
        """Keep every host that needs it connected to these addresses of this machine."""
        targets = tuple(_parse(address) for address in addresses)
        ending = threading.Event()
        keeper = threading.Thread(target=self._keep, args=(ending,), name="forwards", daemon=True)
        with self._lock:
            self._targets = targets
        keeper.start()
        try:
            yield
        finally:
            ending.set()
            with self._lock:
                self._targets = None
                ways, self._ways = list(self._ways.values()), {}
            for way in ways:
                way.end()
            for way in ways:
                way.join(END_S)
            keeper.join(END_S)

    def ensure(self, host: str) -> None:
        """Return when a host has its way.

        Raises:
            PlatformError: it cannot have one now; says why.
        """
        with self._lock:
            self._new.add(host)
            way = self._way(host)
        way.wait(UP_S)

    def troubles(self) -> list[str]:
        """Every host without a way, and why."""
        with self._lock:
            ways, own = dict(self._ways), self._trouble
        reasons = {host: way.trouble for host, way in ways.items()}
        found = [f"host {host} has no way to the controller: {why}" for host, why in reasons.items() if why]
        return [own, *found] if own else found

    def _keep(self, ending: threading.Event) -> None:
        """Ends with `serve`."""
        while not ending.is_set():
            with self._lock:
                self._new.clear()
            try:
                self._meet(set(self._wanted()))
                self._trouble = ""
            except PlatformError as error:
                # Those that are there stay.
                self._trouble = f"forwards to new hosts wait: {error}"
            ending.wait(LOOK_S)

    def _meet(self, wanted: set[str]) -> None:
        with self._lock:
            if self._targets is None:
                return
            for host in wanted:
                self._way(host)
            for host in [host for host in self._ways if host not in wanted | self._new]:
                log.info("host %s: no slice is there any more; its forwards end", host)
                self._ways.pop(host).end()

    def _way(self, host: str) -> _Way:
        """The way of a host, made where there is none; the lock is held."""
        if self._targets is None:
            raise Unreachable("the controller does not listen for hosts now; try again")
        way = self._ways.get(host)
        if way is None or not way.is_alive():
            pairs = tuple(zip(self._ports, self._targets, strict=True))
            path = self._directory / f"session-{quote(host, safe='')}.json"
            way = self._ways[host] = _Way(lambda: self._connections.use(host), pairs, path)
            way.start()
        return way


class _Way(threading.Thread):
    """One host's connection with its forwards, on a thread of its own."""

    def __init__(
        self,
        use: Callable[[], AbstractContextManager[SshConnection]],
        pairs: tuple[tuple[int, tuple[str, int]], ...],
        path: Path,
    ) -> None:
        # A daemon: what hangs in spite of its deadlines does not hold up the end of the process.
        super().__init__(name="forward", daemon=True)
        self._use = use
        self._pairs = pairs
        self._path = path
        self._changed = threading.Condition()
        self._session = "", ""
        self._is_up = False
        self._tries = 0
        self._error: PlatformError | None = None
        self._hurried = False
        self._ended = False

    @property
    def trouble(self) -> str:
        """Why there is none; empty while there is, or before the first try."""
        error = self._error
        return "" if self._is_up or error is None else str(error)

    def run(self) -> None:
        """Until `end`."""
        pause_s = FIRST_PAUSE_S
        while not self._ended:
            if self._hold():
                pause_s = FIRST_PAUSE_S
            with self._changed:
                self._changed.wait_for(lambda: self._ended or self._hurried, pause_s)
                self._hurried = False
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        # Only after a crash is there somebody to end; the next way's file is not ours to remove.
        if _read_session(self._path) == self._session:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)

    def wait(self, seconds: float) -> None:
        """Return when it is up; a try that fails meanwhile is the answer."""
        with self._changed:
            tries = self._tries
            self._hurried = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_up or self._ended or self._tries > tries, seconds)
            if self._is_up:
                return
            error = self._error or Unreachable("no answer yet")
        raise type(error)(f"no way back to the controller: {error}") from error

    def end(self) -> None:
        """Take the forwards away, soon."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _hold(self) -> bool:
        """Connect, and stay until that breaks; whether it ever worked."""
        try:
            with ExitStack() as stack:
                self._stay(self._open(stack))
        except PlatformError as error:
            self._note(error)
            return False
        except OSError as error:
            self._note(Unreachable(str(error)))
            return False
        return True

    def _stay(self, connection: SshConnection) -> None:
        self._note(None)
        log.info("%s: the controller can be reached from there", connection.address)
        with self._changed:
            while connection.is_alive and not self._ended:
                self._changed.wait(LOOK_S)
            broke = not self._ended
        if broke:
            self._note(Unreachable(f"{connection.address}: the connection broke; it is made again"))
            log.warning("%s: the connection broke; it is made again", connection.address)

    def _open(self, stack: ExitStack) -> SshConnection:
        connection = stack.enter_context(self._use())
        self._take_turns(connection)
        for port, target in self._pairs:
            try:
                stack.enter_context(connection.forward_remote(port, target))
            except Refused as error:
                raise Refused(
                    f"{error}; or give controller.advertise_address, which needs no port"
                ) from error
        return connection

    def _take_turns(self, connection: SshConnection) -> None:
        """End the session before this one, if it is still there, and remember this one."""
        before = _read_session(self._path)
        argv = ["sh", "-c", _SESSION, "sh", *before]
        words = connection.run(argv, timeout_s=SESSION_S).out.decode("utf-8", "replace").split()
        make_private_dir(self._path.parent)
        write_atomic(self._path, json.dumps(words[:2]).encode("utf-8"))
        self._session = _read_session(self._path)

    def _note(self, error: PlatformError | None) -> None:
        with self._changed:
            self._is_up = error is None
            self._error = error
            self._tries += 1
            self._hurried = False
            self._changed.notify_all()


def hosts_with_slices(records: Records, groups: Iterable[str]) -> set[str]:
    """The hosts of these groups on which something may still run.

    Raises:
        Unreachable: the records cannot be read.
    """
    named = set(groups)
    ours = [one for one in records.all() if one.spec.group in named and not one.is_abandoned]
    return {host for record in ours for host in record.unclean}


def _read_session(path: Path) -> tuple[str, str]:
    """Process and start time of the session before; empty where nothing is known."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return "", ""
    if not isinstance(value, list) or len(value) != 2 or not all(str(part).isdecimal() for part in value):
        return "", ""
    return str(value[0]), str(value[1])


def _parse(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
