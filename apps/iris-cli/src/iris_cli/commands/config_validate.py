"""`iris config validate`."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from iris_cli.exits import DONE, USAGE
from iris_cli.locate import find_config
from iris_cli.output import Output
from iris_cli.text import plural
from iris_config import ConfigError, IrisConfig, Problem, in_order, load_config


def run(options: Namespace) -> int:
    """Check configuration files; says everything that is wrong with each."""
    output = Output(options)
    paths = [Path(name) for name in options.files] or [find_config(options)]
    found = [(path, *_check(path)) for path in paths]
    if output.structured:
        output.document({"files": [_record(path, problems) for path, problems, _ in found]})
    for path, problems, summary in found:
        for problem in problems:
            output.line(problem.render(str(path)))
        output.note(f"{path}: {summary}")
    bad = any(options.strict or not one.is_warning for _, problems, _ in found for one in problems)
    return USAGE if bad else DONE


def _check(path: Path) -> tuple[Sequence[Problem], str]:
    """Everything that is to be said of a file, and its summary."""
    try:
        config = load_config(path)
    except ConfigError as error:
        return in_order([*error.problems, *error.warnings]), _counts(error.problems, error.warnings)
    counts = f"; {_counts((), config.warnings)}" if config.warnings else ""
    return config.warnings, f"valid: {_what(config)}{counts}"


def _what(config: IrisConfig) -> str:
    return f"cluster {config.name}, {plural(len(config.scale_groups), 'scale group')}"


def _counts(errors: Sequence[Problem], warnings: Sequence[Problem]) -> str:
    words = [plural(len(found), noun) for found, noun in ((errors, "error"), (warnings, "warning")) if found]
    return ", ".join(words)


def _record(path: Path, problems: Sequence[Problem]) -> dict[str, object]:
    return {
        "file": str(path),
        "valid": all(problem.is_warning for problem in problems),
        "problems": [
            {
                "severity": "warning" if problem.is_warning else "error",
                "line": problem.position.line if problem.position else 0,
                "column": problem.position.column if problem.position else 0,
                "field": problem.field,
                "message": problem.message,
            }
            for problem in problems
        ],
    }
