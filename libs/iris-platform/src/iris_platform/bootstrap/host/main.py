"""The script's Python half, and the program that stays on the host: its commands, and how they fail.

install start status stop remove probe prepare   what the caller's script asks for
exec supervise left                              what the service manager runs

Each command imports what it needs and no more: from a zip file every module is
compiled anew, on a host that may have one slow processor.
"""

from __future__ import annotations

import argparse
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from iris_platform import processes
from iris_platform.bootstrap.host import layout as places
from iris_platform.bootstrap.host.layout import Layout
from iris_platform.bootstrap.host.outcome import DONE, HOST_TROUBLE, Failure, failed, write_outcome

_ASKED = ("probe", "prepare", "install", "start", "status", "stop", "remove")
_SERVES = ("exec", "supervise", "left")

Document = Mapping[str, Any]


def main(argv: Sequence[str], document: Document | None = None, program: bytes = b"") -> int:
    """Run one command; returns its exit status, having printed one JSON object."""
    options = _parser(document).parse_args(argv)
    try:
        root = options.root or (document or {}).get("root") or places.default_root(os.environ)
        layout = Layout(Path(root), options.role)
        places.check_root(layout.root)
        if options.command in _SERVES:
            return _serve(layout, options.command)
        write_outcome(_answer(layout, options, document or {}, program))
    except Failure as failure:
        write_outcome(failed(failure))
        return failure.status
    except (OSError, subprocess.SubprocessError, processes.StillAlive) as error:
        write_outcome(failed(Failure(options.command, str(error), HOST_TROUBLE)))
        return HOST_TROUBLE
    return DONE


def _parser(document: Document | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="iris-host", description="Iris on this host", allow_abbrev=False)
    parser.add_argument(
        "command",
        nargs="?",
        default="start" if document else "status",
        choices=[*_ASKED, *_SERVES],
    )
    parser.add_argument("--role", choices=places.ROLES, default=(document or {}).get("role", "worker"))
    parser.add_argument("--root", help="everything is below it (default: the document's, else by user)")
    parser.add_argument("--forget", action="store_true", help="remove: the controller's state as well")
    parser.add_argument("--bundles", action="store_true", help="remove: installed bundles as well")
    parser.add_argument("--cluster-id", help="stop, remove: only what belongs to this cluster")
    return parser


def _answer(
    layout: Layout, options: argparse.Namespace, document: Document, program: bytes
) -> dict[str, object]:
    if options.command in ("probe", "prepare"):
        from iris_platform.bootstrap.host import look

        return (look.probe if options.command == "probe" else look.prepare)(layout, document)
    if options.command in ("start", "install"):
        from iris_platform.bootstrap.host import begin

        bring = begin.start_role if options.command == "start" else begin.install_role
        return bring(layout, document, program)
    if options.command == "status":
        from iris_platform.bootstrap.host import status

        return status.status_of(layout)
    from iris_platform.bootstrap.host import end

    if options.command == "stop":
        return end.stop(layout, options.cluster_id)
    root = str(document.get("root", ""))
    return end.remove(layout, options.cluster_id, root, forget=options.forget, bundles=options.bundles)


def _serve(layout: Layout, command: str) -> int:
    from iris_platform.bootstrap.host import serve

    commands = {"exec": serve.run_program, "supervise": serve.supervise, "left": serve.clear_orphan}
    return commands[command](layout)
