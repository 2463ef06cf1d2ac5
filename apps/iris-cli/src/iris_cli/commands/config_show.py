"""`iris config show`."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from iris_cli.configs import load
from iris_cli.exits import DONE, LEFT_OVER
from iris_cli.locate import find_config
from iris_cli.output import Output
from iris_config import IrisConfig, diff_configs, effective_values

HEADERS = ("FIELD", "VALUE", "FROM")


def run(options: Namespace) -> int:
    """Show the effective configuration, or how another one differs from it."""
    output = Output(options)
    path = Path(options.file) if options.file else find_config(options)
    config = load(path)
    if options.diff is not None:
        return _show_changes(config, path, Path(options.diff), output)
    values = effective_values(config)
    if output.structured:
        output.document({"values": [value._asdict() for value in values]})
    else:
        output.table(HEADERS, [(value.field, value.value, value.origin) for value in values], "")
    for problem in config.warnings:
        output.note(problem.render(str(path)))
    return DONE


def _show_changes(config: IrisConfig, path: Path, other: Path, output: Output) -> int:
    changes = diff_configs(config, load(other))
    if output.structured:
        output.document({"changes": [change._asdict() for change in changes]})
    for change in changes:
        output.line(str(change))
    if not changes:
        output.note(f"{path} and {other} mean the same")
    return LEFT_OVER if changes else DONE
