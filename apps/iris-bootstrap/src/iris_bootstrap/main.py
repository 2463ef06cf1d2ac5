"""Entry point of the executable: parses the command line and hands over.

Imports nothing but what `--help` needs; the parser is also read at build time,
for the manual page.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from iris_bootstrap import __version__

# Not to hide a cycle: `--help` needs none of it.
if TYPE_CHECKING:
    from iris_bootstrap.join import JoinRequest

_DESCRIPTION = """\
The agent on each host of an Iris cluster. It reads where it is from
HOST_DIR/host.json, or from HOST_DIR/slice-facts.json and the metadata server,
dials the controller, runs the tasks that it is given and ships their logs. It is
started by the platform that made the host; you start it by hand only to look into
something.
"""

_RUN_DESCRIPTION = """\
Be the agent of a host directory. Whatever an earlier agent of this directory
left running is killed first, so that nothing ever runs twice; a second agent
on the same directory is refused.
"""

_RUN_EPILOG = """\
signals:
  SIGTERM, SIGINT, SIGHUP   leave: stop all tasks (SIGTERM, their grace, SIGKILL),
                            report, exit 0; once more: skip the grace

environment:
  IRIS_HEALTH_PORT          a port of the loopback interface that is open while the
                            agent is well

files in HOST_DIR:
  host.json      where this host is (written by the platform)
  agent.log      what the agent has to say, with --detach
  keeper.jsonl   attempts that were ever started here, and processes
  session.json   the highest epoch that a controller has shown
  tasks/         a directory for each attempt, until its end is settled

exit status:
  0  left as it was told to, or (with --detach) started
  1  could not start; the reason is the last thing said
  2  usage, or a host that does not say where it is
  79 not let in, since its slice is being deleted; not started again
"""


_JOIN_DESCRIPTION = """\
Make this host a member of a cluster whose controller is on another machine. It
makes a key, which never leaves it, and has it certified by the controller for
its place in host.json. The one-use token that proves the place is read from
standard input; a machine of Google's has an identity token instead (--proof google).
A host that has joined already stays as it is.
"""

_JOIN_EPILOG = """\
files in HOST_DIR/tls:
  key.pem        this host's key (0600)
  cert.pem       its certificate; `run` renews it
  ca.pem         the authority that it believes
  endpoint.json  where the controller is

exit status:
  0  joined
  1  refused; the reason is said, and another token is needed
  2  usage, or a file that cannot be used
  3  the controller cannot be reached; try again
  79 refused, since the host's slice is being deleted
