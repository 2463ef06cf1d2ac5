"""The command line of `iris-controller`; imports the standard library only."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

DESCRIPTION = """\
Run the controller of one Iris cluster in the foreground, for a service manager.

It listens on loopback, and where the cluster has other machines on two ports
for them, over TLS. It writes its addresses to controller.json in the state
directory, and logs one JSON object a line to stderr. SIGTERM ends it and never
the fleet: agents and their tasks go on, and the next start takes them over.
`iris cluster start` starts it for you; `iris cluster stop` gives the fleet back.

With --keys-of it serves nothing: it makes the cluster's keys where there are
none, prints what others need of them as one JSON object, secrets included, and
ends."""

EPILOG = """\
environment:
  IRIS_HEALTH_PORT  a port of the loopback interface that is open while it serves

exit status:
  0  ended by SIGTERM or SIGINT
  1  failed, or stepped down for a newer controller
  2  the command line, the configuration or a directory cannot be used"""


def build_parser(version: str = "") -> argparse.ArgumentParser:
    """The parser of `iris-controller`."""
    parser = argparse.ArgumentParser(
        prog="iris-controller",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version}")
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="the resolved configuration, as `iris cluster start` writes it (JSON)",
    )
    parser.add_argument("--state-dir", type=Path, metavar="DIR", help="the store; one controller at a time")
    parser.add_argument(
        "--pki-dir", type=Path, required=True, metavar="DIR", help="the cluster's keys, apart from the store"
    )
    parser.add_argument("--local-root", type=Path, metavar="DIR", help="where hosts of local slices live")
    parser.add_argument(
        "--resume", action="store_true", help="scale again if `iris cluster stop` had begun a shutdown"
    )
    parser.add_argument("--keys-of", metavar="CLUSTER", help="print the keys of this cluster instead")
    parser.add_argument(
        "--operator",
        metavar="NAME",
        default="",
        help="with --keys-of: sign the request on standard input for this operator; a backup may follow it",
    )
    parser.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        default="info",
        help="what to log (default: %(default)s)",
    )
    return parser


def parse_options(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """The options; ends the process with a word of help where some are missing."""
    options = parser.parse_args(argv)
    needed = () if options.keys_of else ("config", "state_dir", "local_root")
    missing = [f"--{name.replace('_', '-')}" for name in needed if getattr(options, name) is None]
    if missing:
        parser.error(f"the following arguments are required: {', '.join(missing)}")
    return options
