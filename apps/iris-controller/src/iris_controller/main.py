"""Entry point of `iris-controller`: reads the command line, then serves.

Heavy imports wait until the command line is understood.
"""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Sequence

from iris_controller import __version__
from iris_controller.parser import build_parser, parse_options

UNUSABLE = 2
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the controller; returns its exit status."""
    options = parse_options(build_parser(__version__), argv)
    from iris_platform.streams import open_missing_streams

    open_missing_streams()
    # gRPC writes lines of its own to stderr; what matters of them we say ourselves.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    if options.keys_of:
        return _print_keys(options)
    try:
        from iris_controller.serve import Places, UnusableError, run

        places = Places(options.config, options.state_dir, options.pki_dir, options.local_root)
        try:
            return run(places, resume=options.resume, log_level=options.log_level)
        except UnusableError as error:
            sys.stderr.write(f"iris-controller: {error}\n")
            return UNUSABLE
    except KeyboardInterrupt:
        # Ctrl-C before it serves; from then on it is a signal like SIGTERM.
        return INTERRUPTED


def _print_keys(options: Namespace) -> int:
    from iris_controller.keys import NoKeys, run

    try:
        return run(options.keys_of, options.pki_dir, options.operator, sys.stdin.buffer)
    except NoKeys as error:
        sys.stderr.write(f"iris-controller: {error}\n")
        return UNUSABLE
