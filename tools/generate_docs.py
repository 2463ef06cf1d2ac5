"""Writes the pages that are made from the code: `docs/states.md`.

`--check` writes nothing and fails when a page is stale.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from iris_controller.core.moves import TABLES, Table, node_name

ROOT = Path(__file__).resolve().parent.parent

HEAD = """\
# States

Made by `tools/generate_docs.py` from the transition tables in
`apps/iris-controller/src/iris_controller/core/moves.py`; do not edit. A move
that is not here is a bug, and the core raises it.
"""

ORDER = ("job", "task", "attempt", "slice", "worker")


def states_page() -> str:
    """The page with every table, as diagrams and with the reason of each edge."""
    return HEAD + "".join(_section(kind, TABLES[kind]) for kind in ORDER)


def _section(kind: str, table: Table) -> str:
    lines = [f"\n## {kind.capitalize()}\n", "```mermaid", "stateDiagram-v2"]
    lines.append(f"    [*] --> {node_name(kind, next(iter(table)))}")
    for was, moves in table.items():
        lines += [f"    {node_name(kind, was)} --> {node_name(kind, to)}" for to in moves]
        if not moves:
            lines.append(f"    {node_name(kind, was)} --> [*]")
    lines += ["```", "", "| from | to | when |", "| --- | --- | --- |"]
    for was, moves in table.items():
        lines += [f"| {node_name(kind, was)} | {node_name(kind, to)} | {why} |" for to, why in moves.items()]
    return "\n".join(lines) + "\n"


PAGES = {"docs/states.md": states_page}


def stale_pages() -> list[str]:
    """The pages that differ from what the code says."""
    return [name for name, make in PAGES.items() if _read(ROOT / name) != make()]


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def main() -> int:
    """Writes or checks the pages; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a page is stale")
    options = parser.parse_args()
    if options.check:
        stale = stale_pages()
        for name in stale:
            sys.stderr.write(f"{name} is stale; run `tox -e docs-write`\n")
        return 1 if stale else 0
    for name, make in PAGES.items():
        (ROOT / name).write_text(make())
    return 0


if __name__ == "__main__":
    sys.exit(main())
