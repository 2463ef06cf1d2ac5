"""Results for people and for programs. Decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from bench.intervals import Estimate
from bench.machine import Machine
from bench.measure import Floor, Unit
from bench.verdicts import Figure, Judgement, Result


def machine_line(machine: Machine) -> str:
    """One line about the machine."""
    return (
        f"{machine.commit} on {machine.processors} processors, load {machine.load},"
        f" Python {machine.python}, Linux {machine.kernel},"
        f" {machine.scratch} with fdatasync in {machine.fdatasync_ms} ms"
    )


def text(result: Result) -> str:
    """A result as a table, then its floors."""
    series = result.series
    benchmark, scale = series.benchmark, series.scale
    title = (
        f"{benchmark.name} (benchmark {benchmark.number}): {benchmark.title}\n"
        f"{scale.rounds} rounds of size {scale.size}, interleaved; in brackets 95% intervals"
    )
    rows = [_figure_row(figure, benchmark.unit) for figure in result.figures]
    notes = dict.fromkeys(_note_line(figure) for figure in result.figures if figure.notes)
    missing = [f"  peer missing: {one.name}: {one.why}" for one in series.missing]
    floors = [_judgement_line(judgement, benchmark.unit) for judgement in result.judgements]
    parts = [title, _table(rows), *notes, *missing, "floors:", *floors]
    return "\n".join(parts)


def document(result: Result) -> dict[str, Any]:
    """A result with every value that was measured."""
    series = result.series
    return {
        "benchmark": series.benchmark.name,
        "number": series.benchmark.number,
        "unit": series.benchmark.unit.value,
        "rounds": series.scale.rounds,
        "size": series.scale.size,
        "figures": [{**asdict(figure), "role": figure.role.value} for figure in result.figures],
        "missing": [asdict(one) for one in series.missing],
        "floors": [{**asdict(one), "verdict": one.verdict.value} for one in result.judgements],
        "samples": {
            name: [{"values": sample.values, "notes": dict(sample.notes)} for sample in samples]
            for name, samples in series.samples.items()
        },
    }


def floor_words(floor: Floor, unit: Unit) -> str:
    """A floor as a condition."""
    sign = ">=" if unit.more_is_better else "<="
    bound = f"{floor.bound:g} x {floor.against}" if floor.against else amount(floor.bound, unit)
    return f"{floor.subject} p{floor.quantile * 100:g} {sign} {bound}"


def amount(value: float, unit: Unit) -> str:
    """A value with its unit, in three significant digits or more."""
    if unit is Unit.PER_SECOND:
        return f"{_plain(value)}/s"
    return f"{value * 1e3:.2f} ms" if value < 1 else f"{value:.2f} s"


def _figure_row(figure: Figure, unit: Unit) -> list[str]:
    value = figure.value
    row = [
        f"  {figure.role.value}",
        figure.subject,
        f"p{figure.quantile * 100:g}",
        amount(value.value, unit),
        f"[{amount(value.low, unit)}, {amount(value.high, unit)}]",
    ]
    if figure.ratio is not None:
        row += [_ratio(figure.ratio), f"x {figure.against}"]
    return row


def _note_line(figure: Figure) -> str:
    return f"  {figure.subject}: " + "; ".join(
        f"{note} {_plain(value)}" for note, value in figure.notes.items()
    )


def _judgement_line(judgement: Judgement, unit: Unit) -> str:
    words = floor_words(judgement.floor, unit)
    if judgement.reached is None:
        return f"  {judgement.verdict.value:12} {words}"
    floor, reached = judgement.floor, judgement.reached
    found = _ratio(reached) if floor.against else amount(reached.value, unit)
    doubt = "" if judgement.sure else "; the interval says neither"
    return f"  {judgement.verdict.value:12} {words}: {found}{doubt}"


def _plain(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _ratio(ratio: Estimate) -> str:
    return f"{ratio.value:.3g} [{ratio.low:.3g}, {ratio.high:.3g}]"


def _table(rows: Sequence[Sequence[str]]) -> str:
    columns = max(map(len, rows), default=0)
    full = [[*row, *[""] * (columns - len(row))] for row in rows]
    widths = [max(len(row[column]) for row in full) for column in range(columns)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in full)
