"""`iris version`."""

from __future__ import annotations

import platform
from argparse import Namespace

from iris_cli import __version__
from iris_cli.output import Output


def run(options: Namespace) -> int:
    """Print the version of this program."""
    output = Output(options)
    python = f"{platform.python_implementation()} {platform.python_version()}"
    if output.structured:
        output.document({"version": __version__, "python": python})
    else:
        output.line(f"iris {__version__} ({python})")
    return 0
