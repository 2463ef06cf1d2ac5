"""`iris config validate`."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence

from iris_cli.exits import DONE, USAGE
from iris_cli.locate import find_config
from iris_cli.output import Output
from iris_cli.text import plural, safe
from iris_config import ConfigError, IrisConfig, Problem, in_order, load_config, parse_config
from iris_config.files import MAX_BYTES


def run(options: Namespace) -> int:
    """Check configuration files; says everything that is wrong with each."""
    output = Output(options)
    names = options.files or [str(find_config(options))]
    found = [(name, *_check(name, options.strict)) for name in names]
    if output.structured:
        output.document({"files": [_record(name, problems) for name, problems, _ in found]})
    for name, problems, summary in found:
        for problem in problems:
            output.line(problem.render(name))
        output.note(f"{safe(name)}: {summary}")
    bad = any(options.strict or not one.is_warning for _, problems, _ in found for one in problems)
    return USAGE if bad else DONE


def _check(name: str, strict: bool) -> tuple[Sequence[Problem], str]:
    """Everything that is to be said of a file, and its summary."""
    try:
        config = _read(name)
    except ConfigError as error:
        return in_order([*error.problems, *error.warnings]), _counts(error.problems, error.warnings)
    if not config.warnings:
        return (), f"valid: {_what(config)}"
    counts = _counts((), config.warnings)
    return config.warnings, f"{counts}, not let pass" if strict else f"valid: {_what(config)}; {counts}"


def _read(name: str) -> IrisConfig:
    if name != "-":
        return load_config(name)
    text = sys.stdin.buffer.read(MAX_BYTES + 1).decode("utf-8", errors="surrogateescape")
    return parse_config(text, source=name)


def _what(config: IrisConfig) -> str:
    return f"cluster {config.name}, {plural(len(config.scale_groups), 'scale group')}"


def _counts(errors: Sequence[Problem], warnings: Sequence[Problem]) -> str:
    words = [plural(len(found), noun) for found, noun in ((errors, "error"), (warnings, "warning")) if found]
    return ", ".join(words)


def _record(name: str, problems: Sequence[Problem]) -> dict[str, object]:
    return {
        "file": name,
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
