"""Lays out tables as text. Knows no terminal and no colours' meaning."""

from collections.abc import Callable, Sequence

from iris_cli.text import clip, safe

GAP = "  "
# A terminal that has less room wraps its lines.
LEAST_LAST_COLUMN = 20
# No name that a cloud gives is longer; what is does not widen every other row.
MOST_CELL = 64
Paint = Callable[[str], str]


def render_table(headers: Sequence[str], rows: Sequence[Sequence[str]], paint: Paint | None = None) -> str:
    """Columns two spaces apart, headers first; no line ends in a space.

    `paint` may colour a cell; it is given the bare text and must not change
    how wide it looks.
    """
    cells = [[safe(cell) for cell in row] for row in rows]
    widths = [
        max(len(header), *(min(len(row[column]), MOST_CELL) for row in cells)) if cells else len(header)
        for column, header in enumerate(headers)
    ]
    lines = [_line(headers, widths, None)]
    lines += [_line(row, widths, paint) for row in cells]
    return "".join(f"{line}\n" for line in lines)


def clip_cells(rows: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """The rows with every cell but the last, which widens no other row, at most a column wide."""
    return [(*(clip(safe(cell), MOST_CELL) for cell in row[:-1]), row[-1]) for row in rows]


def cut_last_column(
    headers: Sequence[str], rows: Sequence[Sequence[str]], columns: int
) -> list[tuple[str, ...]]:
    """The rows with their last cells cut so that a line fits so many columns, if it can."""
    before = [max(len(safe(row[i])) for row in (headers, *rows)) for i in range(len(headers) - 1)]
    room = max(LEAST_LAST_COLUMN, columns - sum(before) - len(GAP) * len(before))
    return [(*row[:-1], clip(safe(row[-1]), room)) for row in rows]


class GrowingTable:
    """A table whose rows are printed as they come; its columns grow with what came."""

    def __init__(self, headers: Sequence[str], least: Sequence[int]) -> None:
        self._headers = headers
        self._widths = [max(len(header), width) for header, width in zip(headers, least, strict=True)]

    def header(self) -> str:
        """The first line."""
        return _line(self._headers, self._widths, None)

    def row(self, cells: Sequence[str]) -> str:
        """The line of a row."""
        shown = [safe(cell) for cell in cells]
        room = [min(len(cell), MOST_CELL) for cell in shown]
        self._widths = [max(width, least) for width, least in zip(self._widths, room, strict=True)]
        return _line(shown, self._widths, None)


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
    return GAP.join(parts).rstrip()
