"""The steps of something that takes a while."""

from __future__ import annotations

from contextlib import suppress
from typing import cast

import pytest

from iris_cli.output import Output
from iris_cli.steps import Steps
from iris_platform.base import Unreachable


class Notes:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


@pytest.mark.parametrize(
    ("end", "words"),
    [(None, "done"), (Unreachable("nobody"), "failed"), (KeyboardInterrupt(), "interrupted")],
)
def test_how_a_step_ended(end: BaseException | None, words: str) -> None:
    """What was cut short has not failed: the same step may be done a moment later."""
    notes = Notes()
    with suppress(Unreachable, KeyboardInterrupt), Steps(cast(Output, notes)).step("connect to a"):
        if end is not None:
            raise end
    assert notes.lines == [f"  connect to a: {words}"]
