"""Lays out tables as text. Knows no terminal and no colours' meaning."""

from collections.abc import Callable, Sequence

from iris_cli.text import safe

Paint = Callable[[str], str]


def render_table(headers: Sequence[str], rows: Sequence[Sequence[str]], paint: Paint | None = None) -> str:
    """Columns two spaces apart, headers first; no line ends in a space.

    `paint` may colour a cell; it is given the bare text and must not change
    how wide it looks.
    """
    cells = [[safe(cell) for cell in row] for row in rows]
    widths = [
        max(len(header), *(len(row[column]) for row in cells)) if cells else len(header)
        for column, header in enumerate(headers)
    ]
    lines = [_line(headers, widths, None)]
    lines += [_line(row, widths, paint) for row in cells]
    return "".join(f"{line}\n" for line in lines)


def render_fields(fields: Sequence[tuple[str, str]], paint: Paint | None = None) -> str:
    """`name: value` lines with the values in one column."""
    width = max((len(name) for name, _ in fields), default=0) + 1
    lines = []
    for name, value in fields:
        shown = safe(value)
        lines.append(f"{name + ':':<{width}}  {paint(shown) if paint else shown}".rstrip())
    return "".join(f"{line}\n" for line in lines)


def _line(cells: Sequence[str], widths: Sequence[int], paint: Paint | None) -> str:
    last = len(cells) - 1
    parts = []
    for column, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        shown = paint(cell) if paint else cell
        parts.append(shown if column == last else shown + " " * (width - len(cell)))
    return "  ".join(parts).rstrip()
