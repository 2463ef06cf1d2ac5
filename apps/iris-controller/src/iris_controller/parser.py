"""The command line of `iris-controller`; imports the standard library only."""

from __future__ import annotations

import argparse
from pathlib import Path

DESCRIPTION = """\
Run the controller of one Iris cluster in the foreground, for a service manager.

It listens on loopback, and where the cluster has other machines on two ports
for them, over TLS. It writes its addresses to controller.json in the state
directory, and logs one JSON object a line to stderr. SIGTERM ends it and never
the fleet: agents and their tasks go on, and the next start takes them over.
`iris cluster start` starts it for you; `iris cluster stop` gives the fleet back."""

EPILOG = """\
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
        required=True,
        metavar="FILE",
        help="the resolved configuration, as `iris cluster start` writes it (JSON)",
    )
    parser.add_argument(
        "--state-dir", type=Path, required=True, metavar="DIR", help="the store; one controller at a time"
    )
    parser.add_argument(
        "--pki-dir", type=Path, required=True, metavar="DIR", help="the cluster's keys, apart from the store"
    )
    parser.add_argument(
        "--local-root", type=Path, required=True, metavar="DIR", help="where hosts of local slices live"
    )
    parser.add_argument(
        "--resume", action="store_true", help="scale again if `iris cluster stop` had begun a shutdown"
    )
    parser.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        default="info",
        help="what to log (default: %(default)s)",
    )
    return parser