"""


def build_parser() -> argparse.ArgumentParser:
    """The command line. `keeper` and `session` are for the agent's own processes."""
    parser = argparse.ArgumentParser(prog="iris-bootstrap", description=_DESCRIPTION, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--version", action="version", version=f"iris-bootstrap {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    run = commands.add_parser(
        "run",
        help="be the agent of a host directory",
        description=_RUN_DESCRIPTION,
        epilog=_RUN_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_host_arguments(run)
    run.add_argument(
        "--detach",
        action="store_true",
        help="return once the agent has started; it goes on in a session of its own and logs to HOST_DIR/agent.log",
    )
    run.add_argument(
        "--join",
        metavar="URL",
        help="join through this port before anything else, unless that was done; needs --ca and --address",
    )
    run.add_argument("--ca", type=Path, metavar="FILE", help="--join: the cluster's authority (PEM)")
    run.add_argument("--address", metavar="HOST:PORT", help="--join: where the controller is from then on")
    run.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="--join: holds the one-use token, and is removed when it was used",
    )
    _add_proof(run, "--join: ")
    # As `join` has it: whatever place host.json says.
    run.set_defaults(place=None)
    _add_join(commands)
    # Without `help` they are not listed: how the agent starts its own processes.
    keeper = commands.add_parser("keeper", allow_abbrev=False)
    _add_host_arguments(keeper)
    keeper.add_argument("--ready-fd", type=int, help="a pipe that is told when the keeper has started")
    keeper.add_argument("--deletes-slice", action="store_true", help="an orphan deletes its own slice")
    deletion = commands.add_parser("delete-slice", allow_abbrev=False)
    deletion.add_argument("--host-dir", required=True, type=Path, metavar="DIR")
    session = commands.add_parser("session", allow_abbrev=False)
    session.add_argument("--host-dir", required=True, type=Path, metavar="DIR")
    session.add_argument("--pipe-fd", required=True, type=int, metavar="FD")
    return parser


def _add_join(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    join = commands.add_parser(
        "join",
        help="get this host its certificate",
        description=_JOIN_DESCRIPTION,
        epilog=_JOIN_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    join.add_argument(
        "--host-dir", required=True, type=Path, metavar="DIR", help="the host's directory; holds host.json"
    )
    join.add_argument(
        "--url",
        # As `run --join` has it.
        dest="join",
        required=True,
        metavar="URL",
        help="the controller's join port: https://HOST:PORT",
    )
    join.add_argument(
        "--ca",
        required=True,
        type=Path,
        metavar="FILE",
        help="the cluster's authority (PEM); no other is believed",
    )
    join.add_argument(
        "--address", required=True, metavar="HOST:PORT", help="where `run` dials the controller from then on"
    )
    _add_proof(join)
    join.add_argument(
        "--place",
        metavar="SLICE/INDEX",
        help="refuse to be any other place than this (default: that of host.json)",
    )


def _add_proof(parser: argparse.ArgumentParser, only_with: str = "") -> None:
    parser.add_argument(
        "--proof",
        choices=("token", "google"),
        default="token",
        help=f"{only_with}how the host proves its place: by a one-use token, or by the identity token of a"
        " machine of Google's (default: token)",
    )


def _add_host_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--host-dir", required=True, type=Path, metavar="DIR", help="the host's directory; holds host.json"
    )
    parser.add_argument(
        "--orphan-timeout",
        type=_seconds,
        default=1800.0,
        metavar="SECONDS",
        help="leave when nothing has run and no controller has answered for so long; "
        "counts until a controller says otherwise (default: 1800)",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    arguments = build_parser().parse_args(argv)
    from iris_platform.streams import open_missing_streams

    open_missing_streams()
    host_dir: Path = arguments.host_dir.resolve()
    if arguments.command == "keeper":
        return _run_keeper(arguments, host_dir)
    if arguments.command == "delete-slice":
        from iris_bootstrap.deletion import delete_slice

        return delete_slice(host_dir)
    if arguments.command == "session":
        # Its own account of connections that come and go would drown ours in agent.log.
        os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
        from iris_bootstrap.session.main import run_session

        return run_session(host_dir, arguments.pipe_fd)
    if arguments.command == "join":
        return _join(arguments, host_dir, sys.stdin.buffer)
    if arguments.join is not None and (status := _join_first(arguments, host_dir)):
        return status
    from iris_bootstrap.launch import LaunchError, launch

    try:
        return launch(host_dir, arguments.orphan_timeout, detach=arguments.detach)
    except LaunchError as error:
        sys.stderr.write(f"iris-bootstrap: error: {error}\n")
        return error.status
    except KeyboardInterrupt:
        # Before the agent is there; from then on Ctrl-C tells it to leave.
        return 130


def _run_keeper(arguments: argparse.Namespace, host_dir: Path) -> int:
    from iris_bootstrap.keeper.boot import run_keeper
    from iris_bootstrap.keeper.link import python_command

    dead_man = [*python_command(), "delete-slice", "--host-dir", str(host_dir)]
    return run_keeper(
        *(host_dir, arguments.orphan_timeout, arguments.ready_fd),
        dead_man_command=dead_man if arguments.deletes_slice else None,
    )


def _join_first(arguments: argparse.Namespace, host_dir: Path) -> int:
    """What `run` does before it is an agent; 0 when this host is a member."""
    import io

    if arguments.ca is None or arguments.address is None:
        sys.stderr.write("iris-bootstrap: error: --join needs --ca and --address\n")
        return 2
    if arguments.proof == "google":
        return _join_patiently(arguments, host_dir)
    token_file: Path | None = arguments.token_file
    try:
        token = token_file.read_bytes() if token_file is not None and token_file.exists() else b""
        status = _join(arguments, host_dir, io.BytesIO(token))
        if status == 0 and token_file is not None:
            token_file.unlink(missing_ok=True)
    except OSError as error:
        sys.stderr.write(f"iris-bootstrap: error: {error.filename or token_file}: {error.strerror}\n")
        return 2
    return status


def _join(arguments: argparse.Namespace, host_dir: Path, token: IO[bytes]) -> int:
    from iris_bootstrap.join import join

    return _attempt(arguments, host_dir, lambda request: join(request, token))


def _join_patiently(arguments: argparse.Namespace, host_dir: Path) -> int:
    from iris_bootstrap.join import join_patiently
    from iris_bootstrap.log import logger

    log = logger("join")

    def tell(why: str) -> None:
        log("not_joined_yet", why=why)

    return _attempt(arguments, host_dir, lambda request: join_patiently(request, tell, _pause))


def _attempt(arguments: argparse.Namespace, host_dir: Path, join: Callable[[JoinRequest], object]) -> int:
    from iris_bootstrap.join import JoinError, JoinRequest

    where = (host_dir, arguments.join, arguments.ca, arguments.address, arguments.place)
    try:
        join(JoinRequest(*where, proof=arguments.proof))
    except JoinError as error:
        sys.stderr.write(f"iris-bootstrap: error: {error}\n")
        return error.status
    except KeyboardInterrupt:
        return 130
    return 0


def _pause(seconds: float) -> None:
    import select

    select.select([], [], [], seconds)


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a positive number of seconds, found {text!r}")
    return value
