"""Writes the pages that are made from the code, into `docs/`.

They are the states and their moves, the reference of the configuration, and its
schema for editors. `--check` writes nothing and fails when a page is stale.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from iris_config.schema import config_schema
from iris_config.units import format_size
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


CONFIGURATION_HEAD = """\
# Configuration

Made by `tools/generate_docs.py` from the comments in
`proto/iris_proto/v1/config.proto`; do not edit.

A cluster is one YAML file; `examples/` has some to begin with. What is not
written has a default, and what is not known is an error, with its line.

`iris config schema` prints all of this as a JSON Schema, which is also in
[config.schema.json](config.schema.json). An editor with the YAML language
server completes, explains and checks a file whose first line is

```yaml
# yaml-language-server: $schema=PATH/config.schema.json
```

## How values are written

| type | such as | |
| --- | --- | --- |
| text | `demo`, `1.10` | quotes are needed only where YAML needs them |
| duration | `90s`, `10m`, `1h30m` | days `d`, hours `h`, minutes `m`, seconds `s`, milliseconds `ms`; the largest first |
| size | `64GiB`, `500GB`, `1024` | bytes; `KiB`, `MiB`, `GiB`, `TiB` and `PiB` are powers of 1024, `kB`, `MB`, `GB`, `TB` and `PB` of 1000 |
| true or false | `true`, `false` | |

In every value `${NAME}` stands for an environment variable of the command that
reads the file, and `${NAME:-TEXT}` for TEXT where the variable is not set or
empty; `$${` is `${` itself.
"""

_JsonSchema = dict[str, Any]
_SCALARS = {
    "text": "text",
    "boolean": "true or false",
    "integer": "whole number",
    "number": "number",
    "size": "size",
    "duration": "duration",
}
# No need to speak of what 32 or 64 bits hold.
_BOUNDS_OF_INTEGERS = (-(2**31), 2**31 - 1, -(2**63), 2**63 - 1)
_DEFAULT = re.compile(r" ?\bDefault: (.*?)\.(?= [A-Z]|$)")


def schema_page() -> str:
    """The configuration's JSON Schema, as `iris config schema` prints it."""
    return json.dumps(config_schema(), indent=2, ensure_ascii=False) + "\n"


def configuration_page() -> str:
    """The reference of the configuration: every section with its fields."""
    return CONFIGURATION_HEAD + "".join(_Reference(config_schema()).sections())


class _Reference:
    """Walks the schema from the root; a type that is met again is only linked to."""

    def __init__(self, schema: _JsonSchema) -> None:
        self._schema = schema
        self._types: _JsonSchema = schema["$defs"]
        self._places: dict[str, str] = {}
        self._place_types(schema, "")

    def _place_types(self, schema: _JsonSchema, path: str) -> None:
        """Notes where each type is met first."""
        for name, field in schema["properties"].items():
            type_name, suffix = _type_name(field)
            if type_name in self._places or "properties" not in self._types[type_name]:
                continue
            here = f"{path}.{name}{suffix}".removeprefix(".")
            self._places[type_name] = here
            self._place_types(self._types[type_name], here)

    def sections(self) -> Iterator[str]:
        yield self._section("The file", self._schema)
        for type_name, path in self._places.items():
            yield self._section(f"`{path}`", self._types[type_name])

    def _section(self, title: str, schema: _JsonSchema) -> str:
        level = "###" if "." in title else "##"
        lines = [f"\n{level} {title}", "", schema["description"]]
        if arms := schema.get("dependentSchemas"):
            count = "Exactly" if "anyOf" in schema else "At most"
            lines += ["", f"{count} one of {_alternatives(arms)}."]
        rows = [self._row(name, field, schema) for name, field in schema["properties"].items()]
        if rows:
            lines += ["", "| field | type | default | meaning |", "| --- | --- | --- | --- |", *rows]
        else:
            lines += ["", "It has no fields: write `{}`."]
        return "\n".join(lines) + "\n"

    def _row(self, name: str, field: _JsonSchema, parent: _JsonSchema) -> str:
        meaning, default = field["description"], ""
        if found := _DEFAULT.search(meaning):
            meaning, default = _DEFAULT.sub("", meaning).strip(), found[1]
        if name in parent.get("required", ()):
            default = "**required**"
        type_name, _ = _type_name(field)
        if type_name not in _SCALARS and type_name not in self._places:
            meaning += " " + self._types[type_name]["description"]
        cells = (f"`{name}`", self._type_words(field), default, meaning)
        return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"

    def _type_words(self, field: _JsonSchema) -> str:
        if field.get("type") == "array":
            return f"list of {self._type_words(field['items'])}".replace("number", "numbers")
        if field.get("type") == "object":
            return f"mapping of names to {self._type_words(field['additionalProperties'])}"
        type_name, _ = _type_name(field)
        if type_name in _SCALARS:
            return _SCALARS[type_name] + _limits(field, type_name)
        if type_name in self._places:
            path = self._places[type_name]
            return f"[{path}](#{re.sub(r'[^a-z0-9_]', '', path.lower())})"
        return _alternatives(self._types[type_name]["anyOf"][0]["enum"])


def _type_name(field: _JsonSchema) -> tuple[str, str]:
    """The type that a field leads to, and what its path says between the two."""
    if field.get("type") == "array":
        return _type_name(field["items"])[0], "[]"
    if field.get("type") == "object":
        return _type_name(field["additionalProperties"])[0], ".NAME"
    return field["$ref"].rpartition("/")[2], ""


def _limits(field: _JsonSchema, type_name: str) -> str:
    low, high = (
        None if (limit := field.get(key)) in _BOUNDS_OF_INTEGERS else limit for key in ("minimum", "maximum")
    )
    words = format_size if type_name == "size" else str
    if low is not None and high is not None:
        return f" from {words(low)} to {words(high)}"
    return f", at least {words(low)}" if low is not None else ""


def _alternatives(names: list[str]) -> str:
    *most, last = (f"`{name}`" for name in names)
    return f"{', '.join(most)} or {last}"


PAGES = {
    "docs/states.md": states_page,
    "docs/configuration.md": configuration_page,
    "docs/config.schema.json": schema_page,
}


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
