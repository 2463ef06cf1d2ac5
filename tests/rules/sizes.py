"""How long a file and a function may be, and those that still are longer."""

import ast
from collections.abc import Iterator, Mapping

from tests.rules.project import Finding

FILE_LINES = 400
FUNCTION_LINES = 50

# PATH or PATH::NAME -> its lines today. It may shrink, and then the number here must too.
RATCHET: dict[str, int] = {}


def overlong(path: str, source: str, ratchet: Mapping[str, int]) -> list[Finding]:
    """Where `source` is longer than its limit, or than what the ratchet says of it."""
    findings = []
    for name, lines, limit in sizes(path, source):
        known = ratchet.get(name)
        if lines > (known or limit):
            findings.append(Finding(name, f"{lines} lines, at most {known or limit}", "split it"))
        elif known and lines <= limit:
            findings.append(Finding(name, f"{lines} lines fit the limit", "take it out of RATCHET"))
        elif known and lines < known:
            findings.append(Finding(name, f"{lines} lines, no longer {known}", f"put {lines} into RATCHET"))
    return findings


def sizes(path: str, source: str) -> Iterator[tuple[str, int, int]]:
    """The name, the lines and the limit of a file and of every function in it."""
    yield path, source.count("\n"), FILE_LINES
    for name, function in functions(ast.parse(source)):
        lines = (function.end_lineno or function.lineno) - function.lineno + 1
        yield f"{path}::{name}", lines, FUNCTION_LINES


def functions(node: ast.AST, inside: str = "") -> Iterator[tuple[str, ast.stmt]]:
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield inside + name, child
                yield from functions(child, f"{inside}{name}.")
            case ast.ClassDef(name=name):
                yield from functions(child, f"{inside}{name}.")
            case _:
                yield from functions(child, inside)
